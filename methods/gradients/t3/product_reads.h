// What a product reads from memory through the device's last cache, stage by stage: a stage is what all
// compute units make at a time, one tile each, slice by slice of the depth. Tiles are taken in groups of
// eight rows, column after column within a group, as libraries for these devices do.
#pragma once

#include <cstdint>
#include <vector>

#include "methods/gradients/t3/device.h"
#include "methods/gradients/t3/workloads.h"

namespace laconic::t3 {

constexpr std::int64_t simulated_tile = 128, simulated_slice = 32;  // rows and columns; depth of a slice

struct ProductReads {
  std::int64_t tiles = 0, slices = 0;
  std::vector<double> stage_bytes;  // from memory, of all its slices
  double total = 0;
};

// `outputs_cached`: finished tiles pass through the cache and push inputs out of it; T3's updates do not.
ProductReads reads_of_product(const Workload& workload, const Device& device, bool outputs_cached);

}  // namespace laconic::t3
