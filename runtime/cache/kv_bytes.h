// Bytes of a cache by what they are. Every figure is the length of something that is serialised; their sum is
// the length of the whole.
#pragma once

#include <cstdint>

namespace laconic {

struct KvBytes {
  std::uint64_t payload = 0;  // codes, latents, low-rank factors, stored rows
  std::uint64_t scales = 0;   // steps, offsets, norms
  std::uint64_t indices = 0;  // positions, bitmaps, places of outliers
  std::uint64_t tables = 0;   // of entropy coders
  std::uint64_t window = 0;   // rows kept exactly because they are recent
  std::uint64_t header = 0;   // lengths, kinds, scores that later steps need

  std::uint64_t total() const { return payload + scales + indices + tables + window + header; }
  KvBytes& operator+=(const KvBytes& other) {
    payload += other.payload;
    scales += other.scales;
    indices += other.indices;
    tables += other.tables;
    window += other.window;
    header += other.header;
    return *this;
  }
};

}  // namespace laconic
