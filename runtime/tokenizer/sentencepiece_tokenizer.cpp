#include <algorithm>
#include <limits>
#include <unordered_map>
#include <utility>

#include "engine/base/error.h"
#include "runtime/tokenizer/byte_level.h"
#include "runtime/tokenizer/character_map.h"
#include "runtime/tokenizer/merge_junctions.h"
#include "runtime/tokenizer/sentencepiece.h"
#include "runtime/tokenizer/unicode_text.h"
#include "runtime/tokenizer/unigram.h"

namespace laconic {
namespace {

constexpr std::string_view space_mark = "\xE2\x96\x81";  // U+2581 stands for a space inside pieces

std::string with_spaces(std::string_view piece) {
  std::string text;
  for (std::size_t i = 0; i < piece.size();) {
    if (piece.substr(i, space_mark.size()) == space_mark) {
      text += ' ';
      i += space_mark.size();
    } else {
      text += piece[i++];
    }
  }
  return text;
}

class SentencePieceTokenizer final : public Tokenizer {
 public:
  SentencePieceTokenizer(SentencePieceModel model, const TokenizerSettings& settings, std::string_view where);

  std::vector<std::int32_t> encode(std::string_view text, bool add_special) const override;
  std::string decode(std::span<const std::int32_t> ids, bool skip_special) const override;
  std::string token_bytes(std::int32_t id) const override;
  std::int32_t size() const override { return static_cast<std::int32_t>(pieces_.size()); }
  std::optional<std::int32_t> bos() const override { return bos_; }
  std::optional<std::int32_t> eos() const override { return eos_; }
  bool is_special(std::int32_t id) const override;
  std::optional<std::int32_t> id_of(std::string_view piece) const override;

 private:
  using Piece = SentencePieceModel::Piece;

  void add_tokens(const TokenizerSettings& settings, std::string_view where);
  void prepare_models();
  CharacterMap::Match normalized_prefix(std::string_view text) const;
  std::string normalize(std::string_view text, bool dummy_prefix) const;
  void encode_part(std::string_view text, bool dummy_prefix, std::vector<std::int32_t>& ids) const;
  std::vector<UnigramPiece> merged_pieces(std::string_view text) const;
  std::string denormalize(const std::string& text) const;

