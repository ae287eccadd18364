#include "runtime/tokenizer/bpe_model.h"

#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "runtime/tokenizer/byte_level.h"
#include "runtime/tokenizer/unicode_text.h"

namespace laconic {
namespace {

std::string text_or_empty(const nlohmann::json& model, const char* key, std::string_view where) {
  const auto found = model.find(key);
  if (found == model.end() || found->is_null()) return {};
  if (!found->is_string())
    fail(ErrorKind::input, std::string("model: \"") + key + "\" is not a string", where);
  return found->get<std::string>();
}

bool flag_or_false(const nlohmann::json& model, const char* key, std::string_view where) {
  const auto found = model.find(key);
  if (found == model.end() || found->is_null()) return false;
  if (!found->is_boolean())
    fail(ErrorKind::input, std::string("model: \"") + key + "\" is not true or false", where);
  return found->get<bool>();
}

std::uint64_t pair_key(std::int32_t left, std::int32_t right) {
  return static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32 |
         static_cast<std::uint32_t>(right);
}

}  // namespace

BpeModel::BpeModel(const nlohmann::json& model, std::string_view where) {
  const auto vocabulary = model.find("vocab");
  if (vocabulary == model.end() || !vocabulary->is_object()) {
    fail(ErrorKind::input, "the BPE model has no \"vocab\" of pieces and ids", where);
  }
  vocabulary_.reserve(vocabulary->size());
  for (const auto& [piece, id] : vocabulary->items()) {
    if (!id.is_number_integer())
      fail(ErrorKind::input, "the id of the piece \"" + piece + "\" is not a number", where);
    vocabulary_.add(piece, id.get<std::int64_t>(), where);
  }
  vocabulary_.index(where);
  if (const auto dropout = model.find("dropout");
      dropout != model.end() && dropout->is_number() && *dropout > 0) {
    fail(ErrorKind::unsupported, "the BPE model asks for dropout, which makes every encoding random", where,
         "set \"dropout\" to null");
  }
  prefix_ = text_or_empty(model, "continuing_subword_prefix", where);
  suffix_ = text_or_empty(model, "end_of_word_suffix", where);
  fuse_unknown_ = flag_or_false(model, "fuse_unk", where);
  whole_words_first_ = flag_or_false(model, "ignore_merges", where);
  if (const std::string unknown = text_or_empty(model, "unk_token", where); !unknown.empty()) {
    unknown_ = vocabulary_.find(unknown);
    if (!unknown_)
      fail(ErrorKind::input, "the unknown token \"" + unknown + "\" is not in the vocabulary", where);
  }
  if (flag_or_false(model, "byte_fallback", where)) {
    byte_ids_.assign(256, -1);
    for (int byte = 0; byte < 256; ++byte) {
      byte_ids_[static_cast<std::size_t>(byte)] =
          vocabulary_.find(byte_piece(static_cast<std::uint8_t>(byte))).value_or(-1);
    }
  }
  const auto merges = model.find("merges");
  if (merges == model.end() || !merges->is_array())
    fail(ErrorKind::input, "the BPE model has no list of merges", where);
  read_merges(*merges, where);
}

void BpeModel::read_merges(const nlohmann::json& merges, std::string_view where) {
  merges_.reserve(merges.size());
  std::uint32_t rank = 0;
  for (const nlohmann::json& merge : merges) {
    std::string left, right;
    if (merge.is_string()) {
      const std::string& text = merge.get_ref<const std::string&>();
      if (text.starts_with("#version")) continue;
      const std::size_t space = text.find(' ');
      if (space == std::string::npos || text.find(' ', space + 1) != std::string::npos) {
        fail(ErrorKind::input, "the merge \"" + text + "\" is not two pieces", where);
      }
      left = text.substr(0, space), right = text.substr(space + 1);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      left = merge[0].get<std::string>(), right = merge[1].get<std::string>();
    } else {
      fail(ErrorKind::input, "merge " + std::to_string(rank) + " is not two pieces", where);
    }
    const auto left_id = vocabulary_.find(left), right_id = vocabulary_.find(right);
    const bool inner = !prefix_.empty() && right.starts_with(prefix_);
    const auto id = vocabulary_.find(left + (inner ? right.substr(prefix_.size()) : right));
    if (!left_id || !right_id || !id) {
      fail(ErrorKind::input,
           "merge " + std::to_string(rank) + " (\"" + left + "\" with \"" + right +
               "\") names a piece that is not in the vocabulary",
           where);
    }
    merges_[pair_key(*left_id, *right_id)] = {rank++, *id};
    junctions_.add(left, right);
  }
}

void BpeModel::encode(std::string_view word, std::vector<std::int32_t>& ids) const {
  if (whole_words_first_) {
    if (const auto id = vocabulary_.find(word)) {
      ids.push_back(*id);
      return;
    }
  }
  std::vector<MergeSymbol> symbols;
  symbols.reserve(word.size());
  bool after_unknown = false;
  std::string piece;
  for (std::size_t begin = 0; begin < word.size();) {
    const std::size_t end = begin + decode_character(word, begin).length;
    std::string_view character = word.substr(begin, end - begin);
    if ((begin > 0 && !prefix_.empty()) || (end == word.size() && !suffix_.empty())) {
      piece.assign(begin > 0 ? prefix_ : "").append(character).append(end == word.size() ? suffix_ : "");
      character = piece;
    }
    bool unknown = false;
    if (const auto id = vocabulary_.find(character)) {
      symbols.push_back({begin, end, *id, false});
    } else {
      bool has_bytes = !byte_ids_.empty();
      for (const char byte : character)
        has_bytes = has_bytes && byte_ids_[static_cast<std::uint8_t>(byte)] >= 0;
      if (has_bytes) {
        for (const char byte : character)
          symbols.push_back({begin, end, byte_ids_[static_cast<std::uint8_t>(byte)], false});
      } else if (unknown_) {
        unknown = true;
        if (fuse_unknown_ && after_unknown) {
          symbols.back().end = end;
        } else {
          symbols.push_back({begin, end, *unknown_, false});
        }
      }  // without an unknown piece the character is lost
    }
    after_unknown = unknown;
    begin = end;
  }
  // A piece that a prefix was dropped from may begin with another character than its symbols do.
  const auto may_join = [&](const MergeSymbol& left, const MergeSymbol& right) {
    return !prefix_.empty() || junctions_.has(vocabulary_.piece(left.id), vocabulary_.piece(right.id));
  };
  merge_pairs_in_parts(
      symbols, may_join,
      [&](const MergeSymbol& left, const MergeSymbol& right) -> std::optional<MergeCandidate> {
        const auto found = merges_.find(pair_key(left.id, right.id));
        if (found == merges_.end()) return std::nullopt;
        return MergeCandidate{static_cast<double>(found->second.rank), found->second.id};
      });
  for (const MergeSymbol& symbol : symbols) ids.push_back(symbol.id);
}

}  // namespace laconic
