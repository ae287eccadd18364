// Entropy decoders on bytes of one distribution (a rounded Gaussian, 6.4 bits of order-0 entropy) without
// repeats, which zstd therefore codes by Huff0 alone. One thread; rates are bytes of source per second of
// processor time, so that other programs on the machine do not count.
#pragma once

#include <string>
#include <vector>

#include "engine/base/progress.h"

namespace laconic {

struct CoderSpeed {
  std::string name;                         // "rANS", "Huffman", "zstd (Huff0)"
  double encode_rate = 0, decode_rate = 0;  // medians over the rounds
  double bits_per_byte = 0;
  double wanted_rate = 0;  // rANS: 500 MB/s, or what Huff0 reaches if that is less
  bool met() const { return wanted_rate == 0 || decode_rate >= wanted_rate; }
};

// The coders take turns inside each round.
std::vector<CoderSpeed> measure_coders(int rounds, const ProgressListener& progress = {});

}  // namespace laconic
