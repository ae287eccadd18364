// A discrete-event model of T3's hardware: a product that is made in stages, its outputs mapped to the
// successor's memory, to DMA or to this device's; a tracker that waits for both contributions of a tile; DMA
// on its trigger; a memory that all share; a link. All devices are equal and run the same schedule, so one is
// simulated: what it sends is what it gets from its predecessor at the same time.
//
// Within a stage the depth passes in slices; the reads of the next slice are asked for when a slice begins,
// so a memory that is late by more than a slice stops the product. Finished tiles are stored when their stage
// ends.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "methods/gradients/t3/memory_server.h"
#include "methods/gradients/t3/product_reads.h"

namespace laconic::t3 {

// The product of one device in the units of the simulation: blocks of its output.
struct SimulatedProduct {
  int devices = 1;
  std::int64_t blocks_per_chunk = 1, blocks_per_stage = 1;
  int tiles_per_block = 1;
  double block_bytes = 0;
  double stage_seconds = 0;  // of computing a full stage; less for one that is not full
  std::int64_t slices = 1;
  std::vector<double> stage_reads = {};  // bytes from memory; missing ones are 0

  std::int64_t blocks() const { return blocks_per_chunk * devices; }
  double chunk_bytes() const { return block_bytes * static_cast<double>(blocks_per_chunk); }
};
// Error(usage) for a device with numbers that are not positive.
SimulatedProduct simulated_product(const Workload& workload, const Device& device, bool outputs_cached);

struct SimulatedRun {
  double seconds = 0;  // until the device's chunk is complete; of a plain product: until it is computed
  double product_seconds = 0;            // until the last stage is computed
  std::array<double, purposes> bytes{};  // of memory, by purpose
  double link_bytes = 0, arrived_bytes = 0;
  double longest_wait = 0;  // of a request of the exchange, outside the memory's queue
  int tracker_peak = 0;     // tiles
  int tracker_stalls = 0;   // times that a stage or an arrival waited for an entry
  std::int64_t triggers = 0;
  double memory_bytes() const { return bytes[0] + bytes[1] + bytes[2] + bytes[3]; }
};

// The product alone, its outputs written back through the cache while the next stage runs.
SimulatedRun simulate_product(const SimulatedProduct& product, const Device& device);
// The product with its reduce-scatter triggered.
SimulatedRun simulate_triggered(const SimulatedProduct& product, const Device& device, MemoryPolicy policy);

}  // namespace laconic::t3
