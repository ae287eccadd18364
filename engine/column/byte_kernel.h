// The byte coders that a bundle of streams may use, by one number.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/base/bytes.h"
#include "engine/coding/lzma_bytes.h"

namespace laconic {

enum class ByteCoder : std::uint8_t { stored, zstd, lzma, context_mixing, rans };
inline constexpr std::uint8_t byte_coders = 5;

struct ByteKernel {
  ByteCoder coder = ByteCoder::lzma;
  int zstd_level = 3;
  LzmaOptions lzma;
};

Bytes kernel_compress(const ByteKernel& kernel, ByteSpan bytes);
// Fills `bytes` exactly, or Error(corrupt).
void kernel_expand(ByteCoder coder, ByteSpan coded, std::span<std::byte> bytes, std::string_view where);

}  // namespace laconic
