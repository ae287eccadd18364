#include "runtime/tokenizer/sentencepiece.h"

#include <cmath>
#include <unordered_set>

#include "engine/base/error.h"
#include "runtime/tokenizer/byte_level.h"
#include "runtime/tokenizer/unicode_text.h"
#include "runtime/tokenizer/unigram.h"
#include "runtime/tokenizer/wire_reader.h"

namespace laconic {
namespace {

constexpr std::size_t most_pieces = std::size_t{1} << 22;

SentencePieceModel::Piece read_piece(ByteSpan message, std::string_view where) {
  SentencePieceModel::Piece piece;
  WireReader reader(message, where);
  while (const auto field = reader.next()) {
    switch (field->number) {
      case 1:
        piece.text = field->as_text();
        break;
      case 2:
        piece.score = field->as_float();
        break;
      case 3: {
        const std::int32_t kind = field->as_int32();
        if (kind < 1 || kind > 6)
          fail(ErrorKind::corrupt, "a piece of unknown kind " + std::to_string(kind), where);
        piece.kind = static_cast<PieceKind>(kind);
        break;
      }
      default:
        break;
    }
  }
  if (piece.text.empty()) fail(ErrorKind::corrupt, "an empty piece", where);
  if (piece.text.size() > longest_piece_bytes) fail(ErrorKind::corrupt, "a piece of over 4096 bytes", where);
  if (piece.text.find('\0') != std::string::npos)
    fail(ErrorKind::corrupt, "a piece that holds a zero byte", where);
  if (!is_valid_utf8(piece.text)) fail(ErrorKind::corrupt, "a piece that is not UTF-8", where);
  if (!std::isfinite(piece.score)) fail(ErrorKind::corrupt, "a piece whose score is not finite", where);
  return piece;
}

void read_trainer(ByteSpan message, SentencePieceModel& model, std::string_view where) {
  WireReader reader(message, where);
  while (const auto field = reader.next()) {
    switch (field->number) {
      case 3:
        switch (field->as_int32()) {
          case 1:
            model.algorithm = SentencePieceModel::Algorithm::unigram;
            break;
          case 2:
            model.algorithm = SentencePieceModel::Algorithm::bpe;
            break;
          case 3:
            fail(ErrorKind::unsupported, "SentencePiece word models are not supported", where);
          case 4:
            fail(ErrorKind::unsupported, "SentencePiece character models are not supported", where);
          default:
            fail(ErrorKind::corrupt, "unknown SentencePiece model type", where);
        }
        break;
      case 24:
        model.space_as_suffix = field->as_bool();
        break;
      case 35:
        model.byte_fallback = field->as_bool();
        break;
      case 44:
        model.unknown_surface = field->as_text();
        break;
      case 46:
        model.bos_piece = field->as_text();
        break;
      case 47:
        model.eos_piece = field->as_text();
        break;
      default:
        break;
    }
  }
}

void read_normalizer(ByteSpan message, SentencePieceModel& model, std::string_view where) {
  WireReader reader(message, where);
  while (const auto field = reader.next()) {
    switch (field->number) {
      case 2:
        model.character_map = field->as_text();
        break;
      case 3:
        model.add_dummy_prefix = field->as_bool();
        break;
      case 4:
        model.remove_extra_spaces = field->as_bool();
        break;
      case 5:
        model.escape_spaces = field->as_bool();
        break;
      default:
        break;
    }
  }
}

void read_denormalizer(ByteSpan message, SentencePieceModel& model, std::string_view where) {
  WireReader reader(message, where);
  while (const auto field = reader.next()) {
    if (field->number == 2) model.denormalizer_map = field->as_text();
  }
}

void check(const SentencePieceModel& model, std::string_view where) {
  std::unordered_set<std::string_view> seen;
  std::size_t unknown = 0;
  std::vector<bool> bytes(256, false);
  for (const SentencePieceModel::Piece& piece : model.pieces) {
    if (!seen.insert(piece.text).second) {
      fail(ErrorKind::corrupt, "the piece \"" + piece.text + "\" stands twice in the vocabulary", where);
    }
    if (piece.kind == PieceKind::unknown) ++unknown;
    if (piece.kind == PieceKind::byte) {
      const auto value = byte_of_piece(piece.text);
      if (!value) fail(ErrorKind::corrupt, "the byte piece \"" + piece.text + "\" names no byte", where);
      bytes[*value] = true;
    }
  }
  if (unknown != 1) {
    fail(ErrorKind::corrupt, "the model has " + std::to_string(unknown) + " unknown pieces instead of one",
         where);
  }
  if (model.byte_fallback) {
    for (int value = 0; value < 256; ++value) {
      if (!bytes[static_cast<std::size_t>(value)]) {
        fail(ErrorKind::corrupt,
             "byte fallback is on but the piece of byte " + std::to_string(value) + " is missing", where);
      }
    }
  }
}

}  // namespace

SentencePieceModel SentencePieceModel::parse(ByteSpan file, std::string_view where) {
  SentencePieceModel model;
  WireReader reader(file, where);
  while (const auto field = reader.next()) {
    if (field->number >= 1 && field->number <= 5 && field->wire_type != 2 && field->number != 4) {
      fail(ErrorKind::corrupt, "not a SentencePiece model", where);
    }
    switch (field->number) {
      case 1:
        if (model.pieces.size() == most_pieces) fail(ErrorKind::corrupt, "over four million pieces", where);
        model.pieces.push_back(read_piece(field->bytes, where));
        break;
      case 2:
        read_trainer(field->bytes, model, where);
        break;
      case 3:
        read_normalizer(field->bytes, model, where);
        break;
      case 5:
        read_denormalizer(field->bytes, model, where);
        break;
      default:
        break;
    }
  }
  if (model.pieces.empty()) fail(ErrorKind::corrupt, "a SentencePiece model without pieces", where);
  check(model, where);
  return model;
}

}  // namespace laconic
