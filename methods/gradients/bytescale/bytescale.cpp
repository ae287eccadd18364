// Mixed-length training on one token-even dimension of ranks (hybrid data parallelism): a planner that sees
// lengths alone (planner.h) gives short sequences to single ranks in packs and long ones to groups of any
// size, balanced by what they cost; groups attend in rings on one communicator (engine/attention
// /ring_attention.h), activations of long sequences go to host memory where that is free (step_costs.h, Eq.
// 3), and every token counts the same in the gradient whoever computes it. `laconic bench mixed-length` plans
// and simulates a batch; real runs are the lab's (mixed_length_training.h).
//
// Departures from the card are named in planner.h; the remote data loader is the plan itself, which is made a
// step ahead and names the tokens that each rank reads.
#include "methods/gradients/bytescale/reproduce.h"
#include "methods/method.h"

namespace laconic {

MethodDescription describe_bytescale() {
  MethodDescription method;
  method.slug = "bytescale";
  method.card = 30;
  method.title =
      "ByteScale: Communication-Efficient Scaling of LLM Training with a 2048K Context Length on More Than "
      "12,000 GPUs";
  method.paper = "Ge, Feng, Huang, Fu, Nie, Zuo, Lin, Cui, Liu, SIGCOMM 2025, arXiv 2502.21231";
  method.subject = "gradients";
  method.summary = "plans of mixed-length batches: fewest ranks per sequence, equal finish times";
  method.reproduce = bytescale::reproduce;
  return method;
}

}  // namespace laconic
