// SentencePiece models (Kudo and Richardson 2018): tokenizer.model, a protocol buffer with pieces, scores and
// a normaliser. Encoders: BPE by merge score, Unigram by the best path (Viterbi). Read by our own bounded
// wire reader.
#pragma once

#include <memory>
#include <string_view>

#include "engine/base/bytes.h"
#include "runtime/tokenizer/tokenizer.h"

namespace laconic {

struct SentencePieceOptions {
  bool add_bos = true, add_eos = false;  // what encode(add_special) adds
};

// Throws Error(input) on anything that is not such a model, Error(unsupported) for word and character models.
std::unique_ptr<Tokenizer> read_sentencepiece(ByteSpan bytes, std::string_view where,
                                              SentencePieceOptions options = {});

}  // namespace laconic
