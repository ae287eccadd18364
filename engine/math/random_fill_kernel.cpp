// Philox4x32-10 on lanes of 64 bits, each with one 32-bit word of a counter in its low half: a multiplication
// then gives both halves of the product at once, and what is left in the high halves is never read.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "engine/math/random_fill_kernel.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "engine/base/error.h"
#include "engine/math/random_fill.h"

HWY_BEFORE_NAMESPACE();
namespace laconic {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Returns how many words were written; a multiple of 4.
std::size_t RandomBits(std::uint64_t key, std::uint64_t step, std::uint16_t peer, std::uint64_t block,
                       std::uint32_t* words, std::size_t count) {
#if HWY_TARGET == HWY_SCALAR
  (void)key, (void)step, (void)peer, (void)block, (void)words, (void)count;
  return 0;
#else
  const hn::ScalableTag<std::uint64_t> d;
  const hn::Repartition<std::uint32_t, decltype(d)> d32;
  using V = hn::Vec<decltype(d)>;
  const std::size_t lanes = hn::Lanes(d);
  const V multiplier0 = hn::Set(d, 0xD2511F53u), multiplier1 = hn::Set(d, 0xCD9E8D57u);
  const auto product = [&](V a, V b)
                           HWY_ATTR { return hn::MulEven(hn::BitCast(d32, a), hn::BitCast(d32, b)); };
  const V step_low = hn::Set(d, step & 0xFFFFFFFFu), step_high = hn::Set(d, step >> 32);
  const V peer_bits = hn::Set(d, std::uint64_t{peer});
  const V low_half = hn::Set(d, 0xFFFFFFFFu);
  std::uint64_t keys0[10], keys1[10];
  for (std::uint32_t round = 0; round < 10; ++round) {
    keys0[round] = static_cast<std::uint32_t>(key) + round * 0x9E3779B9u;
    keys1[round] = static_cast<std::uint32_t>(key >> 32) + round * 0xBB67AE85u;
  }
  V blocks = hn::Add(hn::Set(d, block), hn::Iota(d, 0));
  const V stride = hn::Set(d, static_cast<std::uint64_t>(lanes));
  std::size_t at = 0;
  for (; at + 4 * lanes <= count; at += 4 * lanes) {
    V c0 = step_low, c1 = step_high;
    V c2 = hn::Or(peer_bits, hn::ShiftLeft<16>(blocks)), c3 = hn::ShiftRight<16>(blocks);
    for (int round = 0; round < 10; ++round) {
      const V product0 = product(c0, multiplier0), product1 = product(c2, multiplier1);
      c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product1), c1), hn::Set(d, keys0[round]));
      c1 = product1;
      c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product0), c3), hn::Set(d, keys1[round]));
      c3 = product0;
    }
    const V first = hn::Or(hn::And(c0, low_half), hn::ShiftLeft<32>(c1));
    const V second = hn::Or(hn::And(c2, low_half), hn::ShiftLeft<32>(c3));
    hn::StoreInterleaved2(first, second, d, reinterpret_cast<std::uint64_t*>(words + at));
    blocks = hn::Add(blocks, stride);
  }
  return at;
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace laconic
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <array>

namespace laconic {
HWY_EXPORT(RandomBits);

void random_bits(const RandomStream& random, std::uint64_t first, std::span<std::uint32_t> words) {
  require(first % 4 == 0, "runs of draws begin at a block");
  std::size_t done = HWY_DYNAMIC_DISPATCH(RandomBits)(random.key(), random.step(), random.peer(), first / 4,
                                                      words.data(), words.size());
  for (; done < words.size(); ++done) words[done] = random.bits_at(first + done);
}

void random_gaussians(const RandomStream& random, std::span<float> values) {
  std::array<std::uint32_t, 256> words;
  for (std::size_t first = 0; first < values.size(); first += words.size()) {
    const std::size_t count = std::min(words.size(), values.size() - first);
    random_bits(random, first, std::span(words).first(count));
    for (std::size_t i = 0; i < count; ++i) values[first + i] = RandomStream::gaussian_of(words[i]);
  }
}
}  // namespace laconic
#endif
