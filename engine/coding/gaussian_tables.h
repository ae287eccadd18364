// Frequency tables of discretised Gaussians, made by whole-number arithmetic alone, so that every machine has
// the same ones and a stream states a distribution by two small numbers (Minnen et al. 2018 and the learned
// codecs after it).
//
//   P(k) = Phi((k + 1/2 - mean) / sigma) - Phi((k - 1/2 - mean) / sigma)
//   sigma = 0.11 (256 / 0.11)^(scale / 63), scale 0 to 63;   mean = eighth / 8, eighth -4 to 3
//
// Numbers within about 3.5 sigma of the mean have a symbol; the others are the escape, the last symbol, which
// gets 1/1024 or what lies outside, whichever is more. Frequencies are multiples of 16 (12 bits), each at
// least one such multiple (normalise.h, spread).
#pragma once

#include <cstdint>

#include "engine/coding/rans_symbols.h"

namespace laconic {

inline constexpr int gaussian_scales = 64;
inline constexpr int gaussian_fractions = 8;

// Kept for the life of the program; safe to ask for from several threads. `eighth` in -4 .. 3.
const IntegerTable& gaussian_table(int scale, int eighth);
// sigma of a scale, in 65536ths.
std::uint32_t gaussian_sigma(int scale);

}  // namespace laconic