  SentencePieceModel model_;
  std::vector<Piece>& pieces_;
  std::unordered_map<std::string_view, std::int32_t> ids_;        // every piece
  std::unordered_map<std::string_view, std::int32_t> mergeable_;  // normal, user-defined and unused pieces
  std::size_t longest_mergeable_ = 0;
  MergeJunctions junctions_;  // of all mergeable pieces
  std::int32_t unknown_ = 0;
  std::vector<std::int32_t> byte_ids_;
  CharacterMap map_, denormalizer_;
  ByteTrie user_defined_;
  UnigramSegmenter unigram_;
  AddedTokenFinder finder_;
  std::vector<bool> added_, hidden_;  // by id: found in text as a whole; special
  std::optional<std::int32_t> bos_, eos_;
  bool add_bos_ = false, add_eos_ = false, prefix_after_token_ = true;
};

SentencePieceTokenizer::SentencePieceTokenizer(SentencePieceModel model, const TokenizerSettings& settings,
                                               std::string_view where)
    : model_(std::move(model)), pieces_(model_.pieces) {
  map_ = CharacterMap(as_byte_span(model_.character_map), where);
  denormalizer_ = CharacterMap(as_byte_span(model_.denormalizer_map), where);
  prepare_models();
  add_tokens(settings, where);
  for (std::size_t i = 0; i < pieces_.size(); ++i)
    ids_.emplace(pieces_[i].text, static_cast<std::int32_t>(i));

  const auto role = [&](const std::optional<std::string>& stated, const std::string& own) {
    if (stated) return id_of(*stated);
    const auto id = id_of(own);
    return id && pieces_[static_cast<std::size_t>(*id)].kind == PieceKind::control ? id : std::nullopt;
  };
  bos_ = role(settings.bos_token, model_.bos_piece);
  eos_ = role(settings.eos_token, model_.eos_piece);
  // T5 and its kin put EOS at the end and have no BOS.
  const bool is_t5 = settings.tokenizer_class.find("T5") != std::string::npos;
  add_bos_ = settings.add_bos.value_or(!is_t5) && bos_.has_value();
  add_eos_ = settings.add_eos.value_or(is_t5) && eos_.has_value();
  prefix_after_token_ = settings.legacy.value_or(true);
}

void SentencePieceTokenizer::prepare_models() {
  std::vector<std::pair<std::string_view, std::int32_t>> keys, user_keys;
  byte_ids_.assign(256, -1);
  float lowest = std::numeric_limits<float>::max(), highest = std::numeric_limits<float>::lowest();
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    const Piece& piece = pieces_[i];
    const auto id = static_cast<std::int32_t>(i);
    switch (piece.kind) {
      case PieceKind::unknown:
        unknown_ = id;
        break;
      case PieceKind::control:
        break;
      case PieceKind::byte:
        byte_ids_[*byte_of_piece(piece.text)] = id;
        break;
      case PieceKind::user_defined:
        user_keys.emplace_back(piece.text, id);
        keys.emplace_back(piece.text, id);
        break;
      case PieceKind::normal:
        lowest = std::min(lowest, piece.score), highest = std::max(highest, piece.score);
        keys.emplace_back(piece.text, id);
        break;
      case PieceKind::unused:
        keys.emplace_back(piece.text, id);
        break;
    }
  }
  if (!user_keys.empty()) user_defined_ = ByteTrie(std::move(user_keys));
  if (model_.algorithm == SentencePieceModel::Algorithm::bpe) {
    for (const auto& key : keys) longest_mergeable_ = std::max(longest_mergeable_, key.first.size());
    return;
  }
  std::erase_if(keys, [&](const auto& key) {
    return pieces_[static_cast<std::size_t>(key.second)].kind == PieceKind::unused;
  });
  std::vector<double> scores(pieces_.size(), 0.0);
  for (const auto& [text, id] : keys) {
    const Piece& piece = pieces_[static_cast<std::size_t>(id)];
    // A user-defined symbol always wins against any cut of the same text.
    scores[static_cast<std::size_t>(id)] =
        piece.kind == PieceKind::user_defined ? static_cast<float>(text.size()) * highest - 0.1 : piece.score;
  }
  if (lowest > highest) lowest = 0;  // no normal pieces
  constexpr float unknown_penalty = 10.0f;
  unigram_ = UnigramSegmenter(ByteTrie(std::move(keys)), std::move(scores), lowest - unknown_penalty,
                              unknown_, UnigramSegmenter::Precision::f32);
}

void SentencePieceTokenizer::add_tokens(const TokenizerSettings& settings, std::string_view where) {
  std::vector<AddedToken> tokens = settings.added;
  std::unordered_map<std::string_view, std::int32_t> known;
  for (std::size_t i = 0; i < pieces_.size(); ++i)
    known.emplace(pieces_[i].text, static_cast<std::int32_t>(i));
  // The tokens of the four roles are found in text even where no list of added tokens names them.
  for (const auto* role :
       {&settings.bos_token, &settings.eos_token, &settings.unk_token, &settings.pad_token}) {
    if (!*role) continue;
    const auto found = known.find(**role);
    if (found == known.end()) continue;
    const bool listed = std::any_of(tokens.begin(), tokens.end(),
                                    [&](const AddedToken& token) { return token.content == **role; });
    if (!listed) tokens.push_back({**role, found->second, false, false, false, false, true});
  }
  const std::size_t bound = pieces_.size() + tokens.size() + 65536;
  hidden_.assign(pieces_.size(), false);
  added_.assign(pieces_.size(), false);
  known.clear();  // its keys point into the pieces, which move now
  for (const AddedToken& token : tokens) {
    if (token.id < 0 || static_cast<std::size_t>(token.id) >= bound) {
      fail(ErrorKind::input,
           "the added token \"" + token.content + "\" has the absurd id " + std::to_string(token.id), where);
    }
    const auto id = static_cast<std::size_t>(token.id);
    if (id >= pieces_.size()) {
      pieces_.resize(id + 1, Piece{"", 0, PieceKind::unused});
      hidden_.resize(id + 1, false);
      added_.resize(id + 1, false);
    }
    // A renamed piece of the model (a reserved one, say) is no longer found under its old name.
    pieces_[id].text = token.content;
    added_[id] = true;
    if (token.special) hidden_[id] = true;
  }
  for (std::size_t i = 0; i < pieces_.size(); ++i) {
    const PieceKind kind = pieces_[i].kind;
    if (kind == PieceKind::control || kind == PieceKind::unknown) hidden_[i] = true;
    if (model_.algorithm == SentencePieceModel::Algorithm::bpe && !pieces_[i].text.empty() &&
        (kind == PieceKind::normal || kind == PieceKind::user_defined || kind == PieceKind::unused)) {
      mergeable_.emplace(pieces_[i].text, static_cast<std::int32_t>(i));
      junctions_.add_all_of(pieces_[i].text);
    }
  }
  finder_ = AddedTokenFinder(std::move(tokens));
}

CharacterMap::Match SentencePieceTokenizer::normalized_prefix(std::string_view text) const {
  if (!user_defined_.empty()) {
    const std::size_t length = user_defined_.longest_prefix(text, 0).length;
    if (length > 0) return {length, text.substr(0, length)};
  }
  const CharacterMap::Match match = map_.longest(text.substr(0, 256));
  if (match.length > 0) return match;
  const DecodedCharacter character = decode_character(text, 0);
  if (!character.valid) return {1, "\xEF\xBF\xBD"};
  return {character.length, text.substr(0, character.length)};
}

std::string SentencePieceTokenizer::normalize(std::string_view text, bool dummy_prefix) const {
  std::string result;
  result.reserve(text.size() + 3);
  const std::string_view space = model_.escape_spaces ? space_mark : std::string_view(" ");
  if (model_.remove_extra_spaces) {
    while (!text.empty()) {
      const auto match = normalized_prefix(text);
      if (match.replacement != " ") break;
      text.remove_prefix(match.length);
    }
  }
  if (text.empty()) return result;
  const bool dummy = model_.add_dummy_prefix && dummy_prefix;
  if (dummy && !model_.space_as_suffix) result += space;
  bool after_space = model_.remove_extra_spaces;
  while (!text.empty()) {
    const auto match = normalized_prefix(text);
    std::string_view part = match.replacement;
    while (after_space && part.starts_with(' ')) part.remove_prefix(1);
    if (!part.empty()) {
      for (const char byte : part) {
        if (byte == ' ') {
          result += space;
        } else {
          result += byte;
        }
      }
      after_space = part.ends_with(' ');
    }
    text.remove_prefix(match.length);
    if (!model_.remove_extra_spaces) after_space = false;
  }
  if (model_.remove_extra_spaces) {
    while (result.ends_with(space)) result.erase(result.size() - space.size());
  }
  if (dummy && model_.space_as_suffix) result += space;
  return result;
}

std::vector<UnigramPiece> SentencePieceTokenizer::merged_pieces(std::string_view text) const {
  const auto mergeable = [&](std::size_t begin, std::size_t end) -> std::int32_t {
    if (end - begin > longest_mergeable_) return -1;
    const auto found = mergeable_.find(text.substr(begin, end - begin));
    return found == mergeable_.end() ? -1 : found->second;
  };
  std::vector<MergeSymbol> symbols;
  for (std::size_t begin = 0; begin < text.size();) {
    MergeSymbol symbol;
    symbol.begin = begin;
    if (const auto match = user_defined_.longest_prefix(text, begin); match.length > 0) {
      symbol.end = begin + match.length;
      symbol.id = match.value;
      symbol.frozen = true;
    } else {
      symbol.end = begin + decode_character(text, begin).length;
      symbol.id = mergeable(symbol.begin, symbol.end);
    }
    begin = symbol.end;
    symbols.push_back(symbol);
  }
  // An unused piece is split again into the pair that made it.
  std::unordered_map<std::string_view, std::size_t> split_at;
  const auto part_of = [&](const MergeSymbol& symbol) {
    return text.substr(symbol.begin, symbol.end - symbol.begin);
  };
  const auto may_join = [&](const MergeSymbol& left, const MergeSymbol& right) {
    return junctions_.has(part_of(left), part_of(right));
  };
  merge_pairs_in_parts(
      symbols, may_join,
      [&](const MergeSymbol& left, const MergeSymbol& right) -> std::optional<MergeCandidate> {
        const std::int32_t id = mergeable(left.begin, right.end);
        if (id < 0) return std::nullopt;
        const Piece& piece = pieces_[static_cast<std::size_t>(id)];
        if (piece.kind == PieceKind::unused)
          split_at[text.substr(left.begin, right.end - left.begin)] = left.end - left.begin;
        return MergeCandidate{-static_cast<double>(piece.score), id};
      });
  std::vector<UnigramPiece> pieces, open;
  for (const MergeSymbol& symbol : symbols) {
    open.push_back({symbol.begin, symbol.end, symbol.id});
    while (!open.empty()) {
      const UnigramPiece piece = open.back();
      open.pop_back();
      const bool unused =
          piece.id >= 0 && pieces_[static_cast<std::size_t>(piece.id)].kind == PieceKind::unused;
      const auto split =
          unused ? split_at.find(text.substr(piece.begin, piece.end - piece.begin)) : split_at.end();
      if (split == split_at.end()) {
        pieces.push_back({piece.begin, piece.end, piece.id < 0 ? unknown_ : piece.id});
        continue;
      }
      const std::size_t middle = piece.begin + split->second;
      open.push_back({middle, piece.end, mergeable(middle, piece.end)});
      open.push_back({piece.begin, middle, mergeable(piece.begin, middle)});
    }
  }
  return pieces;
}

void SentencePieceTokenizer::encode_part(std::string_view text, bool dummy_prefix,
                                         std::vector<std::int32_t>& ids) const {
  const std::string normal = bytewise_repaired_utf8(normalize(text, dummy_prefix));
  const std::vector<UnigramPiece> pieces = model_.algorithm == SentencePieceModel::Algorithm::bpe
                                               ? merged_pieces(normal)
                                               : unigram_.segment(normal);
  bool after_unknown = false;
  for (const UnigramPiece& piece : pieces) {
    const bool unknown = piece.id == unknown_;
    if (unknown && model_.byte_fallback) {
      for (std::size_t i = piece.begin; i < piece.end; ++i) {
        ids.push_back(byte_ids_[static_cast<std::uint8_t>(normal[i])]);
      }
    } else if (!unknown || !after_unknown) {  // a run of unknown characters is one unknown piece
      ids.push_back(piece.id);
    }
    after_unknown = unknown;
  }
}

std::vector<std::int32_t> SentencePieceTokenizer::encode(std::string_view text, bool add_special) const {
  if (text.size() > std::numeric_limits<std::uint32_t>::max() / 8) {
    fail(ErrorKind::input, "text of " + std::to_string(text.size()) + " bytes is too long to encode at once",
         {}, "split it into parts below 512 MB");
  }
  std::vector<std::int32_t> ids;
  if (add_special && add_bos_) ids.push_back(*bos_);
  if (finder_.empty()) {
    encode_part(text, true, ids);
  } else {
    const std::string valid = bytewise_repaired_utf8(text);
    for (const TextSegment& segment : finder_.split(valid)) {
      if (segment.id >= 0) {
        ids.push_back(segment.id);
      } else {
        encode_part(segment.text, prefix_after_token_ || segment.begin == 0, ids);
      }
    }
  }
  if (add_special && add_eos_) ids.push_back(*eos_);
  return ids;
}

std::string SentencePieceTokenizer::denormalize(const std::string& text) const {
  if (denormalizer_.empty()) return text;
  std::string result;
  for (std::string_view rest = text; !rest.empty();) {
    const CharacterMap::Match match = denormalizer_.longest(rest.substr(0, 256));
    const std::size_t length = match.length > 0 ? match.length : decode_character(rest, 0).length;
    result += match.length > 0 ? match.replacement : rest.substr(0, length);
    rest.remove_prefix(length);
  }
  return result;
}

std::string SentencePieceTokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  std::string text, bytes;
  const auto flush_bytes = [&] {
    text += bytewise_repaired_utf8(bytes);
    bytes.clear();
  };
  // The space that the encoder put in front is taken away again.
  const bool drops_space = model_.add_dummy_prefix || model_.remove_extra_spaces;
  bool at_start = true, dropped = false;
  for (const std::int32_t id : ids) {
    if (id < 0 || id >= size()) continue;
    const Piece& piece = pieces_[static_cast<std::size_t>(id)];
    if (skip_special && is_special(id)) continue;
    if (piece.kind == PieceKind::byte && !added_[static_cast<std::size_t>(id)]) {
      bytes += static_cast<char>(*byte_of_piece(piece.text));
      continue;
    }
    flush_bytes();
    if (dropped || !text.empty()) at_start = false;
    if (added_[static_cast<std::size_t>(id)] || piece.kind == PieceKind::control) {
      text += piece.text;
    } else if (piece.kind == PieceKind::unknown) {
      text += model_.unknown_surface;
    } else {
      std::string_view content = piece.text;
      if (at_start && drops_space && content.starts_with(space_mark)) {
        content.remove_prefix(space_mark.size());
        dropped = !model_.remove_extra_spaces;
      }
      text += with_spaces(content);
    }
  }
  flush_bytes();
  return denormalize(text);
}

std::string SentencePieceTokenizer::token_bytes(std::int32_t id) const {
  if (id < 0 || id >= size()) return {};
  const Piece& piece = pieces_[static_cast<std::size_t>(id)];
  if (added_[static_cast<std::size_t>(id)] || piece.kind == PieceKind::control) return piece.text;
  if (piece.kind == PieceKind::byte) return {static_cast<char>(*byte_of_piece(piece.text))};
  if (piece.kind == PieceKind::unknown) return model_.unknown_surface;
  return with_spaces(piece.text);
}

bool SentencePieceTokenizer::is_special(std::int32_t id) const {
  return id >= 0 && id < size() && hidden_[static_cast<std::size_t>(id)];
}

std::optional<std::int32_t> SentencePieceTokenizer::id_of(std::string_view piece) const {
  const auto found = ids_.find(piece);
  if (found == ids_.end() || piece.empty()) return std::nullopt;
  return found->second;
}

}  // namespace

std::unique_ptr<Tokenizer> sentencepiece_tokenizer(SentencePieceModel model,
                                                   const TokenizerSettings& settings,
                                                   std::string_view where) {
  return std::make_unique<SentencePieceTokenizer>(std::move(model), settings, where);
}

}  // namespace laconic
