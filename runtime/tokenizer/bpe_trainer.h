// Trains a byte-level BPE vocabulary: start from the 256 bytes, then again and again join the pair of
// neighbouring pieces that is most frequent inside the words of the text, until the vocabulary is full.
// Written as a tokenizer.json that Tokenizer::load and other programs read. Source: Sennrich, Haddow, Birch
// 2016, "Neural machine translation of rare words with subword units", algorithm 1, on the bytes and words of
// GPT-2 (Radford et al. 2019).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/progress.h"

namespace laconic {

struct BpeTrainerOptions {
  std::int32_t vocabulary_size = 1024;  // special tokens and the 256 bytes included
  std::string bos = "<|bos|>";          // empty: none
  std::string eos = "<|eos|>";          // empty: none; may be the token that is `bos`
  std::vector<std::string> special;     // further special tokens, after bos and eos
  std::int64_t least_count = 2;         // rarer pairs are not joined
  std::int64_t longest_piece = 64;      // bytes
  bool split_digits = false;            // every digit is a word of its own
};

struct BpeVocabulary {
  BpeTrainerOptions options;
  // Bytes of the pieces, in the order of their ids after the special tokens: 256 bytes, then one per merge.
  std::vector<std::string> pieces;
  // Indices into `pieces`; merge i makes pieces[256 + i].
  std::vector<std::pair<std::int32_t, std::int32_t>> merges;

  // Ids: special tokens from 0 (bos, eos, further), then `pieces`. Encoding with special tokens puts BOS in
  // front.
  std::string tokenizer_json() const;
  // bos_token, eos_token, for the file beside it.
  std::string tokenizer_config_json() const;
};

// The special strings themselves are not counted where they stand in the text. The result depends only on
// the text and the options: of equally frequent pairs the one whose left piece, then right piece, was made
// first is joined. The vocabulary is smaller than asked for when no pair is frequent enough.
// Throws Error(usage) when the size leaves no room for the bytes, Error(interrupted).
BpeVocabulary train_bpe(std::string_view text, const BpeTrainerOptions& options = {},
                        const ProgressListener& listener = {});

}  // namespace laconic
