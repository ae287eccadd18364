// Channels in f64, for algorithms whose theory is checked beyond the precision of f32: what travels is what
// was selected, bit for bit. Messages are as tight as their codecs would be at this precision:
//
//   exact          d numbers
//   top-k          k positions of ceil(log2 d) bits, k numbers
//   rand-k         varint step, varint sender (which name the positions), k numbers
//   threshold      d bits that mark positions, the numbers there
#pragma once

#include <cstdint>
#include <memory>

#include "methods/gradients/channel.h"

namespace laconic {

// f64 as it is, 8 bytes a number: for theory without compression, and for what is sent whole beside
// compressed messages (first gradients, refreshes). In f32 those would leave a floor of 1e-7: the difference
// to a rounded reference does not vanish where the difference to the reference does.
std::unique_ptr<Channel> exact_channel();
// The k largest magnitudes; a contraction with delta = k / d.
std::unique_ptr<Channel> exact_top_k_channel(std::int64_t k);
// k positions drawn anew for every step and sender, times d / k: unbiased, omega = d / k - 1.
std::unique_ptr<Channel> exact_rand_k_channel(std::int64_t k, std::uint64_t seed);
// The numbers with |z| > threshold: |C(z) - z|_inf <= threshold, and not homogeneous (card 04's ablation).
std::unique_ptr<Channel> exact_threshold_channel(double threshold);

}  // namespace laconic
