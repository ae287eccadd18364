// The segmentation of a unigram language model: of all ways to cut a text into pieces, the one whose scores
// (log probabilities) have the greatest sum, found by Viterbi over byte positions.
//   best(end) = max over pieces text[begin, end) of best(begin) + score(piece)
// A place where no piece spans exactly one character also gets an unknown piece of that character.
// Source: Kudo 2018, "Subword regularization", section 3.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/byte_trie.h"

namespace laconic {

// Readers refuse longer pieces: the work per character of text grows with the longest.
constexpr std::size_t longest_piece_bytes = 4096;

struct UnigramPiece {
  std::size_t begin = 0, end = 0;
  std::int32_t id = -1;
};

class UnigramSegmenter {
 public:
  enum class Precision {
    f32,
    f64
  };  // SentencePiece keeps path scores in f32, tokenizer.json's reference in f64

  UnigramSegmenter() = default;
  // `trie` values are ids, `scores` is indexed by id; `unknown_score` is the cost of a character in no piece.
  UnigramSegmenter(ByteTrie trie, std::vector<double> scores, double unknown_score, std::int32_t unknown_id,
                   Precision precision);

  // `text` is cut at characters; an invalid byte counts as one character.
  std::vector<UnigramPiece> segment(std::string_view text) const;

 private:
  ByteTrie trie_;
  std::vector<double> scores_;
  double unknown_score_ = 0;
  std::int32_t unknown_id_ = -1;
  Precision precision_ = Precision::f64;
};

}  // namespace laconic
