#include "methods/text/logzip/json_scanner.h"

#include "methods/text/logzip/skeleton.h"

namespace laconic::logzip {
namespace {

enum StringByte : std::uint8_t { plain, space, quote, backslash, control };

constexpr std::array<StringByte, 256> string_bytes = [] {
  std::array<StringByte, 256> kinds{};
  for (std::size_t c = 0; c < 256; ++c) kinds[c] = c < 0x20 ? control : plain;
  kinds[' '] = space;
  kinds['"'] = quote;
  kinds['\\'] = backslash;
  return kinds;
}();

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex_digit(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

JsonPath mixed(JsonPath path, std::uint64_t step) {
  path = (path ^ step) * 0x9E3779B97F4A7C15u;
  return path ^ path >> 32;
}

}  // namespace

JsonPath json_member(JsonPath object, std::string_view key) { return mixed(object, WordSet::hash_of(key)); }
JsonPath json_element(JsonPath array) { return mixed(array, 2); }  // hashes of keys are odd

JsonPath json_path(std::string_view text) {
  JsonPath path = json_root;
  while (!text.empty()) {
    if (text.starts_with("[]")) {
      path = json_element(path);
      text.remove_prefix(2);
    } else {
      if (text[0] == '.') text.remove_prefix(1);
      const std::string_view key = text.substr(0, text.find_first_of(".["));
      path = json_member(path, key);
      text.remove_prefix(key.size());
    }
  }
  return path;
}

bool JsonScanner::scan_object(std::string_view line) {
  line_ = line;
  at_ = depth_ = 0;
  member_ = json_root;
  pieces_.clear();
  open(false);
  bool first = true;  // nothing was read yet of the innermost object or array
  while (depth_ > 0) {
    skip_space();
    const bool array = levels_[depth_ - 1].array;
    if (next_is(array ? ']' : '}')) {
      close();
      first = false;
      continue;
    }
    if (!first) {
      if (!next_is(',')) return false;
      ++at_;
      skip_space();
    }
    if (!array && !read_key()) return false;
    const std::size_t depth = depth_;
    if (!read_value()) return false;
    first = depth_ > depth;
  }
  skip_space();
  return at_ == line_.size();
}

bool JsonScanner::open(bool array) {
  if (depth_ == most_depth) return false;
  const JsonPath path = depth_ == 0 ? json_root : value_path();
  if (depth_ > 0) levels_[depth_ - 1].flat = false;
  ++at_;
  levels_[depth_++] = {array ? json_element(path) : path, array, array, pieces_.size(), at_};
  return true;
}

// A flat array is one value: arrays of other lengths then make no templates of their own.
void JsonScanner::close() {
  const Level& level = levels_[--depth_];
  if (level.flat) {
    pieces_.resize(level.first_piece);
    add_value(level.begin, level.path);
  }
  ++at_;
}

bool JsonScanner::read_key() {
  JsonPiece piece;
  if (!next_is('"') || !read_string(piece)) return false;
  piece.part = JsonPart::key;
  piece.path = member_ = json_member(levels_[depth_ - 1].path, line_.substr(piece.begin, piece.length));
  pieces_.push_back(piece);
  skip_space();
  if (!next_is(':')) return false;
  ++at_;
  skip_space();
  return true;
}

bool JsonScanner::read_value() {
  if (at_ == line_.size()) return false;
  const std::size_t begin = at_;
  switch (line_[at_]) {
    case '{':
      return open(false);
    case '[':
      return open(true);
    case '"': {
      JsonPiece piece;
      if (!read_string(piece)) return false;
      piece.path = value_path();
      if (piece.part == JsonPart::text) levels_[depth_ - 1].flat = false;
      pieces_.push_back(piece);
      return true;
    }
    case 't':
      if (!read_word("true")) return false;
      break;
    case 'f':
      if (!read_word("false")) return false;
      break;
    case 'n':
      if (!read_word("null")) return false;
      break;
    default:
      if (!read_number()) return false;
  }
  add_value(begin, value_path());
  return true;
}

bool JsonScanner::read_string(JsonPiece& piece) {
  const std::size_t begin = ++at_;
  piece.part = JsonPart::value;
  for (;; ++at_) {
    if (at_ == line_.size()) return false;
    switch (string_bytes[static_cast<unsigned char>(line_[at_])]) {
      case plain:
        break;
      case space:
        piece.part = JsonPart::text;
        break;
      case control:
        return false;
      case quote:
        piece.begin = static_cast<std::uint32_t>(begin);
        piece.length = static_cast<std::uint32_t>(at_++ - begin);
        return true;
      case backslash:
        if (++at_ == line_.size()) return false;
        if (line_[at_] == '"') piece.part = JsonPart::text;
        if (line_[at_] == 'u') {
          for (int digits = 0; digits < 4; ++digits)
            if (++at_ == line_.size() || !is_hex_digit(line_[at_])) return false;
        } else if (std::string_view("\"\\/bfnrt").find(line_[at_]) == std::string_view::npos) {
          return false;
        }
    }
  }
}

bool JsonScanner::read_number() {
  const auto digits = [this] {
    const std::size_t begin = at_;
    while (at_ < line_.size() && is_digit(line_[at_])) ++at_;
    return at_ - begin;
  };
  if (next_is('-')) ++at_;
  const bool zero = next_is('0');
  const std::size_t whole = digits();
  if (whole == 0 || (zero && whole > 1)) return false;
  if (next_is('.')) {
    ++at_;
    if (digits() == 0) return false;
  }
  if (next_is('e') || next_is('E')) {
    ++at_;
    if (next_is('+') || next_is('-')) ++at_;
    if (digits() == 0) return false;
  }
  return true;
}

bool JsonScanner::read_word(std::string_view word) {
  if (!line_.substr(at_).starts_with(word)) return false;
  at_ += word.size();
  return true;
}

void JsonScanner::add_value(std::size_t begin, JsonPath path) {
  pieces_.push_back(
      {JsonPart::value, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(at_ - begin), path});
}

void JsonScanner::skip_space() {
  while (at_ < line_.size() && (line_[at_] == ' ' || line_[at_] == '\t' || line_[at_] == '\r')) ++at_;
}

}  // namespace laconic::logzip
