#include "runtime/cache/lane_codes.h"

#include <bit>
#include <cstring>

#include "engine/base/error.h"

namespace laconic {
namespace {

static_assert(std::endian::native == std::endian::little, "words of lanes are little-endian");

// Where depth j of a word stands in it.
int bit_in_word(int width, int j) { return 16 * (j % 2) + width * (j / 2); }

}  // namespace

LaneCodes::LaneCodes(int bits, std::int64_t depth) : bits_(bits), depth_(depth) {
  require(bits >= 1 && bits <= 8, "codes of a cache have 1 to 8 bits");
  int left = bits;
  for (int log_width = 3; log_width >= 0; --log_width) {
    if (left < 1 << log_width) continue;
    LanePart& part = parts_[part_count_++];
    part.log_width = log_width;
    part.top = left == bits;
    left -= part.width();
    part.shift = left;
    part.words = part.word_of(depth);
    part.tail_bytes = (part.place_of(depth) * part.width() + 7) / 8;
    part.offset = lane_bytes_;
    lane_bytes_ += part.words * 4 + part.tail_bytes;
  }
}

void LaneCodes::pack(const std::uint8_t* codes, std::int64_t lane_stride, std::int64_t depth_stride,
                     std::int64_t lanes, std::uint8_t* tile) const {
  const unsigned flip = 1u << (bits_ - 1);
  for (const LanePart& part : parts()) {
    const int per_word = part.per_word();
    const unsigned mask = (1u << part.width()) - 1u;
    std::uint8_t* words = tile + part.offset * lanes;
    for (std::int64_t i = 0; i < part.words; ++i) {
      for (std::int64_t l = 0; l < lanes; ++l) {
        const std::uint8_t* from = codes + l * lane_stride + i * per_word * depth_stride;
        std::uint32_t word = 0;
        for (int j = 0; j < per_word; ++j)
          word |= ((from[j * depth_stride] ^ flip) >> part.shift & mask) << bit_in_word(part.width(), j);
        std::memcpy(words + (i * lanes + l) * 4, &word, 4);
      }
    }
    std::uint8_t* tail = words + part.words * lanes * 4;
    const int rest = part.place_of(depth_);
    for (std::int64_t l = 0; l < lanes; ++l) {
      const std::uint8_t* from = codes + l * lane_stride + part.words * per_word * depth_stride;
      for (int j = 0; j < rest; ++j) {
        const unsigned bits = (from[j * depth_stride] ^ flip) >> part.shift & mask;
        const int at = j * part.width();
        tail[at / 8 * lanes + l] = static_cast<std::uint8_t>(tail[at / 8 * lanes + l] | bits << at % 8);
      }
    }
  }
}

int LaneCodes::code(const std::uint8_t* tile, std::int64_t lanes, std::int64_t lane, std::int64_t d) const {
  unsigned code = 0;
  for (const LanePart& part : parts()) {
    const unsigned mask = (1u << part.width()) - 1u;
    const std::int64_t word = part.word_of(d);
    const int j = part.place_of(d);
    const std::uint8_t* words = tile + part.offset * lanes;
    if (word < part.words) {
      std::uint32_t bits;
      std::memcpy(&bits, words + (word * lanes + lane) * 4, 4);
      code |= (bits >> bit_in_word(part.width(), j) & mask) << part.shift;
    } else {
      const int at = j * part.width();
      code |= (unsigned{words[part.words * lanes * 4 + at / 8 * lanes + lane]} >> at % 8 & mask)
              << part.shift;
    }
  }
  return static_cast<int>(code ^ 1u << (bits_ - 1));
}

bool LaneCodes::tails_are_clean(const std::uint8_t* tile, std::int64_t lanes) const {
  for (const LanePart& part : parts()) {
    const int used = part.place_of(depth_) * part.width() % 8;
    if (used == 0) continue;
    const std::uint8_t* last = tile + part.offset * lanes + (part.words * 4 + part.tail_bytes - 1) * lanes;
    for (std::int64_t l = 0; l < lanes; ++l) {
      if (last[l] >> used != 0) return false;
    }
  }
  return true;
}

}  // namespace laconic
