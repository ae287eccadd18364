// Few labels over many elements, most of which share one: the stream behind a sparse codebook (card 06). Five
// forms, of which the smallest is kept:
//   huffman    every label as a byte through huffman.h
//   positions  per label but the implied one: Elias-gamma of count + 1, the positions in ceil(log2 n) bits
//   gaps       per label but the implied one: Elias-gamma of count + 1, then of each distance to the position
//              before (the first counted from -1)
//   rice       all positions whose label is not implied, ascending: Elias-gamma of count + 1, 5 bits of
//              parameter, distances - 1 as Golomb-Rice codes; then their labels in ceil(log2 (labels - 1))
//              bits
//   rans       varint length and a table of frequencies (frequency_table.h), then every label through rANS
// The stream: u8 form, u8 implied label, the bits in whole bytes. The implied label is the most frequent
// (ties: the lower).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"

namespace laconic {

enum class LabelForm : std::uint8_t { huffman, positions, gaps, rice, rans };
inline constexpr std::size_t label_forms = 5;
inline constexpr int most_labels = 16;

std::string_view name_of(LabelForm form);

// Every element has a label below `labels`, 1 to 16.
Bytes encode_labels(std::span<const std::uint8_t> elements, int labels);
Bytes encode_labels(std::span<const std::uint8_t> elements, int labels, LabelForm form);
// Error(corrupt) unless the stream says one label below `labels` for every element, and ends there.
std::vector<std::uint8_t> decode_labels(ByteSpan stream, std::size_t elements, int labels,
                                        std::string_view where);

// What the paper's three encodings are said to cost in bits, without headers (card 06, step 3): Huffman code
// lengths; 27 bits per sent position; floor(log2 gap) + 1 bits per gap, which no decoder could part again.
struct PaperLabelBits {
  std::uint64_t huffman = 0, positions = 0, gaps = 0;
};
PaperLabelBits paper_label_bits(std::span<const std::uint8_t> elements, int labels);

}  // namespace laconic
