#include "engine/transport/tcp/content_hash.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <vector>

namespace laconic {
namespace {

constexpr std::size_t hash_lanes = 256, hash_blocks = 960, vector_bytes = 16, warp = 32;

std::uint32_t mixed(std::uint32_t a, std::uint32_t b) {
  a ^= b + 0x9e3779b1u;
  return std::rotl(a, 7) * 0x85ebca6bu;
}

// Halving offsets: lane t takes lane t + offset, for 16, 8, 4, 2, 1.
std::uint32_t reduce_warp(std::uint32_t* lanes) {
  for (std::size_t offset = warp / 2; offset > 0; offset /= 2) {
    for (std::size_t t = 0; t < offset; ++t) lanes[t] = mixed(lanes[t], lanes[t + offset]);
  }
  return lanes[0];
}

std::uint32_t reduce_lanes(std::array<std::uint32_t, hash_lanes>& lanes) {
  std::array<std::uint32_t, warp> warps{};
  for (std::size_t i = 0; i < hash_lanes / warp; ++i) warps[i] = reduce_warp(lanes.data() + i * warp);
  return reduce_warp(warps.data());
}

std::uint32_t word_at(ByteSpan bytes, std::size_t at) {
  std::uint32_t word = 0;
  std::memcpy(&word, bytes.data() + at, std::min<std::size_t>(4, bytes.size() - at));
  return word;
}

}  // namespace

std::uint32_t simple_hash(ByteSpan bytes) {
  const std::size_t vectors = bytes.size() / vector_bytes;
  const std::size_t grid = std::min((vectors + hash_lanes - 1) / hash_lanes, hash_blocks);
  std::uint32_t hash = 0;
  if (grid > 0) {
    const std::size_t per_block = (vectors + grid - 1) / grid;
    std::array<std::uint32_t, hash_lanes> slots{};
    for (std::size_t block = 0; block < grid; ++block) {
      const std::size_t begin = std::min(vectors, block * per_block),
                        end = std::min(vectors, begin + per_block);
      std::array<std::uint32_t, hash_lanes> lanes{};
      for (std::size_t i = begin; i < end; ++i) {
        std::uint32_t& lane = lanes[(i - begin) % hash_lanes];
        for (std::size_t word = 0; word < 4; ++word)
          lane = mixed(lane, word_at(bytes, i * vector_bytes + 4 * word));
      }
      std::uint32_t& slot = slots[block % hash_lanes];
      slot = mixed(slot, reduce_lanes(lanes));
    }
    hash = reduce_lanes(slots);
  }
  for (std::size_t at = vectors * vector_bytes; at < bytes.size(); at += 4)
    hash = mixed(hash, word_at(bytes, at));
  return hash;
}

Hash128 content_hash(ContentHashKind kind, NumberType type, ByteSpan bytes) {
  if (kind == ContentHashKind::simple) {
    const std::uint32_t simple = simple_hash(bytes);
    Hash128 hash{};
    for (std::size_t i = 0; i < 4; ++i) hash[i] = static_cast<std::uint8_t>(simple >> (8 * i));
    return hash;
  }
  StreamingHash128 hash;
  ByteWriter head;
  head.u64(bytes.size());
  head.u8(static_cast<std::uint8_t>(type));
  hash.update(head.span());
  hash.update(bytes);
  return hash.digest();
}

}  // namespace laconic
