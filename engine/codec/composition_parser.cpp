// The grammar (docs/composition.md):
//   chain     = stage { "+" stage } [ "|" coder ]
//   stage     = name [ "(" [ parameter { "," parameter } ] ")" ]  |  "(" chain ")"
//   parameter = name "=" value
// Parentheses without a coder only group and vanish in the canonical text.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>

#include "engine/base/error.h"
#include "engine/codec/composition.h"
#include "engine/codec/residual_chain.h"

namespace laconic {
namespace {

constexpr int depth_limit = 16;
constexpr std::size_t stage_limit = 32;

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
         c == '-' || c == '+';
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  std::unique_ptr<TensorCodec> parse() {
    parse_chain(0);
    if (peek() != '\0') refuse(at_, fmt::format("expected +, | or the end instead of \"{}\"", peek()));
    if (stages_.size() == 1 && spans_.empty()) return std::move(stages_.front());
    auto chain = std::make_unique<ResidualChain>(std::move(stages_), std::move(spans_));
    if (chain->canonical().size() > payload_limits.codec_text) {
      refuse(0, "composition is too long");
    }
    return chain;
  }

 private:
  [[noreturn]] void refuse(std::size_t position, std::string_view what, std::string_view advice = {}) const {
    std::string around(text_.substr(0, position));
    if (around.size() > 40) around = "..." + around.substr(around.size() - 40);
    const std::string_view rest = text_.substr(position);
    fail(ErrorKind::usage,
         fmt::format("{} at character {}: {} >>> {}", what, position + 1, around,
                     rest.size() > 40 ? std::string(rest.substr(0, 40)) + "..." : std::string(rest)),
         "composition", advice);
  }

  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\n')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool take(char wanted) {
    if (peek() != wanted) return false;
    ++at_;
    return true;
  }

  // A name or a value; `+` and `-` belong to values only (1e+5), so that a+b is two stages.
  std::string_view word(bool is_value, std::string_view wanted) {
    peek();
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_word(text_[at_]) && (is_value || text_[at_] != '+')) ++at_;
    if (at_ == begin) refuse(begin, fmt::format("expected {}", wanted));
    return text_.substr(begin, at_ - begin);
  }

  // Errors of the registry and of parameters get their place.
  template <class Call>
  auto placed(std::size_t position, Call call) {
    try {
      return call();
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::usage) throw;
      refuse(position, error.what());
    }
  }

  void parse_chain(int depth) {
    const std::size_t begin = stages_.size(), text_begin = at_;
    do {
      parse_stage(depth);
    } while (take('+'));
    if (!take('|')) return;
    peek();
    const std::size_t position = at_;
    const std::string_view name = word(false, "a coder: rans, huffman, zstd or best");
    const FieldCoder coder = placed(position, [&] { return field_coder_named(name); });
    // A run whose every stage is coded already has nothing left to code.
    if (std::all_of(coded_.begin() + static_cast<std::ptrdiff_t>(begin), coded_.end(),
                    [](bool coded) { return coded; })) {
      refuse(text_begin, "every stage before this coder is coded already");
    }
    std::fill(coded_.begin() + static_cast<std::ptrdiff_t>(begin), coded_.end(), true);
    spans_.push_back({coder, begin, stages_.size()});
    if (peek() == '|') refuse(at_, "a second coder", "one coder codes a chain; best tries all");
  }

  void parse_stage(int depth) {
    if (peek() == '(') {
      if (depth + 1 > depth_limit) refuse(at_, fmt::format("nested deeper than {} parentheses", depth_limit));
      ++at_;
      parse_chain(depth + 1);
      if (!take(')')) refuse(at_, "expected )");
      return;
    }
    const std::size_t position = (peek(), at_);
    const std::string_view name = word(false, "the name of a codec");
    const CodecDescription& description =
        placed(position, [&]() -> const CodecDescription& { return codec_named(name); });
    Parameters parameters(description.parameters);
    if (take('(') && !take(')')) {
      do {
        const std::size_t parameter_position = (peek(), at_);
        const std::string_view key = word(false, "the name of a parameter");
        if (!take('=')) refuse(at_, "expected =");
        const std::string_view value = word(true, "a value");
        placed(parameter_position, [&] { parameters.set(key, value); });
      } while (take(','));
      if (!take(')')) refuse(at_, "expected , or )");
    }
    if (stages_.size() == stage_limit) refuse(position, fmt::format("more than {} stages", stage_limit));
    coded_.push_back(false);
    stages_.push_back(placed(position, [&] { return description.create(parameters); }));
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<std::unique_ptr<TensorCodec>> stages_;
  std::vector<bool> coded_;  // per stage: stands before a coder
  std::vector<CoderSpan> spans_;
};

}  // namespace

std::unique_ptr<TensorCodec> parse_codec(std::string_view text) {
  if (text.size() > 4 * payload_limits.codec_text) {
    fail(ErrorKind::usage, "composition of " + std::to_string(text.size()) + " characters is too long");
  }
  return Parser(text).parse();
}

}  // namespace laconic
