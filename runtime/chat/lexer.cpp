#include "runtime/chat/lexer.h"

#include <algorithm>
#include <array>

#include "engine/base/error.h"
#include "runtime/chat/characters.h"
#include "runtime/tokenizer/unicode_text.h"

namespace laconic::chat {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool begins_name(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

// One kind of line end, and not the last one.
std::string with_plain_line_ends(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      text += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      text += source[i];
    }
  }
  if (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

class Lexer {
 public:
  Lexer(std::string_view source, std::string_view where) : source_(source), where_(where) {}

  std::vector<Token> run() {
    for (;;) {
      const std::size_t begin = next_tag();
      std::string_view text = source_.substr(position_, begin - position_);
      if (begin == source_.size()) {
        add_text(text, text.size());
        break;
      }
      const char kind = source_[begin + 1];
      const char sign = begin + 2 < source_.size() ? source_[begin + 2] : ' ';
      const bool has_sign = sign == '-' || sign == '+';
      add_text(kept_before(text, kind, sign), text.size());
      position_ = begin + 2 + (has_sign ? 1 : 0);
      if (kind == '#') {
        skip_comment();
      } else {
        add(kind == '%' ? Token::Kind::block_begin : Token::Kind::print_begin, {});
        tag(kind == '%' ? '%' : '}');
      }
    }
    add(Token::Kind::end, {});
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fault(std::string_view what) const {
    fail(ErrorKind::input, what, std::string(where_) + ", line " + std::to_string(line_));
  }
  void add(Token::Kind kind, std::string text) {
    Token token;
    token.kind = kind;
    token.text = std::move(text);
    token.line = line_;
    tokens_.push_back(std::move(token));
  }
  void pass(std::size_t end) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(position_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(end), '\n'));
    position_ = end;
  }
  void add_text(std::string_view text, std::size_t passed) {
    if (!text.empty()) add(Token::Kind::text, std::string(text));
    pass(position_ + passed);
  }

  std::size_t next_tag() const {
    for (std::size_t at = source_.find('{', position_);
         at != std::string_view::npos && at + 1 < source_.size(); at = source_.find('{', at + 1)) {
      const char next = source_[at + 1];
      if (next == '{' || next == '%' || next == '#') return at;
    }
    return source_.size();
  }

  std::string_view kept_before(std::string_view text, char kind, char sign) const {
    if (sign == '-') return without_trailing_space(text);
    if (sign == '+' || kind == '{') return text;
    const std::size_t line_end = text.rfind('\n');
    const std::size_t line_begin = line_end == std::string_view::npos ? 0 : line_end + 1;
    if (line_begin == 0 && !at_line_start_) return text;
    return without_leading_space(text.substr(line_begin)).empty() ? text.substr(0, line_begin) : text;
  }

  // `end` is just behind the closing mark.
  void close_tag(std::size_t end, char sign, bool trims_line_end) {
    pass(end);
    if (sign == '-') {
      const std::string_view rest = source_.substr(position_);
      pass(source_.size() - without_leading_space(rest).size());
    } else if (trims_line_end && sign != '+' && position_ < source_.size() && source_[position_] == '\n') {
      pass(position_ + 1);
    }
    at_line_start_ = position_ > 0 && source_[position_ - 1] == '\n';
  }

  void skip_comment() {
    const std::size_t end = source_.find("#}", position_);
    if (end == std::string_view::npos) fault("a comment is not closed by #}");
    close_tag(end + 2, end > position_ ? source_[end - 1] : ' ', true);
  }

  // The inside of a tag up to its closing mark, `mark` and '}'.
  void tag(char mark) {
    std::string open;  // brackets
    for (;;) {
      pass(source_.size() - without_leading_space(source_.substr(position_)).size());
      if (position_ >= source_.size()) fault(std::string("a tag is not closed by ") + mark + "}");
      const char c = source_[position_];
      if (open.empty() && closes(mark)) return;
      if (is_digit(c)) {
        number();
      } else if (begins_name(c)) {
        std::size_t end = position_;
        while (end < source_.size() && (begins_name(source_[end]) || is_digit(source_[end]))) ++end;
        add(Token::Kind::name, std::string(source_.substr(position_, end - position_)));
        position_ = end;
      } else if (c == '\'' || c == '"') {
        string(c);
      } else {
        sign(open);
      }
    }
  }

  bool closes(char mark) {
    const std::size_t signs =
        (source_[position_] == '-' || (mark == '%' && source_[position_] == '+')) ? 1 : 0;
    if (source_.substr(position_ + signs, 2) != std::string{mark, '}'}) return false;
    add(mark == '%' ? Token::Kind::block_end : Token::Kind::print_end, {});
    close_tag(position_ + signs + 2, signs > 0 ? source_[position_] : ' ', mark == '%');
    return true;
  }

  void number() {
    const auto digits_from = [&](std::size_t from) {
      while (from < source_.size() && is_digit(source_[from])) ++from;
      return from;
    };
    const auto digit_at = [&](std::size_t i) { return i < source_.size() && is_digit(source_[i]); };
    std::size_t end = digits_from(position_);
    Token::Kind kind = Token::Kind::integer;
    const bool after_point =
        !tokens_.empty() && tokens_.back().kind == Token::Kind::sign && tokens_.back().text == ".";
    if (!after_point) {
      if (end < source_.size() && source_[end] == '.' && digit_at(end + 1)) {
        kind = Token::Kind::real;
        end = digits_from(end + 1);
      }
      if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
        const std::size_t sign =
            end + 1 < source_.size() && (source_[end + 1] == '-' || source_[end + 1] == '+');
        if (digit_at(end + 1 + sign)) {
          kind = Token::Kind::real;
          end = digits_from(end + 1 + sign);
        }
      }
    }
    if (end < source_.size() && begins_name(source_[end])) fault("a number runs into a name");
    add(kind, std::string(source_.substr(position_, end - position_)));
    position_ = end;
  }

