// T3: a tensor-parallel product whose finished tiles trigger the reduce-scatter of its sum, and a simulation
// of the hardware that the paper proposes for it. In software: engine/overlap (output maps, tracker,
// triggers) on the tiled product of engine/math; `laconic bench overlap` measures it beside its model.
// Nothing is stored smaller; what is saved is time.
//
// Departures from the card: sub-chunks are runs of whole tiles, so they leave before their chunk is made and
// overlapping may end earlier than max(G, G / W + (W - 1) s), which lets whole chunks travel; arrivals are
// polled by the thread that also sends, because a communicator belongs to one thread; the sequential form is
// pipelined in sub-chunks, too, as the strongest baseline. In the simulation efficiency and threshold are
// calibrated on one case, updates near memory occupy it twice as long as plain stores (ours), and the layer's
// remaining time is 42.5 %, the middle of what the paper states.
#include "methods/gradients/t3/reproduce.h"
#include "methods/method.h"

namespace laconic {

MethodDescription describe_t3() {
  MethodDescription method;
  method.slug = "t3";
  method.card = 58;
  method.title = "T3: Transparent Tracking & Triggering for Fine-grained Overlap of Compute & Collectives";
  method.paper = "Pati, Aga, Islam, Jayasena, Sinclair, ASPLOS 2024, arXiv 2401.16677";
  method.subject = "gradients";
  method.summary = "finished tiles of a product trigger their part of its reduce-scatter";
  method.reproduce = t3::reproduce;
  return method;
}

}  // namespace laconic
