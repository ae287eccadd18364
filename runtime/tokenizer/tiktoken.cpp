#include "runtime/tokenizer/tiktoken.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/base/error.h"
#include "runtime/tokenizer/base64.h"
#include "runtime/tokenizer/pair_merging.h"
#include "runtime/tokenizer/regex.h"
#include "runtime/tokenizer/unicode_text.h"

namespace laconic {
namespace {

constexpr std::string_view llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr int special_count = 256;
constexpr std::size_t most_lines = std::size_t{1} << 22;
constexpr std::size_t longest_token = 4096;  // bytes

// The names of the 256 ids that follow the ranks.
std::vector<std::string> special_names() {
  std::vector<std::string> names = {"<|begin_of_text|>", "<|end_of_text|>"};
  int reserved = 0;
  const auto reserve = [&](int count) {
    for (int i = 0; i < count; ++i)
      names.push_back("<|reserved_special_token_" + std::to_string(reserved++) + "|>");
  };
  reserve(4);
  names.insert(names.end(), {"<|start_header_id|>", "<|end_header_id|>"});
  reserve(1);
  names.emplace_back("<|eot_id|>");
  reserve(special_count - static_cast<int>(names.size()));
  return names;
}

class TiktokenTokenizer final : public Tokenizer {
 public:
  TiktokenTokenizer(std::vector<std::string> pieces, const TokenizerSettings& settings,
                    std::string_view where);

  std::vector<std::int32_t> encode(std::string_view text, bool add_special) const override;
  std::string decode(std::span<const std::int32_t> ids, bool skip_special) const override;
  std::string token_bytes(std::int32_t id) const override {
    return id >= 0 && id < size() ? pieces_[static_cast<std::size_t>(id)] : std::string();
  }
  std::int32_t size() const override { return static_cast<std::int32_t>(pieces_.size()); }
  std::optional<std::int32_t> bos() const override { return bos_; }
  std::optional<std::int32_t> eos() const override { return eos_; }
  bool is_special(std::int32_t id) const override {
    return id >= 0 && id < size() && special_[static_cast<std::size_t>(id)];
  }
  std::optional<std::int32_t> id_of(std::string_view piece) const override;

 private:
  std::int32_t rank(std::string_view bytes) const {
    const auto found = ranks_.find(bytes);
    return found == ranks_.end() ? -1 : found->second;
  }
  void encode_word(std::string_view word, std::vector<std::int32_t>& ids) const;

