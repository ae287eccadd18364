// PCCL (card 57): collectives over plain TCP that survive the loss of peers, with the same bits at every one
// that is left, exact or in 8- or 16-bit integers.
//
//   roles, connections, framing        engine/transport/tcp/{master,peer,peer_links,control_packets}.h
//   peer states, micro-consensus 1-6   engine/transport/tcp/{master_state,peer_state}.h
//   ring by measured bandwidths        engine/transport/tcp/bandwidth_probe.h, engine/math/ring_tour.h
//   collective a-i, ring and direct    engine/transport/tcp/{ring_all_reduce,reduction_form}.h
//   quantisation                       engine/transport/tcp/block_quantizer.h
//   shared state 1-6                   engine/transport/tcp/{state_transfer,content_hash}.h
//
// As an exchange of training it is the quantised all-reduce over whatever carries the run's messages
// (engine/exchange/block_quantized_exchange.h); with `--transport tcp://MASTER` members come and go. DiLoCo
// with u8 messages is `--exchange "diloco over pccl"`. `laconic master` and `laconic peer-bench` are the
// collectives themselves.
//
// Departures from the card stand in the headers above: rounding to nearest and parameters of blocks in place
// of truncation and one pair for a chunk, ring cost by its slowest link, hashes of 128 bits.
#include <fmt/format.h>

#include "engine/exchange/block_quantized_exchange.h"
#include "engine/exchange/dense_exchange.h"
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/pccl/reproduce.h"

namespace laconic {
namespace {

TrainingExchange pccl_exchange(const ExchangeRequest& request) {
  const Parameters& p = request.parameters;
  TrainingExchange made;
  if (p.text("bits") == "32") {
    made.exchange = dense_exchange(request.tensors, DenseForm::f32, request.bucket_bytes);
    return made;
  }
  BlockQuantizedSettings settings;
  Quantization& quantization = settings.quantization;
  quantization.kind = p.text("grid") == "min-max" ? QuantizationKind::min_max : QuantizationKind::zero_point;
  quantization.bits = p.text("bits") == "8" ? 8 : 16;
  quantization.block = static_cast<std::uint32_t>(p.integer("block"));
  quantization.rounding = p.text("rounding") == "nearest"      ? WireRounding::nearest_even
                          : p.text("rounding") == "stochastic" ? WireRounding::stochastic
                                                               : WireRounding::truncate;
  quantization.seed = request.seed;
  settings.route = p.text("route") == "ring" ? QuantizedRoute::ring : QuantizedRoute::direct;
  settings.ranks = request.ranks;
  settings.rank = request.rank;
  settings.bucket_bytes = request.bucket_bytes;
  made.exchange = block_quantized_exchange(request.tensors, settings);
  return made;
}

}  // namespace

MethodDescription describe_pccl() {
  using Type = ParameterSpec::Type;
  MethodDescription method;
  method.slug = "pccl";
  method.card = 57;
  method.title = "Prime Collective Communications Library";
  method.paper = "Keiblinger, Sieg, Ong, Jaghouar, Hagemann, 2025, arXiv 2505.14065";
  method.subject = "gradients";
  method.summary = "means by an all-reduce in 8- or 16-bit blocks; over TCP, members may come and die";
  method.parameters = {
      {"bits", Type::choice, "8", 0, 0, {"8", "16", "32"}, "of a number on the wire; 32: f32, exact"},
      {"block", Type::integer, "1024", 16, 65536, {}, "numbers that share two parameters; a multiple of 16"},
      {"grid",
       Type::choice,
       "min-max",
       0,
       0,
       {"min-max", "zero-point"},
       "from the least number to the greatest, or with 0 exact"},
      {"rounding",
       Type::choice,
       "nearest",
       0,
       0,
       {"nearest", "stochastic", "truncated"},
       "truncated: as the published library, half a step too low"},
      {"route",
       Type::choice,
       "ring",
       0,
       0,
       {"ring", "direct"},
       "ring: rounded at every hop; direct: between all pairs, rounded twice"}};
  method.exchange = pccl_exchange;
  method.reproduce = pccl::reproduce;
  return method;
}

}  // namespace laconic
