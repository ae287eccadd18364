// SentencePiece models (`tokenizer.model`, a protobuf): unigram and BPE, with byte fallback, user-defined
// symbols and the precompiled character map.
//
// Unigram: the segmentation with the greatest sum of piece scores (log probabilities); a character in no
// piece costs the lowest score minus 10. BPE: of all neighbours whose concatenation is a piece, the one with
// the greatest score merges first, the leftmost of equals. Source: Kudo, Richardson 2018, "SentencePiece";
// Kudo 2018, "Subword regularization".
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/tokenizer_settings.h"

namespace laconic {

enum class PieceKind : std::uint8_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

struct SentencePieceModel {
  struct Piece {
    std::string text;
    float score = 0;
    PieceKind kind = PieceKind::normal;
  };
  enum class Algorithm { unigram = 1, bpe = 2 };

  std::vector<Piece> pieces;  // the index is the id
  Algorithm algorithm = Algorithm::unigram;
  bool byte_fallback = false;
  bool space_as_suffix = false;
  bool add_dummy_prefix = true;
  bool remove_extra_spaces = true;
  bool escape_spaces = true;
  std::string character_map;  // precompiled
  std::string denormalizer_map;
  std::string unknown_surface = " \u2047 ";
  std::string bos_piece = "<s>", eos_piece = "</s>";

  // Throws Error(corrupt) on damage, Error(unsupported) for word and character models.
  static SentencePieceModel parse(ByteSpan file, std::string_view where);
};

// Without settings the encoder behaves as the library does: strings like <s> in the text are ordinary text.
// Tokens that the settings name are found in the text. `add_special` adds BOS where the model has one, unless
// told otherwise.
std::unique_ptr<Tokenizer> sentencepiece_tokenizer(SentencePieceModel model,
                                                   const TokenizerSettings& settings, std::string_view where);

}  // namespace laconic
