// The first byte of a column's descriptor: which codec, in which form.
//   0 constant, 1 constant that holds a line feed
//   2..4 text in the layouts terminated, fixed, lengths; 5 transposed text
//   6, 7 hex in small, capital letters; 8 IPv4; 9, 10 UUID in small, capital letters
//   11..16 dictionary: 11 + layout, 14 + layout with more than 255 entries
//   17..19 recent values: 17 + layout
//   20 equal to another column; 21, 22 predicted by another column
//   23 split at delimiters; 24 split where letters meet digits as well; 25 joined numbers
//   27, 28 split as under 23, 24, the last word first, and every row has all words (value_pattern.h)
//   26 a column in streams of its own, or several that are joined: their number and how many columns and
//   words they
//      add to their group follow here as varints, their descriptor is in a stream of its own
//   32 + 16 transform + packing: decimal numbers without leading zeros
//   112 + 16 transform + packing: numbers of another format, whose byte follows
#pragma once

#include <cstdint>

namespace laconic {

namespace column_code {
inline constexpr std::uint8_t constant = 0;
inline constexpr std::uint8_t constant_with_length = 1;
inline constexpr std::uint8_t text = 2;
inline constexpr std::uint8_t transposed = 5;
inline constexpr std::uint8_t hex_small = 6;
inline constexpr std::uint8_t hex_capital = 7;
inline constexpr std::uint8_t ipv4 = 8;
inline constexpr std::uint8_t uuid_small = 9;
inline constexpr std::uint8_t uuid_capital = 10;
inline constexpr std::uint8_t dictionary = 11;
inline constexpr std::uint8_t wide_dictionary = 14;
inline constexpr std::uint8_t recent = 17;
inline constexpr std::uint8_t equal = 20;
inline constexpr std::uint8_t equal_but_for = 21;
inline constexpr std::uint8_t mapped = 22;
inline constexpr std::uint8_t split_at_delimiters = 23;
inline constexpr std::uint8_t split_at_borders = 24;
inline constexpr std::uint8_t joined = 25;
inline constexpr std::uint8_t own_streams = 26;
inline constexpr std::uint8_t split_from_end = 27;
inline constexpr std::uint8_t end_of_splits = 29;
inline constexpr std::uint8_t plain_numbers = 32;
inline constexpr std::uint8_t formatted_numbers = 112;
inline constexpr std::uint8_t end_of_numbers = 192;
}  // namespace column_code

// Columns are split at so many levels, and the words of the last one may have exceptions.
inline constexpr int deepest_split = 3;
inline constexpr int deepest_column = deepest_split + 1;

// How many columns and words those in streams of their own may add to groups, all together: readers make room
// for them before they see them.
inline constexpr std::uint64_t most_own_entries = 1 << 20;

}  // namespace laconic
