// Unpacking of 1..8-bit codes. Eight codes of b bits fill exactly b bytes, so a group of eight codes always
// starts at a byte. Widths 1, 2, 4 and 8 expand whole vectors; for 3, 5, 6 and 7 the two bytes that a code
// touches are brought into a 16-bit lane and a multiplication by a power of two shifts each lane by its own
// distance.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/coding/bit_packing_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cstring>

#include "engine/base/error.h"
#include "engine/coding/bit_packing.h"

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR
// One-lane vectors cannot interleave: the caller's scalar loop does all the work.
std::size_t Unpack4(const std::uint8_t*, std::size_t, std::uint8_t*) { return 0; }
std::size_t Unpack2(const std::uint8_t*, std::size_t, std::uint8_t*) { return 0; }
std::size_t Unpack1(const std::uint8_t*, std::size_t, std::uint8_t*) { return 0; }
template <int bits>
std::size_t UnpackPairs(const std::uint8_t*, std::size_t, std::size_t, std::uint8_t*) {
  return 0;
}
#else
// 16 packed bytes -> 16 * per_byte codes. Interleaving the shifted copies restores the order of the codes.
std::size_t Unpack4(const std::uint8_t* packed, std::size_t count, std::uint8_t* codes) {
  const hn::FixedTag<std::uint8_t, 16> d;
  const hn::Repartition<std::uint16_t, decltype(d)> d16;
  const auto low = hn::Set(d, 0x0F);
  std::size_t i = 0;
  for (; i + 32 <= count; i += 32) {
    const auto bytes = hn::LoadU(d, packed + i / 2);
    const auto even = hn::And(bytes, low);
    const auto odd = hn::And(hn::BitCast(d, hn::ShiftRight<4>(hn::BitCast(d16, bytes))), low);
    hn::StoreU(hn::InterleaveLower(d, even, odd), d, codes + i);
    hn::StoreU(hn::InterleaveUpper(d, even, odd), d, codes + i + 16);
  }
  return i;
}

std::size_t Unpack2(const std::uint8_t* packed, std::size_t count, std::uint8_t* codes) {
  const hn::FixedTag<std::uint8_t, 16> d;
  const hn::Repartition<std::uint16_t, decltype(d)> d16;
  const auto low = hn::Set(d, 0x03);
  std::size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    const auto bytes = hn::LoadU(d, packed + i / 4);
    const auto words = hn::BitCast(d16, bytes);
    const auto c0 = hn::And(bytes, low);
    const auto c1 = hn::And(hn::BitCast(d, hn::ShiftRight<2>(words)), low);
    const auto c2 = hn::And(hn::BitCast(d, hn::ShiftRight<4>(words)), low);
    const auto c3 = hn::And(hn::BitCast(d, hn::ShiftRight<6>(words)), low);
    const auto low01 = hn::BitCast(d16, hn::InterleaveLower(d, c0, c1));
    const auto low23 = hn::BitCast(d16, hn::InterleaveLower(d, c2, c3));
    const auto high01 = hn::BitCast(d16, hn::InterleaveUpper(d, c0, c1));
    const auto high23 = hn::BitCast(d16, hn::InterleaveUpper(d, c2, c3));
    hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d16, low01, low23)), d, codes + i);
    hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d16, low01, low23)), d, codes + i + 16);
    hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d16, high01, high23)), d, codes + i + 32);
    hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d16, high01, high23)), d, codes + i + 48);
  }
  return i;
}

std::size_t Unpack1(const std::uint8_t* packed, std::size_t count, std::uint8_t* codes) {
  // Each lane keeps one bit of its source byte: lane l tests bit l % 8 of byte l / 8.
  const hn::FixedTag<std::uint8_t, 16> d;
  alignas(16) static constexpr std::uint8_t spread[16] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
  alignas(16) static constexpr std::uint8_t tests[16] = {1, 2, 4, 8, 16, 32, 64, 128,
                                                         1, 2, 4, 8, 16, 32, 64, 128};
  const auto from = hn::Load(d, spread);
  const auto test = hn::Load(d, tests);
  const auto one = hn::Set(d, 1);
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) {
    std::uint16_t word;
    std::memcpy(&word, packed + i / 8, 2);
    const hn::Repartition<std::uint16_t, decltype(d)> d16;
    const auto both = hn::TableLookupBytes(hn::BitCast(d, hn::Set(d16, word)), from);
    const auto hit = hn::Eq(hn::And(both, test), test);
    hn::StoreU(hn::IfThenElseZero(hit, one), d, codes + i);
  }
  return i;
}

