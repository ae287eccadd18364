// MatryoshkaKV (card 62): keys and values of each KV head in a trained orthonormal basis whose columns are
// ordered by usefulness, so that one base serves every rank, and ranks may differ from head to head.
//
// Departures: bases are stored as the free matrix of their Cayley form, half the numbers, and always exactly
// orthogonal; the output's basis is not folded into the output projection, because exact tokens share the
// sum: it is applied once per query and step.
#include <algorithm>

#include "methods/cache/matryoshkakv/reproduce.h"
#include "methods/cache/matryoshkakv/rotated_map.h"
#include "methods/cache/matryoshkakv/rotation_base.h"
#include "methods/method.h"

#include "engine/base/error.h"

namespace laconic {
namespace {

using matryoshkakv::RankTable;

// The searched ranks of a budget, where the base has them.
RankTable matryoshka_ranks(const Parameters& p, const KvShape& shape, const TrainedBase& base) {
  const double share = p.number("rank");
  const std::string& wanted = p.text("ranks");
  const bool searched = base.has("rank_order");
  if (wanted == "searched" && !searched) {
    fail(ErrorKind::input, "has no searched ranks", base.path().string(),
         "make it with search=true, or use ranks=uniform");
  }
  if (wanted == "uniform" || !searched) return matryoshkakv::uniform_ranks(shape, share);
  const std::vector<std::int32_t> order = base.integers("rank_order");
  if (order.empty() || order.front() < 1 || order.front() > shape.head_dim)
    fail(ErrorKind::input, "its rank order has no step", base.path().string(), "make it again");
  std::vector<std::size_t> lowered;
  for (std::size_t i = 1; i < order.size(); ++i) lowered.push_back(static_cast<std::size_t>(order[i]));
  const DescentSpace space = matryoshkakv::rank_space(shape, order.front(), share);
  const std::uint64_t all = space.cost.size() * static_cast<std::uint64_t>(shape.head_dim);
  // A search that ended above the budget has nothing to say about it.
  if (wanted == "auto" &&
      all - std::min(all, lowered.size() * static_cast<std::uint64_t>(order.front())) > space.budget)
    return matryoshkakv::uniform_ranks(shape, share);
  return matryoshkakv::ranks_of(shape, space, replay_descent(space, lowered));
}

CacheStageMaker matryoshka_stages(const Parameters& p, const CacheRequest& request) {
  const TrainedBase base(request, "matryoshkakv", p.text("base"));
  const auto map = matryoshkakv::rotated_map(request.shape, matryoshkakv::read_bases(request.shape, base),
                                             matryoshka_ranks(p, request.shape, base));
  const std::int64_t window = p.integer("window");
  return [map, window](std::int64_t, KvStages& stages) {
    stages.features = map;
    if (stages.split == nullptr) stages.window = {window, window == 0 ? 1 : 32, 1, DType::f16};
  };
}

}  // namespace

MethodDescription describe_matryoshkakv() {
  using Type = ParameterSpec::Type;
  MethodDescription method;
  method.slug = "matryoshkakv";
  method.card = 62;
  method.title = "MatryoshkaKV: Adaptive KV Compression via Trainable Orthogonal Projection";
  method.paper = "Lin, Zeng, Xiao, Kou, Hou, Gao, Zhang, Deng, ICLR 2025, arXiv 2410.14731";
  method.subject = "cache";
  method.summary = "keys and values in trained orthonormal bases with nested ranks, a rank for each head";
  method.parameters = {
      {"rank", Type::number, "0.5", 0.001, 1, {}, "mean share of a head's numbers that is kept"},
      {"ranks",
       Type::choice,
       "auto",
       0,
       0,
       {"auto", "uniform", "searched"},
       "the same rank in all heads, or those of the base's search; auto: searched where it went so far"},
      {"window", Type::integer, "32", 0, 4096, {}, "exact tokens; 0: none, every token is projected at once"},
      {"base", Type::text, "matryoshkakv", 0, 0, {}, "name of the trained base, kv/NAME.safetensors"}};
  CacheMethod cache;
  cache.axes = {CacheAxis::features};
  cache.make = matryoshka_stages;
  cache.sizes = [](const Parameters& p) {
    return sizes_by(p, "rank", {"1", "0.875", "0.75", "0.625", "0.5", "0.375", "0.25", "0.125"});
  };
  cache.base_parameters = matryoshkakv::rotation_base_parameters();
  cache.make_base = matryoshkakv::make_rotation_base;
  cache.base_version = matryoshkakv::base_version;
  method.cache = std::move(cache);
  method.reproduce = matryoshkakv::reproduce;
  return method;
}

}  // namespace laconic
