// Bytes through a canonical Huffman code with lengths of at most 12 bits (package-merge, Larmore and
// Hirschberg 1990). Decoding is a table look-up per byte.
//
// Stream: bits, least significant first: Elias-gamma of the number of symbols, then 4 bits of code length for
// each (0: not used); whole bytes. Codes are canonical: shorter first, equal lengths by symbol, counted up
// from 0; a code's first bit is the lowest. The bytes follow in 1 part, in 4 from 4,096 bytes on: part i
// holds bytes [i n, i n + n) for n = ceil(size / parts); varint lengths of all parts but the last stand
// before them. When all bytes are equal, their symbol has length 1 and there are no parts. An empty input is
// an empty stream.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/bytes.h"

namespace laconic {

inline constexpr int huffman_longest = 12;

// Code lengths of least total size, at most `longest` (0 for symbols that do not occur); 1 for a single
// symbol. Requires 2^longest symbols or fewer.
std::vector<std::uint8_t> huffman_lengths(std::span<const std::uint64_t> counts,
                                          int longest = huffman_longest);

Bytes huffman_compress(ByteSpan bytes);
// Fills `bytes` exactly, or Error(corrupt).
void huffman_expand(ByteSpan coded, std::span<std::byte> bytes, std::string_view where);

}  // namespace laconic