// 16 codes from 2 * bits bytes: codes of even index end in the low bytes of 16-bit lanes, odd ones in the
// high. Loads reach 16 bytes, so the last codes stay scalar.
template <int bits>
std::size_t UnpackPairs(const std::uint8_t* packed, std::size_t bytes, std::size_t count,
                        std::uint8_t* codes) {
  const hn::FixedTag<std::uint8_t, 16> d;
  const hn::Repartition<std::uint16_t, decltype(d)> d16;
  alignas(16) std::uint8_t even_bytes[16], odd_bytes[16];
  alignas(16) std::uint16_t even_powers[8], odd_powers[8];
  for (std::size_t lane = 0; lane < 8; ++lane) {
    const int even = 2 * static_cast<int>(lane) * bits, odd = even + bits;  // first bit of either code
    even_bytes[2 * lane] = static_cast<std::uint8_t>(even / 8);
    odd_bytes[2 * lane] = static_cast<std::uint8_t>(odd / 8);
    // A code of up to 7 bits may end in the first byte of the two; the second is then not used.
    even_bytes[2 * lane + 1] = static_cast<std::uint8_t>(even / 8 + 1);
    odd_bytes[2 * lane + 1] = static_cast<std::uint8_t>(odd / 8 + 1);
    even_powers[lane] = static_cast<std::uint16_t>(1 << (8 - even % 8));
    odd_powers[lane] = static_cast<std::uint16_t>(1 << (8 - odd % 8));
  }
  const auto from_even = hn::Load(d, even_bytes), from_odd = hn::Load(d, odd_bytes);
  const auto by_even = hn::Load(d16, even_powers), by_odd = hn::Load(d16, odd_powers);
  const auto low = hn::Set(d16, (1 << bits) - 1), high = hn::Set(d16, ((1 << bits) - 1) << 8);
  const auto step = static_cast<std::size_t>(bits) * 2;
  std::size_t i = 0, at = 0;
  for (; i + 16 <= count && at + 16 <= bytes; i += 16, at += step) {
    const auto word = hn::LoadU(d, packed + at);
    const auto even = hn::Mul(hn::BitCast(d16, hn::TableLookupBytes(word, from_even)), by_even);
    const auto odd = hn::Mul(hn::BitCast(d16, hn::TableLookupBytes(word, from_odd)), by_odd);
    const auto both = hn::Or(hn::And(hn::ShiftRight<8>(even), low), hn::And(odd, high));
    hn::StoreU(hn::BitCast(d, both), d, codes + i);
  }
  return i;
}
#endif

// Returns how many codes were unpacked; a multiple of eight.
std::size_t Unpack(const std::uint8_t* packed, std::size_t bytes, int bits, std::size_t count,
                   std::uint8_t* codes) {
  switch (bits) {
    case 1:
      return Unpack1(packed, count, codes);
    case 2:
      return Unpack2(packed, count, codes);
    case 3:
      return UnpackPairs<3>(packed, bytes, count, codes);
    case 4:
      return Unpack4(packed, count, codes);
    case 5:
      return UnpackPairs<5>(packed, bytes, count, codes);
    case 6:
      return UnpackPairs<6>(packed, bytes, count, codes);
    case 7:
      return UnpackPairs<7>(packed, bytes, count, codes);
    default:
      if (count > 0) std::memcpy(codes, packed, count);
      return count;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace laconic {
HWY_EXPORT(Unpack);

void unpack_bits(std::span<const std::uint8_t> packed, int bits, std::span<std::uint8_t> codes) {
  require(1 <= bits && bits <= 8, "code width is 1 to 8 bits");
  const std::size_t bytes = packed_bytes(codes.size(), bits);
  require(packed.size() >= bytes, "packed bytes hold the codes");
  const std::size_t done =
      HWY_DYNAMIC_DISPATCH(Unpack)(packed.data(), bytes, bits, codes.size(), codes.data());
  unpack_bits_scalar(packed.first(bytes).subspan(done / 8 * static_cast<std::size_t>(bits)), bits,
                     codes.subspan(done / 8 * 8));
}
}  // namespace laconic
#endif
