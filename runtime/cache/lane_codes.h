// Codes of a matrix [lanes, depth], 1 to 8 bits each, packed for products that sum over the depth:
// neighbouring lanes stand in neighbouring 32-bit words, so that one number of the other factor meets a whole
// vector of lanes and no sum crosses them.
//
// Lanes are cut into tiles of up to 32; a tile of n lanes takes n * lane_bytes() bytes from
// first lane * lane_bytes() on, whatever the cut. A code is stored with its top bit flipped, as the
// two's complement of code - 2^(bits-1), and split into parts whose widths divide 16 (3 = 2 + 1, 5 = 4 + 1,
// 6 = 4 + 2, 7 = 4 + 2 + 1); the part with the top bit is signed. In a tile the parts follow each other:
//   words    [words][lanes] u32 little-endian: word i holds depths 32 / w * i and on; of those, depth 2 k + h
//            stands at bit 16 h + w k, so that a 16-bit shift and mask leave pairs of neighbouring depths
//   bytes    [tail_bytes][lanes] u8: the depths that fill no word, the first at bit 0; unused bits are zero
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace laconic {

struct LanePart {
  int log_width = 0;        // of 1, 2, 4 or 8
  int shift = 0;            // the part holds bits [shift, shift + width) of the code
  bool top = false;         // signed
  std::int64_t words = 0;   // per lane
  int tail_bytes = 0;       // per lane
  std::int64_t offset = 0;  // bytes per lane of the parts before it
  int width() const { return 1 << log_width; }
  int per_word() const { return 32 >> log_width; }
  std::int64_t word_of(std::int64_t d) const { return d >> (5 - log_width); }
  int place_of(std::int64_t d) const { return static_cast<int>(d) & (per_word() - 1); }  // in its word
};

class LaneCodes {
 public:
  static constexpr std::int64_t tile_lanes = 32;

  LaneCodes(int bits, std::int64_t depth);

  int bits() const { return bits_; }
  std::int64_t depth() const { return depth_; }
  std::span<const LanePart> parts() const { return {parts_.data(), part_count_}; }
  std::int64_t lane_bytes() const { return lane_bytes_; }

  // codes[l * lane_stride + d * depth_stride] < 2^bits into a tile of `lanes` lanes that was zero.
  void pack(const std::uint8_t* codes, std::int64_t lane_stride, std::int64_t depth_stride,
            std::int64_t lanes, std::uint8_t* tile) const;
  int code(const std::uint8_t* tile, std::int64_t lanes, std::int64_t lane, std::int64_t d) const;
  // Whether the unused bits of the tails are zero, as pack() leaves them.
  bool tails_are_clean(const std::uint8_t* tile, std::int64_t lanes) const;

 private:
  int bits_;
  std::int64_t depth_, lane_bytes_ = 0;
  std::array<LanePart, 3> parts_;
  std::size_t part_count_ = 0;
};

}  // namespace laconic
