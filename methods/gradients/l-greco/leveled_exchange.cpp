#include "methods/gradients/l-greco/leveled_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/codec/composition.h"
#include "engine/codec/message.h"
#include "engine/exchange/gathered_exchange.h"
#include "engine/exchange/low_rank_exchange.h"
#include "engine/math/subspace_error.h"
#include "engine/math/svd.h"

namespace laconic::l_greco {
namespace {

using Codecs = std::vector<std::shared_ptr<const TensorCodec>>;

// One pass of the real compressor per level: its bytes are counted, not predicted.
LevelCosts measured_costs(const Codecs& codecs, const TensorSlice& tensor, std::span<const float> gradient,
                          std::uint64_t seed) {
  LevelCosts costs;
  EncodeContext context;
  context.seed = seed;
  context.tensor_name = tensor.name;
  const Shape flat{static_cast<std::int64_t>(tensor.size)};
  const TensorView view{DType::f32, flat, reinterpret_cast<const std::byte*>(gradient.data())};
  for (const auto& codec : codecs) {
    const Payload payload = codec->encode(view, context);
    ByteWriter writer;
    write_message(writer, payload);
    std::vector<float> decoded(tensor.size, 0.0f);
    codec->add_decoded(payload, decoded);
    double square = 0;
    for (std::size_t i = 0; i < decoded.size(); ++i) {
      const double lost = static_cast<double>(gradient[i]) - decoded[i];
      square += lost * lost;
    }
    costs.error.push_back(std::sqrt(square));
    costs.bytes.push_back(writer.size());
  }
  return costs;
}

LeveledExchange gathered_levels(const LevelRequest& request, Codecs codecs, std::vector<std::string> names,
                                std::size_t default_level, std::size_t least_size) {
  LeveledExchange made;
  made.levels = std::move(names);
  made.default_level = default_level;
  std::vector<TensorTravel> travel(request.tensors.size());
  for (std::size_t i = 0; i < travel.size(); ++i) {
    const TensorSlice& tensor = request.tensors[i];
    made.leveled.push_back(tensor.shape.size() >= 2 && tensor.size >= least_size);
    if (!made.leveled[i]) continue;
    travel[i].codec = codecs[default_level];
    if (request.feedback) travel[i].feedback = plain_error_feedback();
    travel[i].flat = true;
  }
  GatheredSettings settings;
  settings.seed = request.seed;
  settings.rank = request.rank;
  settings.bucket_bytes = request.bucket_bytes;
  auto exchange = std::make_unique<GatheredExchange>(request.tensors, std::move(travel), settings);
  GatheredExchange* inner = exchange.get();
  made.set_level = [inner, codecs](std::size_t tensor, std::size_t level) {
    inner->set_codec(tensor, codecs[level]);
  };
  made.costs = [codecs, tensors = request.tensors, seed = request.seed](std::size_t tensor,
                                                                        std::span<const float> gradient) {
    return measured_costs(codecs, tensors[tensor], gradient, seed);
  };
  made.watch = [inner](Watcher watcher) { inner->watch(std::move(watcher)); };
  made.exchange = std::move(exchange);
  return made;
}

// Square of the Frobenius norm.
// sqrt of the energy beyond the first r singular values, by r.
std::vector<double> tails_of(std::span<const float> gradient, const MatrixShape& matrix) {
  const Svd svd = exact_svd(gradient.data(), matrix.rows, matrix.columns);
  std::vector<double> tails(svd.values.size() + 1, 0.0);
  for (std::size_t r = svd.values.size(); r-- > 0;)
    tails[r] = tails[r + 1] + static_cast<double>(svd.values[r]) * svd.values[r];
  for (double& tail : tails) tail = std::sqrt(tail);
  return tails;
}

}  // namespace

LeveledExchange quantised_levels(const LevelRequest& request, int bits, int low, int high) {
  if (!(1 <= low && low <= bits && bits <= high && high <= 8))
    fail(ErrorKind::usage, "the default is not among the levels", "bits", "give 2 to 8 bits");
  Codecs codecs;
  std::vector<std::string> names;
  for (int level = low; level <= high; ++level) {
    codecs.push_back(parse_codec(fmt::format("uniform(bits={},group=1024,rounding=half_up)", level)));
    names.push_back(fmt::format("{} bits", level));
  }
  return gathered_levels(request, std::move(codecs), std::move(names), static_cast<std::size_t>(bits - low),
                         1024);
}

LeveledExchange sparse_levels(const LevelRequest& request, double density) {
  if (!(density > 0 && density <= 1))
    fail(ErrorKind::usage, "is not a share of the coordinates", "density", "give a number in (0, 1]");
  Codecs codecs;
  std::vector<std::string> names;
  std::size_t default_level = 0;
  for (int step = -5; step <= 5; ++step) {
    const double level = std::min(1.0, density * std::pow(10.0, step / 5.0));
    if (step == 0) default_level = codecs.size();
    codecs.push_back(parse_codec(fmt::format("outliers(fraction={:.6g})", level)));
    names.push_back(fmt::format("{:.3g} %", 100 * level));
    if (level == 1.0) break;
  }
  return gathered_levels(request, std::move(codecs), std::move(names), default_level, 2);
}

LeveledExchange low_rank_levels(const LevelRequest& request, const LowRankRange& range) {
  if (range.rank < 1) fail(ErrorKind::usage, "a rank is at least 1", "rank");
  if (!(range.low > 0 && range.low <= 1 && range.high >= 1))
    fail(ErrorKind::usage, "the default is not among the levels", "rank",
         "the range goes from a share of the rank, at most 1, to a multiple of it");
  const auto rank = static_cast<double>(range.rank);
  const auto lowest = std::max<std::int64_t>(1, static_cast<std::int64_t>(std::floor(range.low * rank)));
  const auto highest = static_cast<std::int64_t>(std::ceil(range.high * rank));
  LeveledExchange made;
  std::vector<std::int64_t> level_ranks;
  for (std::int64_t level = lowest; level <= highest; ++level) {
    if (level == range.rank) made.default_level = level_ranks.size();
    level_ranks.push_back(level);
    made.levels.push_back(fmt::format("rank {}", level));
  }
  if (level_ranks.size() > 255) fail(ErrorKind::usage, "over 255 ranks to choose from", "rank");
  const std::vector<std::int64_t> ranks = worthwhile_ranks(request.tensors, range.rank);
  std::vector<MatrixShape> matrices(ranks.size());
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    made.leveled.push_back(ranks[i] > 0);
    if (ranks[i] > 0) matrices[i] = *matrix_shape(request.tensors[i].shape);
  }
  LowRankSettings settings;
  settings.seed = request.seed;
  settings.bucket_bytes = request.bucket_bytes;
  settings.feedback = request.feedback;
  settings.factors = range.factors;
  const std::int64_t width = range.factors == DenseForm::bf16 ? 2 : 4;
  auto exchange = std::make_unique<LowRankExchange>(request.tensors, ranks, settings);
  LowRankExchange* inner = exchange.get();
  made.set_level = [inner, level_ranks, matrices](std::size_t tensor, std::size_t level) {
    const MatrixShape& matrix = matrices[tensor];
    inner->set_rank(tensor, std::min({level_ranks[level], matrix.rows, matrix.columns}));
  };
  made.costs = [level_ranks, matrices, width, exact = range.exact, seed = request.seed,
                tensors = request.tensors](std::size_t tensor, std::span<const float> gradient) {
    const MatrixShape& matrix = matrices[tensor];
    const std::int64_t side = std::min(matrix.rows, matrix.columns);
    LevelCosts costs;
    std::vector<double> tails;
    if (exact) tails = tails_of(gradient, matrix);
    for (const std::int64_t level : level_ranks) {
      const std::int64_t fitting = std::min(level, side);
      if (level > side && !costs.bytes.empty()) {
        // Not available: a truthful level of the same error is always cheaper.
        costs.bytes.push_back(static_cast<std::uint64_t>((matrix.rows + matrix.columns) * side * width + 1));
        costs.error.push_back(costs.error.back());
        continue;
      }
      costs.bytes.push_back(static_cast<std::uint64_t>((matrix.rows + matrix.columns) * fitting * width));
      costs.error.push_back(
          exact ? tails[static_cast<std::size_t>(fitting)]
                : subspace_error(gradient, matrix.rows, matrix.columns, fitting,
                                 RandomStream(seed, "l-greco subspace", tensors[tensor].name)));
    }
    return costs;
  };
  made.watch = [inner](Watcher watcher) { inner->watch(std::move(watcher)); };
  made.exchange = std::move(exchange);
  return made;
}

}  // namespace laconic::l_greco
