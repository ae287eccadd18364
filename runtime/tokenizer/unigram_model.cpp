#include "runtime/tokenizer/unigram_model.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/base/error.h"
#include "runtime/tokenizer/byte_level.h"

namespace laconic {

UnigramModel::UnigramModel(const nlohmann::json& model, std::string_view where) : where_(where) {
  constexpr double unknown_penalty = 10.0;
  const auto list = model.find("vocab");
  if (list == model.end() || !list->is_array() || list->empty()) {
    fail(ErrorKind::input, "the unigram model has no \"vocab\" list of pieces and scores", where);
  }
  vocabulary_.reserve(list->size());
  std::vector<double> scores;
  double lowest = std::numeric_limits<double>::max();
  for (const nlohmann::json& entry : *list) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      fail(ErrorKind::input,
           "entry " + std::to_string(scores.size()) + " of the vocabulary is not a piece with a score",
           where);
    }
    const double score = entry[1].get<double>();
    const std::string piece = entry[0].get<std::string>();
    if (!std::isfinite(score)) fail(ErrorKind::input, "the score of \"" + piece + "\" is not finite", where);
    if (piece.size() > longest_piece_bytes) fail(ErrorKind::input, "a piece of over 4096 bytes", where);
    lowest = std::min(lowest, score);
    vocabulary_.add(piece, static_cast<std::int64_t>(scores.size()), where);
    scores.push_back(score);
  }
  vocabulary_.index(where);
  if (const auto unknown = model.find("unk_id"); unknown != model.end() && !unknown->is_null()) {
    if (!unknown->is_number_integer() || !vocabulary_.has(unknown->get<std::int64_t>())) {
      fail(ErrorKind::input, "the unigram model's \"unk_id\" is not the id of a piece", where);
    }
    unknown_ = unknown->get<std::int32_t>();
  }
  if (const auto fallback = model.find("byte_fallback");
      fallback != model.end() && fallback->is_boolean() && *fallback) {
    byte_ids_.assign(256, -1);
    for (int byte = 0; byte < 256; ++byte) {
      byte_ids_[static_cast<std::size_t>(byte)] =
          vocabulary_.find(byte_piece(static_cast<std::uint8_t>(byte))).value_or(-1);
    }
  }
  std::vector<std::pair<std::string_view, std::int32_t>> keys;
  for (std::size_t id = 0; id < vocabulary_.size(); ++id) {
    const std::string& piece = vocabulary_.piece(static_cast<std::int32_t>(id));
    if (!piece.empty()) keys.emplace_back(piece, static_cast<std::int32_t>(id));
  }
  segmenter_ = UnigramSegmenter(ByteTrie(std::move(keys)), std::move(scores), lowest - unknown_penalty,
                                unknown_.value_or(-1), UnigramSegmenter::Precision::f64);
}

void UnigramModel::encode(std::string_view word, std::vector<std::int32_t>& ids) const {
  const std::vector<UnigramPiece> pieces = segmenter_.segment(word);
  for (std::size_t i = 0; i < pieces.size();) {
    std::size_t end = pieces[i].end;
    const std::size_t begin = pieces[i].begin;
    std::int32_t id = pieces[i].id;
    ++i;
    if (id < 0) {
      fail(ErrorKind::input,
           "the text holds a character that the vocabulary lacks, and the model has no unknown piece",
           where_);
    }
    if (unknown_ && id == *unknown_) {
      // A run of unknown characters is one unknown piece, or the bytes of all of them.
      while (i < pieces.size() && pieces[i].id == *unknown_) end = pieces[i++].end;
      bool has_bytes = !byte_ids_.empty();
      for (std::size_t k = begin; k < end; ++k) {
        has_bytes = has_bytes && byte_ids_[static_cast<std::uint8_t>(word[k])] >= 0;
      }
      if (has_bytes) {
        for (std::size_t k = begin; k < end; ++k)
          ids.push_back(byte_ids_[static_cast<std::uint8_t>(word[k])]);
        continue;
      }
    }
    ids.push_back(id);
  }
}

}  // namespace laconic
