#include "runtime/tokenizer/unigram.h"

#include <algorithm>
#include <utility>

#include "runtime/tokenizer/unicode_text.h"

namespace laconic {

UnigramSegmenter::UnigramSegmenter(ByteTrie trie, std::vector<double> scores, double unknown_score,
                                   std::int32_t unknown_id, Precision precision)
    : trie_(std::move(trie)),
      scores_(std::move(scores)),
      unknown_score_(unknown_score),
      unknown_id_(unknown_id),
      precision_(precision) {}

std::vector<UnigramPiece> UnigramSegmenter::segment(std::string_view text) const {
  struct Node {
    double score = 0;
    std::int64_t begin = -1;
    std::int32_t id = -1;
  };
  const auto stored = [&](double score) {
    return precision_ == Precision::f32 ? static_cast<double>(static_cast<float>(score)) : score;
  };
  std::vector<Node> best(text.size() + 1);
  for (std::size_t begin = 0; begin < text.size();) {
    const double so_far = best[begin].score;
    const std::size_t one = decode_character(text, begin).length;
    bool covers_one = false;
    const auto offer = [&](std::size_t end, double score, std::int32_t id) {
      if (best[end].begin < 0 || score > best[end].score) {
        best[end] = {stored(score), static_cast<std::int64_t>(begin), id};
      }
    };
    trie_.prefixes(text, begin, [&](std::size_t length, std::int32_t id) {
      offer(begin + length, so_far + scores_[static_cast<std::size_t>(id)], id);
      covers_one = covers_one || length == one;
    });
    if (!covers_one) offer(begin + one, stored(so_far + unknown_score_), unknown_id_);
    begin += one;
  }
  std::vector<UnigramPiece> pieces;
  for (std::size_t end = text.size(); end > 0;) {
    const auto begin = static_cast<std::size_t>(best[end].begin);
    pieces.push_back({begin, end, best[end].id});
    end = begin;
  }
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

}  // namespace laconic
