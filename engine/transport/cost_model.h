// The alpha-beta model of an exchange: a message of n bytes takes alpha + n beta seconds on a link; what
// rounds a collective needs, and how many bytes each moves, follows from how it is built here (collectives.h,
// reductions.h). It predicts step times for links and numbers of ranks that cannot be run; bench/network
// checks it against runs that can.
#pragma once

#include <cstdint>

namespace laconic {

struct Link {
  double alpha = 0;  // seconds per message
  double beta = 0;   // seconds per byte
  // One bucket that all ranks share (a limited loopback), or a link of its own for each rank in each
  // direction.
  bool shared = false;
};

// Seconds that one exchange takes, `bytes` as stated.
double ring_all_reduce_seconds(const Link& link, int ranks, double bytes);  // of the vector
double all_gather_seconds(const Link& link, int ranks, double bytes);       // of each rank's own message
double owners_seconds(const Link& link, int ranks,
                      double part_bytes);  // all-to-all of parts, then all-gather
double broadcast_seconds(const Link& link, int ranks, double bytes);

// A step of data-parallel training: computation, encoding and decoding, and communication of which `overlap`
// (0 to 1) of the computation can hide.
struct StepCost {
  double compute = 0, encode = 0, decode = 0, communicate = 0;  // seconds
  double overlap = 0;
};
double step_seconds(const StepCost& cost);
// (compute + dense communication) / compute: the largest speed-up that compression can bring.
double largest_speedup(double compute_seconds, double dense_seconds);

// Least-squares alpha and beta from measured seconds of messages; needs two different sizes.
Link fit_link(const double* bytes, const double* seconds, int count);

}  // namespace laconic
