#include "runtime/tokenizer/sentencepiece.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <queue>
#include <unordered_map>

#include "engine/base/error.h"
#include "runtime/tokenizer/character_map.h"
#include "runtime/tokenizer/utf8.h"

namespace laconic {
namespace {

constexpr std::string_view space_mark = "\xE2\x96\x81";      // U+2581
constexpr std::string_view unknown_mark = " \xE2\x81\x87 ";  // what an unknown piece decodes to
constexpr std::size_t piece_limit = 1 << 22, piece_bytes_limit = 1 << 16;

enum class PieceType { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct Piece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::normal;
};

struct Model {
  std::vector<Piece> pieces;
  bool unigram = true, byte_fallback = false;
  bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true,
       suffix_space = false;
  std::string character_map;
};

// One field of a protocol buffer message.
struct WireField {
  std::uint64_t number = 0;
  std::uint64_t integer = 0;  // wire types 0 and 5
  ByteSpan bytes;             // wire type 2
  bool is_bytes = false;
};

WireField next_field(ByteReader& reader) {
  const std::uint64_t key = reader.varint();
  WireField field;
  field.number = key >> 3;
  switch (key & 7u) {
    case 0:
      field.integer = reader.varint();
      break;
    case 1:
      field.integer = reader.u64();
      break;
    case 2:
      field.is_bytes = true;
      field.bytes = reader.take(reader.length(reader.remaining()));
      break;
    case 5:
      field.integer = reader.u32();
      break;
    default:
      reader.corrupt("wire type that protocol buffers do not have");
  }
  return field;
}

template <class Visit>
void each_field(ByteSpan bytes, const std::string& where, Visit visit) {
  ByteReader reader(bytes, where);
  while (!reader.at_end()) visit(next_field(reader));
}

float as_float(std::uint64_t bits) {
  const auto word = static_cast<std::uint32_t>(bits);
  float value;
  std::memcpy(&value, &word, 4);
  return value;
}

Model parse_model(ByteSpan bytes, const std::string& where) {
  Model model;
  std::uint64_t model_type = 1;
  each_field(bytes, where, [&](const WireField& field) {
    if (field.number == 1 && field.is_bytes) {
      Piece piece;
      each_field(field.bytes, where, [&](const WireField& part) {
        if (part.number == 1 && part.is_bytes) piece.text = std::string(as_text(part.bytes));
        if (part.number == 2) piece.score = as_float(part.integer);
        if (part.number == 3) {
          if (part.integer < 1 || part.integer > 6) fail(ErrorKind::input, "unknown piece type", where);
          piece.type = static_cast<PieceType>(part.integer);
        }
      });
      if (piece.text.empty() || piece.text.size() > piece_bytes_limit || model.pieces.size() >= piece_limit) {
        fail(ErrorKind::input, "piece " + std::to_string(model.pieces.size()) + " is empty or absurd", where);
      }
      if (!(std::abs(piece.score) < 1e30f)) fail(ErrorKind::input, "a piece has no finite score", where);
      model.pieces.push_back(std::move(piece));
    } else if (field.number == 2 && field.is_bytes) {
      each_field(field.bytes, where, [&](const WireField& part) {
        if (part.number == 3) model_type = part.integer;
        if (part.number == 35) model.byte_fallback = part.integer != 0;
        if (part.number == 24) model.suffix_space = part.integer != 0;
      });
    } else if (field.number == 3 && field.is_bytes) {
      each_field(field.bytes, where, [&](const WireField& part) {
        if (part.number == 2 && part.is_bytes) model.character_map = std::string(as_text(part.bytes));
        if (part.number == 3) model.add_dummy_prefix = part.integer != 0;
        if (part.number == 4) model.remove_extra_whitespaces = part.integer != 0;
        if (part.number == 5) model.escape_whitespaces = part.integer != 0;
      });
    }
  });
  if (model_type != 1 && model_type != 2) {
    fail(ErrorKind::unsupported, "word and character models are not supported", where,
         "supported: unigram, bpe");
  }
  model.unigram = model_type == 1;
  if (model.pieces.empty()) fail(ErrorKind::input, "has no pieces", where);
  return model;
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(Model model, const std::string& where, SentencePieceOptions options)
      : model_(std::move(model)), options_(options), map_(model_.character_map, where) {
    byte_ids_.fill(-1);
    min_score_ = std::numeric_limits<float>::max();
    float max_score = std::numeric_limits<float>::lowest();
    for (std::size_t i = 0; i < model_.pieces.size(); ++i) {
      const Piece& piece = model_.pieces[i];
      const auto id = static_cast<std::int32_t>(i);
      if (!ids_.emplace(piece.text, id).second)
        fail(ErrorKind::input, "piece \"" + piece.text + "\" stands twice", where);
      longest_piece_ = std::max(longest_piece_, piece.text.size());
      switch (piece.type) {
        case PieceType::unknown:
          if (unknown_ >= 0) fail(ErrorKind::input, "has two unknown pieces", where);
          unknown_ = id;
          break;
        case PieceType::control:
          if (piece.text == "<s>") bos_ = id;
          if (piece.text == "</s>") eos_ = id;
          break;
        case PieceType::user_defined:
          user_defined_.push_back(id);
          break;
        case PieceType::byte: {
          unsigned value = 256;
          if (piece.text.size() == 6 && piece.text.starts_with("<0x") && piece.text.back() == '>') {
            try {
              value = static_cast<unsigned>(std::stoul(piece.text.substr(3, 2), nullptr, 16));
            } catch (const std::exception&) {
            }
          }
          if (value > 255) fail(ErrorKind::input, "byte piece \"" + piece.text + "\" names no byte", where);
          byte_ids_[value] = id;
          break;
        }
        case PieceType::normal:
          min_score_ = std::min(min_score_, piece.score);
          max_score = std::max(max_score, piece.score);
          break;
        case PieceType::unused:
          break;
      }
    }
    max_score_ = max_score;
    if (unknown_ < 0) fail(ErrorKind::input, "has no unknown piece", where);
    if (model_.byte_fallback && std::count(byte_ids_.begin(), byte_ids_.end(), -1) > 0) {
      fail(ErrorKind::input, "byte fallback without all 256 byte pieces", where);
    }
    // Longer symbols are matched first.
    std::sort(user_defined_.begin(), user_defined_.end(), [&](std::int32_t a, std::int32_t b) {
      return text_of(a).size() != text_of(b).size() ? text_of(a).size() > text_of(b).size() : a < b;
    });
  }

  std::vector<std::int32_t> encode(std::string_view text, bool add_special) const override {
    std::vector<std::int32_t> ids;
    if (add_special && options_.add_bos && bos_ >= 0) ids.push_back(bos_);
    const std::string normal = normalise(text);
    if (model_.unigram) {
      encode_unigram(normal, ids);
    } else {
      encode_bpe(normal, ids);
    }
    if (add_special && options_.add_eos && eos_ >= 0) ids.push_back(eos_);
    return ids;
  }

  std::string decode(std::span<const std::int32_t> ids, bool) const override {
    std::string text, bytes;
    const auto flush = [&] {
      text += with_replacements(bytes);
      bytes.clear();
    };
    bool may_strip = model_.add_dummy_prefix || model_.remove_extra_whitespaces;
    for (const std::int32_t id : ids) {
      if (id < 0 || id >= size())
        fail(ErrorKind::input, "token " + std::to_string(id) + " does not exist", "tokenizer");
      const Piece& piece = model_.pieces[static_cast<std::size_t>(id)];
      if (piece.type == PieceType::byte) {
        bytes += static_cast<char>(std::stoul(piece.text.substr(3, 2), nullptr, 16));
        continue;
      }
      flush();
      if (!text.empty()) may_strip = false;
      if (piece.type == PieceType::control) continue;
      if (piece.type == PieceType::unknown) {
        text += unknown_mark;
        continue;
      }
      std::string_view rest = piece.text;
      if (may_strip && rest.starts_with(space_mark)) {
        rest.remove_prefix(space_mark.size());
        // One mark is the prefix that encoding added; more are stripped only when encoding strips them too.
        if (!model_.remove_extra_whitespaces) may_strip = false;
      }
      append_plain(rest, text);
    }
    flush();
    return text;
  }

  std::string token_bytes(std::int32_t id) const override {
    if (id < 0 || id >= size()) return {};
    const Piece& piece = model_.pieces[static_cast<std::size_t>(id)];
    if (piece.type == PieceType::byte)
      return std::string(1, static_cast<char>(std::stoul(piece.text.substr(3, 2), nullptr, 16)));
    if (piece.type == PieceType::control) return {};
    if (piece.type == PieceType::unknown) return std::string(unknown_mark);
    std::string text;
    append_plain(piece.text, text);
    return text;
  }

  std::int32_t size() const override { return static_cast<std::int32_t>(model_.pieces.size()); }
  std::optional<std::int32_t> bos() const override { return bos_ < 0 ? std::nullopt : std::optional(bos_); }
  std::optional<std::int32_t> eos() const override { return eos_ < 0 ? std::nullopt : std::optional(eos_); }
  bool is_special(std::int32_t id) const override {
    return id >= 0 && id < size() && model_.pieces[static_cast<std::size_t>(id)].type == PieceType::control;
  }
  std::optional<std::int32_t> id_of(std::string_view piece) const override {
    const auto found = ids_.find(std::string(piece));
    return found == ids_.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  const std::string& text_of(std::int32_t id) const {
    return model_.pieces[static_cast<std::size_t>(id)].text;
  }

  static void append_plain(std::string_view piece, std::string& text) {
    while (!piece.empty()) {
      const std::size_t at = piece.find(space_mark);
      text.append(piece.substr(0, at));
      if (at == std::string_view::npos) return;
      text += ' ';
      piece.remove_prefix(at + space_mark.size());
    }
  }

  // The user-defined symbol that starts the text, or 0 bytes.
  std::size_t user_defined_prefix(std::string_view text) const {
    for (const std::int32_t id : user_defined_) {
      if (text.starts_with(text_of(id))) return text_of(id).size();
    }
    return 0;
  }

  // The next piece of input after mapping, and the bytes it took.
  std::pair<std::string, std::size_t> mapped_prefix(std::string_view text) const {
    if (const std::size_t bytes = user_defined_prefix(text); bytes > 0)
      return {std::string(text.substr(0, bytes)), bytes};
    if (const auto match = map_.longest_match(text)) return {std::string(match->replacement), match->bytes};
    const Utf8Character character = first_character(text);
    if (!character.valid) return {"\xEF\xBF\xBD", 1};
    return {std::string(text.substr(0, character.bytes)), character.bytes};
  }

  std::string normalise(std::string_view text) const {
    const std::string_view blank = model_.escape_whitespaces ? space_mark : std::string_view(" ");
    std::string result;
    if (model_.remove_extra_whitespaces) {
      while (!text.empty()) {
        const auto [mapped, bytes] = mapped_prefix(text);
        if (mapped != " ") break;
        text.remove_prefix(bytes);
      }
    }
    if (text.empty()) return result;
    if (model_.add_dummy_prefix && !model_.suffix_space) result += blank;
    bool after_space = model_.remove_extra_whitespaces;
    while (!text.empty()) {
      const auto [mapped, bytes] = mapped_prefix(text);
      std::string_view rest = mapped;
      while (after_space && rest.starts_with(' ')) rest.remove_prefix(1);
      if (!rest.empty()) {
        for (const char c : rest) {
          if (c == ' ') {
            result += blank;
          } else {
            result += c;
          }
        }
        after_space = rest.ends_with(' ');
      }
      text.remove_prefix(bytes);
      if (!model_.remove_extra_whitespaces) after_space = false;
    }
    if (model_.remove_extra_whitespaces) {
      while (result.ends_with(blank)) result.resize(result.size() - blank.size());
    }
    if (model_.add_dummy_prefix && model_.suffix_space) result += blank;
    return result;
  }

  // An unknown stretch: its bytes, or one unknown id for a whole run.
  void append_unknown(std::string_view text, bool after_unknown, std::vector<std::int32_t>& ids) const {
    if (model_.byte_fallback) {
      for (const char c : text) ids.push_back(byte_ids_[static_cast<std::uint8_t>(c)]);
    } else if (!after_unknown) {
      ids.push_back(unknown_);
    }
  }

  void encode_unigram(std::string_view text, std::vector<std::int32_t>& ids) const {
    struct Node {
      std::size_t from = 0;
      std::int32_t id = -1;
      float score = 0;
      bool reached = false;
    };
    const float unknown_score = min_score_ - 10.0f;
    std::vector<Node> best(text.size() + 1);
    best[0].reached = true;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t character =
          std::max<std::size_t>(1, std::min(first_character(text.substr(at)).bytes, text.size() - at));
      const float score_here = best[at].score;
      bool single = false;
      const std::size_t longest = std::min(longest_piece_, text.size() - at);
      // Lengths that end inside a character match no piece.
      for (std::size_t length = character; length <= longest;) {
        const auto found = ids_.find(std::string(text.substr(at, length)));
        if (found != ids_.end()) {
          const Piece& piece = model_.pieces[static_cast<std::size_t>(found->second)];
          if (piece.type == PieceType::normal || piece.type == PieceType::user_defined) {
            const float score =
                piece.type == PieceType::user_defined
                    ? static_cast<float>(static_cast<double>(static_cast<float>(length) * max_score_) - 0.1)
                    : piece.score;
            const float candidate = score + score_here;
            Node& node = best[at + length];
            if (!node.reached || candidate > node.score) node = {at, found->second, candidate, true};
            if (length == character) single = true;
          }
        }
        if (at + length >= text.size()) break;
        length += first_character(text.substr(at + length)).bytes;
      }
      if (!single) {
        Node& node = best[at + character];
        const float candidate = unknown_score + score_here;
        if (!node.reached || candidate > node.score) node = {at, unknown_, candidate, true};
      }
      at += character;
    }
    std::vector<std::pair<std::size_t, std::size_t>> path;
    for (std::size_t at = text.size(); at > 0; at = best[at].from) path.emplace_back(best[at].from, at);
    bool after_unknown = false;
    for (auto step = path.rbegin(); step != path.rend(); ++step) {
      const std::int32_t id = best[step->second].id;
      if (id == unknown_) {
        append_unknown(text.substr(step->first, step->second - step->first), after_unknown, ids);
        after_unknown = true;
      } else {
        ids.push_back(id);
        after_unknown = false;
      }
    }
  }

  // Merges of neighbouring symbols by the score of the joined piece; equal scores: leftmost first.
  void encode_bpe(std::string_view text, std::vector<std::int32_t>& ids) const {
    struct Symbol {
      std::size_t begin = 0, bytes = 0;
      std::int64_t previous = -1, next = -1;
      bool frozen = false;
    };
    struct Pair {
      float score;
      std::int64_t left, right;
      std::size_t bytes;
      bool operator<(const Pair& other) const {
        return score < other.score || (score == other.score && left > other.left);
      }
    };
    std::vector<Symbol> symbols;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t whole = user_defined_prefix(text.substr(at));
      const std::size_t bytes = whole > 0 ? whole : first_character(text.substr(at)).bytes;
      const auto index = static_cast<std::int64_t>(symbols.size());
      symbols.push_back({at, bytes, index - 1, at + bytes < text.size() ? index + 1 : -1, whole > 0});
      at += bytes;
    }
    std::priority_queue<Pair> queue;
    // Joined text of an unused piece -> its halves: unused pieces serve as steps and are split again at the
    // end.
    std::unordered_map<std::string, std::pair<std::string, std::string>> halves;
    const auto offer = [&](std::int64_t left, std::int64_t right) {
      if (left < 0 || right < 0) return;
      const Symbol &a = symbols[static_cast<std::size_t>(left)],
                   &b = symbols[static_cast<std::size_t>(right)];
      if (a.frozen || b.frozen || a.bytes + b.bytes > longest_piece_) return;
      std::string joined(text.substr(a.begin, a.bytes + b.bytes));
      const auto found = ids_.find(joined);
      if (found == ids_.end()) return;
      const Piece& piece = model_.pieces[static_cast<std::size_t>(found->second)];
      if (piece.type != PieceType::normal && piece.type != PieceType::user_defined &&
          piece.type != PieceType::unused)
        return;
      queue.push({piece.score, left, right, joined.size()});
      if (piece.type == PieceType::unused) {
        halves[std::move(joined)] = {std::string(text.substr(a.begin, a.bytes)),
                                     std::string(text.substr(b.begin, b.bytes))};
      }
    };
    for (std::size_t i = 1; i < symbols.size(); ++i) {
      offer(static_cast<std::int64_t>(i) - 1, static_cast<std::int64_t>(i));
    }
    while (!queue.empty()) {
      const Pair top = queue.top();
      queue.pop();
      Symbol& left = symbols[static_cast<std::size_t>(top.left)];
      Symbol& right = symbols[static_cast<std::size_t>(top.right)];
      if (left.bytes == 0 || right.bytes == 0 || left.bytes + right.bytes != top.bytes ||
          left.next != top.right)
        continue;
      left.bytes += right.bytes;
      right.bytes = 0;
      left.next = right.next;
      if (right.next >= 0) symbols[static_cast<std::size_t>(right.next)].previous = top.left;
      offer(left.previous, top.left);
      offer(top.left, left.next);
    }
    bool after_unknown = false;
    const auto emit = [&](auto& self, const std::string& piece_text, int depth) -> void {
      const auto found = ids_.find(piece_text);
      if (found != ids_.end() && depth < 64 &&
          model_.pieces[static_cast<std::size_t>(found->second)].type == PieceType::unused) {
        if (const auto split = halves.find(piece_text); split != halves.end()) {
          self(self, split->second.first, depth + 1);
          self(self, split->second.second, depth + 1);
          return;
        }
      }
      const bool known = found != ids_.end() &&
                         model_.pieces[static_cast<std::size_t>(found->second)].type != PieceType::unknown &&
                         model_.pieces[static_cast<std::size_t>(found->second)].type != PieceType::control;
      if (known) {
        ids.push_back(found->second);
        after_unknown = false;
      } else {
        append_unknown(piece_text, after_unknown, ids);
        after_unknown = true;
      }
    };
    for (std::int64_t i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[static_cast<std::size_t>(i)].next) {
      const Symbol& symbol = symbols[static_cast<std::size_t>(i)];
      emit(emit, std::string(text.substr(symbol.begin, symbol.bytes)), 0);
    }
  }

  Model model_;
  SentencePieceOptions options_;
  CharacterMap map_;
  std::unordered_map<std::string, std::int32_t> ids_;
  std::vector<std::int32_t> user_defined_;
  std::array<std::int32_t, 256> byte_ids_{};
  std::size_t longest_piece_ = 0;
  float min_score_ = 0, max_score_ = 0;
  std::int32_t unknown_ = -1, bos_ = -1, eos_ = -1;
};

}  // namespace

std::unique_ptr<Tokenizer> read_sentencepiece(ByteSpan bytes, std::string_view where,
                                              SentencePieceOptions options) {
  const std::string source(where);
  try {
    return std::make_unique<SentencePieceTokenizer>(parse_model(bytes, source), source, options);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) throw;
    fail(ErrorKind::input, std::string("is not a SentencePiece model: ") + error.what(), where);
  }
}

}  // namespace laconic
