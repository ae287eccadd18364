// A sequence of template ids, one per line, as bytes.
//
// Ids are numbered by first use, so that the sequence becomes symbols: 0 says "one not seen yet", s > 0 the
// s-th that was seen. They are coded through mixed contexts (engine/coding/symbol_mixing.h), down a Huffman
// tree where it is told how often each occurs, else bit by bit, highest first.
//
// Or ids are stored plainly and coded by zstd, which is far quicker and larger.
//
// Stream: varint 2 n + plain, n distinct ids; zig-zag varints of the differences of their first uses; in a
// sequence of at least `counted_ids`, with n > 1, varints of how often each occurs, but for the last, so that
// readers know how many rows columns have before they decode the sequence. Then, with n > 1, the mixed
// symbols; or zstd of the numbers less 1, a byte each or, with n > 256, all low bytes and all high ones
// (with n > 65,536 three of them).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"

namespace laconic::logzip {

inline constexpr std::size_t counted_ids = 4096;

enum class IdCoding : std::uint8_t { mixed, plain };

struct IdCount {
  std::uint32_t id = 0;
  std::uint32_t lines = 0;
};

Bytes encode_ids(std::span<const std::uint32_t> ids, IdCoding coding = IdCoding::mixed);

// Reads `count` ids, each below `limit`, from bytes that outlive it; Error(corrupt) on other bytes.
class IdSequence {
 public:
  IdSequence(ByteSpan bytes, std::size_t count, std::uint32_t limit, std::string where);

  std::size_t size() const { return count_; }
  // Every distinct id once, by first use. Decodes the sequence only where it is short.
  const std::vector<IdCount>& counts();
  // The whole sequence, decoded when first asked for.
  const std::vector<std::uint32_t>& ids();

 private:
  void decode_mixed();
  void decode_plain();
  void count_ids();

  std::size_t count_;
  std::string where_;
  IdCoding coding_ = IdCoding::mixed;
  bool counted_ = false, decoded_ = false;
  std::vector<IdCount> distinct_;
  ByteSpan coded_;
  std::vector<std::uint32_t> ids_;
};

}  // namespace laconic::logzip
