// The unigram model of tokenizer.json: each word becomes its most probable sequence of pieces.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/unigram.h"
#include "runtime/tokenizer/word_model.h"

namespace laconic {

class UnigramModel final : public WordModel {
 public:
  // The "model" object of tokenizer.json.
  UnigramModel(const nlohmann::json& model, std::string_view where);

  const Vocabulary& vocabulary() const override { return vocabulary_; }
  // Throws Error(input) for a character in no piece when the model has no unknown piece.
  void encode(std::string_view word, std::vector<std::int32_t>& ids) const override;

 private:
  Vocabulary vocabulary_;
  UnigramSegmenter segmenter_;
  std::optional<std::int32_t> unknown_;
  std::vector<std::int32_t> byte_ids_;  // empty without byte fallback
  std::string where_;
};

}  // namespace laconic
