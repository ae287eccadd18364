// The machine of the paper's simulations, one of several equal devices on a ring.
#pragma once

#include <cstdint>

namespace laconic::t3 {

enum class MemoryPolicy {
  first_come,    // T3: all requests in the order of their arrival
  compute_first  // T3-MCA: the exchange's requests wait while the memory's queue is longer than a threshold
};

struct Device {
  int compute_units = 80;
  double clock = 1.4e9;
  double operations_per_cycle = 1024;  // f16, of a compute unit
  double efficiency = 0.6;             // of products; calibrated
  double memory_bandwidth = 1e12;      // bytes per second
  double request_bytes = 64 * 1024;
  // Memory time of an update that is executed near memory, in plain stores: the column is occupied twice.
  double update_cost = 2;
  std::int64_t cache_bytes = std::int64_t{16} << 20;
  double link_bandwidth = 75e9;  // of each direction
  double link_latency = 500e-9;
  int tracker_entries = 256;  // tiles
  int mca_threshold = 5;      // requests in the memory's queue; calibrated
  double starvation_limit = 10e-6;

  double peak() const { return compute_units * operations_per_cycle * clock; }
  // Error(usage) for numbers that are not positive.
  void check() const;
};

}  // namespace laconic::t3
