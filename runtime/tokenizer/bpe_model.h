// BPE with a ranked list of merges, as in tokenizer.json: a word is cut into characters, then the pair of
// lowest rank merges first. Characters outside the vocabulary become byte pieces or the unknown piece.
// Source: Sennrich, Haddow, Birch 2016, "Neural machine translation of rare words with subword units".
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "runtime/tokenizer/merge_junctions.h"
#include "runtime/tokenizer/word_model.h"

namespace laconic {

class BpeModel final : public WordModel {
 public:
  // The "model" object of tokenizer.json.
  BpeModel(const nlohmann::json& model, std::string_view where);

  const Vocabulary& vocabulary() const override { return vocabulary_; }
  void encode(std::string_view word, std::vector<std::int32_t>& ids) const override;

 private:
  struct Merge {
    std::uint32_t rank = 0;
    std::int32_t id = -1;
  };
  void read_merges(const nlohmann::json& merges, std::string_view where);

  Vocabulary vocabulary_;
  std::unordered_map<std::uint64_t, Merge> merges_;  // by both ids
  MergeJunctions junctions_;
  std::vector<std::int32_t> byte_ids_;  // empty without byte fallback
  std::optional<std::int32_t> unknown_;
  std::string prefix_, suffix_;  // of inner characters, of the last character
  bool fuse_unknown_ = false;
  bool whole_words_first_ = false;
};

}  // namespace laconic
