// Rules that choose a codec per tensor: rules = rule { ";" rule }, rule = [ "[" selector { "," selector } "]"
// ] chain, selector = attn | mlp | glob with * and ?. A glob is matched against the whole tensor name, with
// and without a trailing ".weight".
#include <algorithm>
#include <string>

#include "engine/base/error.h"
#include "engine/codec/composition.h"

namespace laconic {
namespace {

constexpr std::size_t text_limit = std::size_t{1} << 20;
constexpr std::size_t rule_limit = 4096;

// Iterative glob match: on a mismatch the last * takes one character more.
bool glob_matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool any_glob(std::initializer_list<std::string_view> patterns, std::string_view name) {
  return std::any_of(patterns.begin(), patterns.end(),
                     [&](std::string_view pattern) { return glob_matches(pattern, name); });
}

bool selector_matches(std::string_view selector, std::string_view name) {
  if (selector == "attn") return any_glob({"*.self_attn.*", "*.attn.*", "*.attention.*"}, name);
  if (selector == "mlp") return any_glob({"*.mlp.*", "*.feed_forward.*", "*.ffn.*"}, name);
  constexpr std::string_view suffix = ".weight";
  if (glob_matches(selector, name)) return true;
  return name.size() > suffix.size() && name.substr(name.size() - suffix.size()) == suffix &&
         glob_matches(selector, name.substr(0, name.size() - suffix.size()));
}

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\n") - begin + 1);
}

[[noreturn]] void refuse(std::string_view what, std::string_view rule, std::string_view advice = {}) {
  fail(ErrorKind::usage, std::string(what) + " in \"" + std::string(rule.substr(0, 80)) + "\"", "layer rules",
       advice);
}

std::vector<std::string> parse_selectors(std::string_view inside, std::string_view rule) {
  std::vector<std::string> selectors;
  for (std::size_t begin = 0; begin <= inside.size();) {
    const std::size_t end = std::min(inside.find(',', begin), inside.size());
    const std::string_view selector = trimmed(inside.substr(begin, end - begin));
    if (selector.empty()) refuse("empty selector", rule, "write [attn], [mlp] or a tensor name with *");
    for (char c : selector) {
      const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                         c == '_' || c == '.' || c == '-' || c == '*' || c == '?';
      if (!plain) refuse(std::string("character \"") + c + "\" in a selector", rule);
    }
    if (std::count(selectors.begin(), selectors.end(), selector) > 0) {
      refuse("selector \"" + std::string(selector) + "\" stands twice", rule);
    }
    selectors.emplace_back(selector);
    begin = end + 1;
  }
  return selectors;
}

}  // namespace

LayerRules LayerRules::parse(std::string_view text) {
  if (text.size() > text_limit) fail(ErrorKind::usage, "layer rules are too long");
  LayerRules rules;
  bool ended = false;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(';', begin), text.size());
    std::string_view part = trimmed(text.substr(begin, end - begin));
    const std::string_view whole = part;
    if (part.empty()) refuse("empty rule", text, "write a composition between the ;");
    if (ended) refuse("this rule is never reached", whole, "put the rule without a selector last");
    Rule rule;
    if (part.front() == '[') {
      const std::size_t close = part.find(']');
      if (close == std::string_view::npos) refuse("selector without ]", whole);
      rule.selectors = parse_selectors(part.substr(1, close - 1), whole);
      part.remove_prefix(close + 1);
    }
    ended = rule.selectors.empty();
    for (const std::string& selector : rule.selectors) {
      for (const Rule& earlier : rules.rules_) {
        if (std::count(earlier.selectors.begin(), earlier.selectors.end(), selector) > 0) {
          refuse("selector \"" + selector + "\" stands twice", whole, "the first rule that matches wins");
        }
      }
    }
    if (trimmed(part) != "keep") rule.codec = parse_codec(part);
    rules.rules_.push_back(std::move(rule));
    if (rules.rules_.size() > rule_limit) refuse("too many rules", whole);
    begin = end + 1;
  }
  return rules;
}

const TensorCodec* LayerRules::codec_for(std::string_view tensor_name) const {
  for (const Rule& rule : rules_) {
    if (rule.selectors.empty() ||
        std::any_of(rule.selectors.begin(), rule.selectors.end(),
                    [&](const std::string& selector) { return selector_matches(selector, tensor_name); })) {
      return rule.codec.get();
    }
  }
  return nullptr;
}

std::string LayerRules::canonical() const {
  std::string text;
  for (const Rule& rule : rules_) {
    if (!text.empty()) text += " ; ";
    for (std::size_t i = 0; i < rule.selectors.size(); ++i) text += (i == 0 ? "[" : ",") + rule.selectors[i];
    if (!rule.selectors.empty()) text += "] ";
    text += rule.codec == nullptr ? "keep" : rule.codec->canonical();
  }
  return text;
}

}  // namespace laconic
