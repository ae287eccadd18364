// The byte alphabet of byte-level BPE: every byte is written as one visible character. Printable Latin-1
// bytes stand for themselves, the other 68 for U+0100 onwards in order. Source: Radford et al. 2019,
// "Language models are unsupervised multitask learners" (GPT-2), its encoder.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace laconic {

char32_t byte_level_character(std::uint8_t byte);
std::string byte_level_encoded(std::string_view bytes);
// Nothing when a character stands for no byte.
std::optional<std::string> byte_level_decoded(std::string_view text);

// The splitting pattern of GPT-2, which ByteLevel pre-tokenisers use.
inline constexpr std::string_view byte_level_pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Pieces named <0x00> to <0xFF> stand for bytes in models with byte fallback.
std::optional<std::uint8_t> byte_of_piece(std::string_view piece);
std::string byte_piece(std::uint8_t byte);

}  // namespace laconic
