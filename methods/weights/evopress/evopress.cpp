// EvoPress (Sieberling, Kuznedelev, Kurtic, Alistarh 2024, arXiv 2410.14649), card 23: which level each layer
// gets is found by an evolutionary search on the end-to-end divergence from the dense model, not from errors
// of single layers.
//
//   task      a unit's levels                                       what is stored
//   bits      its GPTQ (or decoupled, or rounded) form at 2..6 bits  codes, scales, zeros
//   sparsity  its pruned form at cost-equal sparsities              bitmap and the values that are left
//   depth     the attention or MLP half of a block: kept, dropped   all of it, or nothing
#include "methods/weights/evopress/depth.h"
#include "methods/weights/evopress/level_search.h"
#include "methods/weights/evopress/options.h"
#include "methods/weights/evopress/reproduce.h"

namespace laconic {

MethodDescription describe_evopress() {
  MethodDescription method;
  method.slug = "evopress";
  method.card = 23;
  method.title = "EvoPress: Accurate Dynamic Model Compression via Evolutionary Search";
  method.paper = "Sieberling, Kuznedelev, Kurtic, Alistarh; ICML 2025; arXiv 2410.14649";
  method.subject = "weights";
  method.summary = "search widths, sparsities or dropped sub-blocks for the least divergence at a size";
  method.needs_calibration = true;
  method.parameters = evopress::parameters();
  method.compress = [](const CompressionRequest& request) {
    return evopress::task_of(request.parameters) == evopress::Task::depth
               ? evopress::compress_depth(request)
               : evopress::compress_levels(request);
  };
  method.reproduce = evopress::reproduce;
  return method;
}

}  // namespace laconic
