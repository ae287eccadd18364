// How much attention must move, and what moves it: the red-blue pebble game of (N, d, M) with its schedules
// and bound (engine/attention/io_model.h), their simulation on real numbers (scheduled_attention.h), the
// choice for the caches of a machine (plan.h) and the kernel that runs with the chosen tiles
// (tiled_attention.h). Nothing is stored smaller; it is what prefill attends with, and `laconic bench
// attention --plan` prints the plans.
//
// Departures from the card: the rows of a query block of schedule fa1 pass one at a time, because beside 2 Bc
// d words of keys and values there is no room for the 2 Br d words of its block and its statistics (what
// moves is the same); fa1, too, refuses fewer than 4 d + 8 words; the kernel keeps scores transposed, so its
// register block is 4 keys by 64 rows with AVX-512 and 6 by 16 with AVX2 instead of 4 by 16.
#include "methods/cache/attention-io/reproduce.h"
#include "methods/method.h"

namespace laconic {

MethodDescription describe_attention_io() {
  MethodDescription method;
  method.slug = "attention-io";
  method.card = 5;
  method.title = "The I/O Complexity of Attention, or How Optimal is Flash Attention?";
  method.paper = "Saha, Ye, ICML 2024, arXiv 2402.07443";
  method.subject = "attention";
  method.summary = "tiles and schedules of attention from what it must move between two levels of memory";
  method.reproduce = attention_io::reproduce;
  return method;
}

}  // namespace laconic
