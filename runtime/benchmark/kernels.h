// The hot kernels over at least 256 MiB of distinct data each.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "runtime/benchmark/measure.h"

namespace laconic {

// Passes are made one after the other: each holds its data only while it lives.
struct PassMaker {
  std::string name;
  std::function<Pass()> make;
};

// Matrix-vector products of 4096 x 11008 from packed codes (8, 4, 3, 2 bits, groups of 64, f16 scales and
// offsets), from bf16 and from one sign block; unpacking of 1 to 8 bits; dequantising; conversions of f16 and
// bf16. Products are counted by their packed bytes; the others by the bytes of their larger side, as memcpy
// is.
std::vector<PassMaker> kernel_passes();

}  // namespace laconic