  std::vector<std::string> pieces_;  // bytes of the ranks, then special tokens
  std::vector<bool> special_;
  std::unordered_map<std::string_view, std::int32_t> ranks_;
  std::unordered_map<std::string, std::int32_t> added_ids_;
  std::size_t longest_ = 0;
  Regex pattern_;
  AddedTokenFinder finder_;
  std::optional<std::int32_t> bos_, eos_;
  bool add_bos_ = true, add_eos_ = false;
};

TiktokenTokenizer::TiktokenTokenizer(std::vector<std::string> pieces, const TokenizerSettings& settings,
                                     std::string_view where)
    : pieces_(std::move(pieces)), pattern_(llama3_pattern, where) {
  const std::size_t ranks = pieces_.size();
  std::vector<AddedToken> tokens = settings.added;
  std::vector<std::string> names = special_names();
  for (std::size_t i = 0; i < names.size(); ++i) {
    // A later release renames some reserved ids; what the settings say holds.
    const auto id = static_cast<std::int32_t>(ranks + i);
    const bool listed =
        std::any_of(settings.added.begin(), settings.added.end(),
                    [&](const AddedToken& token) { return token.id == id || token.content == names[i]; });
    if (!listed) tokens.push_back({names[i], id, false, false, false, false, true});
  }
  special_.assign(ranks, false);
  const std::size_t bound = ranks + tokens.size() + 65536;
  for (const AddedToken& token : tokens) {
    const auto id = static_cast<std::size_t>(token.id);
    if (token.id < 0 || id < ranks || id >= bound) {
      fail(ErrorKind::input,
           "the special token \"" + token.content + "\" has the absurd id " + std::to_string(token.id),
           where);
    }
    if (id >= pieces_.size()) {
      pieces_.resize(id + 1);
      special_.resize(id + 1, false);
    }
    pieces_[id] = token.content;
    special_[id] = token.special;
    added_ids_.emplace(token.content, token.id);
  }
  ranks_.reserve(ranks);
  for (std::size_t i = 0; i < ranks; ++i) {
    if (!ranks_.emplace(pieces_[i], static_cast<std::int32_t>(i)).second) {
      fail(ErrorKind::corrupt, "the piece of rank " + std::to_string(i) + " stands twice", where);
    }
    longest_ = std::max(longest_, pieces_[i].size());
  }
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    if (rank(std::string_view(&text, 1)) < 0) {
      fail(ErrorKind::corrupt, "the byte " + std::to_string(byte) + " has no rank", where);
    }
  }
  finder_ = AddedTokenFinder(std::move(tokens));
  bos_ = id_of(settings.bos_token.value_or("<|begin_of_text|>"));
  eos_ = id_of(settings.eos_token.value_or("<|end_of_text|>"));
  add_bos_ = settings.add_bos.value_or(true) && bos_;
  add_eos_ = settings.add_eos.value_or(false) && eos_;
}

std::optional<std::int32_t> TiktokenTokenizer::id_of(std::string_view piece) const {
  const auto added = added_ids_.find(std::string(piece));
  if (added != added_ids_.end()) return added->second;
  const std::int32_t found = rank(piece);
  return found < 0 ? std::nullopt : std::optional<std::int32_t>(found);
}

void TiktokenTokenizer::encode_word(std::string_view word, std::vector<std::int32_t>& ids) const {
  if (const std::int32_t whole = rank(word); whole >= 0) {
    ids.push_back(whole);
    return;
  }
  std::vector<MergeSymbol> symbols(word.size());
  for (std::size_t i = 0; i < word.size(); ++i) symbols[i] = {i, i + 1, rank(word.substr(i, 1)), false};
  merge_pairs(symbols,
              [&](const MergeSymbol& left, const MergeSymbol& right) -> std::optional<MergeCandidate> {
                const std::size_t length = right.end - left.begin;
                const std::int32_t found = length > longest_ ? -1 : rank(word.substr(left.begin, length));
                if (found < 0) return std::nullopt;
                return MergeCandidate{static_cast<double>(found), found};
              });
  for (const MergeSymbol& symbol : symbols) ids.push_back(symbol.id);
}

std::vector<std::int32_t> TiktokenTokenizer::encode(std::string_view text, bool add_special) const {
  if (text.size() > std::numeric_limits<std::uint32_t>::max() / 8) {
    fail(ErrorKind::input, "text of " + std::to_string(text.size()) + " bytes is too long to encode at once",
         {}, "split it into parts below 512 MB");
  }
  std::vector<std::int32_t> ids;
  if (add_special && add_bos_) ids.push_back(*bos_);
  const std::string valid = repaired_utf8(text);
  for (const TextSegment& segment : finder_.split(valid)) {
    if (segment.id >= 0) {
      ids.push_back(segment.id);
      continue;
    }
    for (const MatchSpan& word : pattern_.matches(segment.text)) {
      encode_word(segment.text.substr(word.begin, word.end - word.begin), ids);
    }
  }
  if (add_special && add_eos_) ids.push_back(*eos_);
  return ids;
}

std::string TiktokenTokenizer::decode(std::span<const std::int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const std::int32_t id : ids) {
    if (!(skip_special && is_special(id))) bytes += token_bytes(id);
  }
  return repaired_utf8(bytes);
}

// One line without its end: the piece, whose rank must be `rank`.
std::string read_line(std::string_view line, std::size_t rank, std::string_view where) {
  const auto corrupt = [&](std::string_view what) {
    fail(ErrorKind::corrupt, "line " + std::to_string(rank + 1) + " " + std::string(what), where,
         "the file is damaged; fetch it again");
  };
  const std::size_t space = line.find(' ');
  if (space == std::string_view::npos || space == 0) corrupt("is not a piece and a rank");
  std::size_t stated = 0;
  const std::string_view digits = line.substr(space + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), stated);
  if (error != std::errc() || end != digits.data() + digits.size()) corrupt("has no rank");
  if (stated != rank)
    corrupt("has the rank " + std::to_string(stated) + ": ranks must follow one another from 0");
  const auto piece = base64_decoded(line.substr(0, space));
  if (!piece || piece->empty()) corrupt("is not base64");
  if (piece->size() > longest_token) corrupt("holds a piece of over 4096 bytes");
  return *piece;
}

}  // namespace

bool is_tiktoken_text(std::string_view file) {
  const std::string_view line = file.substr(0, std::min(file.find('\n'), file.size()));
  const std::size_t space = line.find(' ');
  return space != std::string_view::npos && space > 0 && space < line.size() - 1 &&
         base64_decoded(line.substr(0, space)).has_value() &&
         line.find_first_not_of("0123456789\r", space + 1) == std::string_view::npos;
}

std::unique_ptr<Tokenizer> tiktoken_tokenizer(std::string_view file, const TokenizerSettings& settings,
                                              std::string_view where) {
  std::vector<std::string> pieces;
  while (!file.empty()) {
    const std::size_t end = std::min(file.find('\n'), file.size());
    std::string_view line = file.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    file.remove_prefix(std::min(end + 1, file.size()));
    if (line.empty() && file.empty()) break;
    if (pieces.size() == most_lines) fail(ErrorKind::corrupt, "over four million lines", where);
    pieces.push_back(read_line(line, pieces.size(), where));
  }
  return std::make_unique<TiktokenTokenizer>(std::move(pieces), settings, where);
}

}  // namespace laconic
