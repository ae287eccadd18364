#include "engine/column/value_pattern.h"

#include <array>

namespace laconic {
namespace {

enum class WordClass : std::uint8_t { delimiter, letter, digit };

constexpr auto word_classes = [] {
  std::array<WordClass, 256> classes{};
  for (int c = '0'; c <= '9'; ++c) classes[static_cast<std::size_t>(c)] = WordClass::digit;
  for (int c = 'a'; c <= 'z'; ++c) classes[static_cast<std::size_t>(c)] = WordClass::letter;
  for (int c = 'A'; c <= 'Z'; ++c) classes[static_cast<std::size_t>(c)] = WordClass::letter;
  return classes;
}();

WordClass word_class(char c) { return word_classes[static_cast<std::uint8_t>(c)]; }

// From `at`: the end of the bytes of one class, or of letters and digits together.
std::size_t end_of_run(std::string_view value, std::size_t at, SplitRule rule) {
  const WordClass first = word_class(value[at]);
  const bool narrow = first == WordClass::delimiter || rule == SplitRule::borders;
  for (++at; at < value.size(); ++at) {
    const WordClass next = word_class(value[at]);
    if (narrow ? next != first : next == WordClass::delimiter) break;
  }
  return at;
}

void add_word(SplitColumn& split, std::size_t index, std::string_view word) {
  if (index == split.words.size()) split.words.emplace_back();
  split.words[index].add(word);
}

// False when there are too many words.
bool split_value(std::string_view value, SplitRule rule, std::size_t word_limit, SplitColumn& split) {
  std::string& pattern = split.patterns.bytes;
  std::size_t words = 0;
  std::size_t in_chunk = 0;  // words since the last delimiter
  bool after_delimiter = false;
  for (std::size_t at = 0; at < value.size();) {
    const std::size_t end = end_of_run(value, at, rule);
    const std::string_view run = value.substr(at, end - at);
    if (word_class(value[at]) == WordClass::delimiter) {
      if (at == 0) add_word(split, words++, {});
      // A word between two delimiters is told by a '0', one before the first is not.
      if (after_delimiter) pattern.push_back('0');
      pattern.append(run);
      after_delimiter = true;
      in_chunk = 0;
    } else {
      if (in_chunk++ > 0) pattern.push_back('0');
      add_word(split, words++, run);
    }
    if (words >= word_limit) return false;
    at = end;
  }
  if (value.empty() || word_class(value.back()) == WordClass::delimiter) add_word(split, words, {});
  split.patterns.end_value();
  return true;
}

}  // namespace

bool is_delimiter(char c) { return word_class(c) == WordClass::delimiter; }

std::optional<SplitColumn> split_values(ColumnView column, SplitRule rule, std::size_t word_limit) {
  SplitColumn split;
  for (std::size_t row = 0; row < column.size(); ++row) {
    if (!split_value(column[row], rule, word_limit, split)) return std::nullopt;
  }
  return split;
}

std::size_t words_of_pattern(std::string_view pattern) {
  std::size_t marks = 0;
  for (const char c : pattern) marks += c == '0';
  // Before the first delimiter and after the last one stands one word that no mark tells.
  return marks + (marks == pattern.size() ? 1 : 2);
}

bool align_words(SplitColumn& split) {
  const std::size_t rows = split.patterns.size(), words = split.words.size();
  std::vector<std::size_t> have(rows);
  std::size_t lacking = 0;
  for (std::size_t row = 0; row < rows; ++row) {
    have[row] = words_of_pattern(split.patterns[row]);
    lacking += have[row] < words ? 1 : 0;
  }
  if (lacking > rows / 8) return false;
  // Calls repeat(word) for every row that lacks word j, own(word) for the others.
  const auto walk = [&](std::size_t j, const auto& own, const auto& repeat) {
    std::size_t next = 0;
    for (std::size_t row = 0; row < rows; ++row) {
      if (have[row] > j) {
        own(split.words[j][next++]);
      } else {
        repeat(split.words[j][next == 0 ? 0 : next - 1]);
      }
    }
  };
  std::size_t held = 0, repeated = 0;
  for (std::size_t j = 0; j < words; ++j) {
    held += split.words[j].bytes.size();
    if (split.words[j].size() == rows) continue;
    walk(
        j, [](std::string_view) {}, [&](std::string_view word) { repeated += word.size(); });
  }
  if (repeated > held / 4) return false;
  for (std::size_t j = 0; j < words; ++j) {
    if (split.words[j].size() == rows) continue;
    ColumnText aligned;
    const auto add = [&](std::string_view word) { aligned.add(word); };
    walk(j, add, add);
    split.words[j] = std::move(aligned);
  }
  return true;
}

void join_words(ColumnView patterns, std::span<const ColumnView> words, bool aligned, ColumnText& out) {
  std::size_t size = patterns.text().size();
  for (const ColumnView& word : words) size += word.text().size();
  out.bytes.reserve(out.bytes.size() + size);
  std::vector<std::size_t> next(words.size(), 0);
  for (std::size_t row = 0; row < patterns.size(); ++row) {
    std::size_t word = 0;
    const auto put_word = [&] {
      out.bytes.append(words[word][aligned ? row : next[word]]);
      ++next[word++];
    };
    put_word();
    bool after_delimiter = false;
    for (const char c : patterns[row]) {
      if (c == '0') {
        put_word();
      } else {
        out.bytes.push_back(c);
        after_delimiter = true;
      }
    }
    // The last word has no mark of its own.
    if (after_delimiter) put_word();
    out.end_value();
  }
}

}  // namespace laconic
