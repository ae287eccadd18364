// What the claims about the collectives are measured from: pools of capped connections, rings around a slow
// pair of hosts, operations that are aborted, and what quantisation does to numbers.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/transport/tcp/block_quantizer.h"
#include "engine/transport/tcp/ring_all_reduce.h"

namespace laconic::pccl {

// All-reduces of f32 that run at once between hosts of limited rate, each connection capped
// (SO_MAX_PACING_RATE). Error(unsupported) where there are no such hosts.
struct PoolTrial {
  int peers = 4, pool = 1, operations = 16;
  std::size_t numbers = 1'000'000;                   // of an operation
  double connection_rate = 40e6, host_rate = 400e6;  // bits per second
  int rounds = 1;
};
struct PoolResult {
  double seconds = 0;     // of all operations, median round
  double sent_bytes = 0;  // of a peer and round, frames included
  bool same_bits = false;
};
PoolResult measure_pool(const PoolTrial& trial);

// A ring in the random order of its members' names, the third link of which is slow from then on, before and
// after peers measure all pairs and order themselves by that.
struct RingOrderTrial {
  int peers = 4;
  std::size_t numbers = 8'000'000;
  double host_rate = 400e6, slow_rate = 50e6;  // bits per second
  int rounds = 3;
};
struct RingOrderResult {
  double before = 0, after = 0;  // seconds of an all-reduce, median round
  double ordering = 0;           // seconds of measuring and reordering
  bool avoids_slow = false;      // no link of the new ring joins the slow pair
};
RingOrderResult measure_ring_order(const RingOrderTrial& trial);

// A peer that leaves its run in the middle of an all-reduce over slow connections of the loopback: when the
// operation has ended at those who are left.
enum class AbortForm {
  whole_protocol,  // the master tells all; the ring is rewired
  told,            // whoever notices tells all, nobody is asked; no rewiring
  closing,         // nobody tells; whoever notices closes its connections
  nothing          // nobody tells, connections stay open
};
struct AbortResult {
  double seconds = 0;  // from the loss until the last survivor's operation has ended; of those that ended
  int blocked = 0;     // survivors that still waited at the limit
};
AbortResult measure_abort(AbortForm form, int peers, double limit);

// What truncation and rounding do, in steps of a block's grid: code and mean error.
struct RoundingResult {
  std::vector<int> codes;  // of the numbers given
  double mean_error = 0;   // decoded minus given
};
RoundingResult round_block(const std::vector<float>& numbers, WireRounding rounding);
// Mean error of uniform numbers over whole blocks, in steps.
double rounding_bias(WireRounding rounding, std::uint64_t seed);

struct RouteError {
  double error = 0;       // root mean square against the exact mean, over the mean's own root mean square
  double sent_bytes = 0;  // of a peer, frames included
  bool same_bits = false;
};
RouteError measure_route_error(AllReduceAlgorithm route, int peers, std::size_t numbers, int bits,
                               std::uint64_t seed);

}  // namespace laconic::pccl
