// Values taken apart into words and what stands between them (card 34, step 3).
// A delimiter is a longest run of bytes that are neither letters nor digits (ASCII); the words are what lies
// between the delimiters, and may be empty only before the first and after the last one. Split at borders, a
// word ends also where a letter meets a digit. The pattern of a value is its delimiters, with one '0' for
// each word more than delimiters tell: between two delimiters as many as there are words, before the first
// and after the last one fewer.
//   a1.txt   words a1, txt, pattern "."; at borders a, 1, txt, pattern "0."
//   1.2.3    words 1, 2, 3, pattern ".0."
// No delimiter holds a '0', so pattern and words give back the value.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "engine/column/column_view.h"

namespace laconic {

enum class SplitRule : std::uint8_t { delimiters, borders };

inline constexpr std::size_t most_words = 64;  // that a value of a column may have

struct SplitColumn {
  ColumnText patterns;  // one per row
  std::vector<ColumnText>
      words;  // words[j] holds word j of every row that has more than j words; aligned, of all
};

bool is_delimiter(char c);

// Nothing when a value has more than `word_limit` words.
std::optional<SplitColumn> split_values(ColumnView column, SplitRule rule, std::size_t word_limit);

// Gives every row all words, so that the words are columns of the same rows: a word that a value lacks is
// that of the row before, or, where none has one yet, of the first that has. False, and nothing is done,
// where more than an eighth of the rows lack some, or repeated words would be more than a quarter of those
// there are.
bool align_words(SplitColumn& split);

// How many words a value of this pattern has.
std::size_t words_of_pattern(std::string_view pattern);

// The inverse of split_values: appends the values. Requires as many words as the patterns ask for; `aligned`:
// in every row.
void join_words(ColumnView patterns, std::span<const ColumnView> words, bool aligned, ColumnText& out);

}  // namespace laconic