  void string(char quote) {
    std::string text;
    std::size_t at = position_ + 1;
    for (;; ++at) {
      if (at >= source_.size()) fault("a string is not closed");
      const char c = source_[at];
      if (c == quote) break;
      if (c != '\\') {
        text += c;
        continue;
      }
      if (++at >= source_.size()) fault("a string is not closed");
      escape(at, text);
    }
    add(Token::Kind::string, std::move(text));
    pass(at + 1);
  }

  // source_[at] follows a backslash; leaves `at` at the last character of the escape.
  void escape(std::size_t& at, std::string& text) const {
    static constexpr std::string_view names = "abfnrtv\\'\"", values = "\a\b\f\n\r\t\v\\'\"";
    const char c = source_[at];
    if (const std::size_t found = names.find(c); found != std::string_view::npos) {
      text += values[found];
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      char32_t value = 0;
      for (std::size_t i = 1; i <= digits; ++i) {
        const int digit = at + i < source_.size() ? hex_digit(source_[at + i]) : -1;
        if (digit < 0) fault("an escape in a string lacks hexadecimal digits");
        value = value * 16 + static_cast<char32_t>(digit);
      }
      if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
        fault("an escape in a string is no character");
      append_character(text, value);
      at += digits;
    } else if (is_digit(c)) {
      fault("octal escapes in strings are not supported");
    } else if (c != '\n') {
      text += '\\';
      text += c;
    }
  }

  void sign(std::string& open) {
    static constexpr std::array<std::string_view, 28> signs = {
        "**", "//", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]",
        "(",  ")",  "{",  "}",  ">",  "<",  "=", ".", ":", "|", ",", ";", "&", "@"};
    for (const std::string_view candidate : signs) {
      if (source_.substr(position_, candidate.size()) != candidate) continue;
      if (candidate == "[" || candidate == "(" || candidate == "{") open += candidate;
      if (candidate == "]" || candidate == ")" || candidate == "}") {
        const char expected = candidate == "]" ? '[' : candidate == ")" ? '(' : '{';
        if (open.empty() || open.back() != expected) fault("a bracket closes that was not opened");
        open.pop_back();
      }
      add(Token::Kind::sign, std::string(candidate));
      position_ += candidate.size();
      return;
    }
    fault(std::string("the character \"") + source_[position_] + "\" is not expected inside a tag");
  }

  std::string_view source_, where_;
  std::size_t position_ = 0;
  int line_ = 1;
  bool at_line_start_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokens_of(std::string_view source, std::string_view where) {
  if (!is_valid_utf8(source)) fail(ErrorKind::input, "is not UTF-8", where);
  const std::string text = with_plain_line_ends(source);
  return Lexer(text, where).run();
}

}  // namespace laconic::chat
