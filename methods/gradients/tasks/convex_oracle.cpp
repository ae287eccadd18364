#include "methods/gradients/tasks/convex_oracle.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"

namespace laconic {

ConvexOracle::ConvexOracle(LinearModel model, Partition rows, std::int64_t batch, std::uint64_t seed)
    : model_(std::move(model)), rows_(std::move(rows)), batch_(batch), seed_(seed) {
  if (rows_.empty() || rows_.size() > 65536 || batch < 0)
    fail(ErrorKind::usage, "1 to 65536 workers share the rows, with batches of 0 or more");
  for (const auto& part : rows_) {
    for (const std::int64_t row : part)
      require(row >= 0 && row < model_.examples(), "rows that the model has");
  }
}

void ConvexOracle::evaluate(std::span<const double> point, int worker, std::uint64_t sample,
                            std::span<double> vector) const {
  const std::vector<std::int64_t>& own = rows_of(worker);
  if (batch_ == 0 || sample == all_samples || own.empty()) {
    model_.gradient_only(point, std::span<const std::int64_t>(own), vector);
    return;
  }
  RandomStream random(seed_, "minibatch", "convex oracle", sample, static_cast<std::uint16_t>(worker));
  thread_local std::vector<std::int64_t> drawn;
  drawn.resize(static_cast<std::size_t>(batch_));
  for (std::int64_t& row : drawn) row = own[random.below(static_cast<std::uint32_t>(own.size()))];
  model_.gradient_only(point, std::span<const std::int64_t>(drawn), vector);
}

double ConvexOracle::value(std::span<const double> point) const {
  std::vector<double> ignored(dimension());
  return full_gradient(point, ignored);
}

double ConvexOracle::full_gradient(std::span<const double> point, std::span<double> gradient) const {
  // Parts of a fixed number of workers, added in order: the same bits at any number of threads.
  constexpr std::int64_t tile = 16;
  const std::int64_t count = workers(), tiles = (count + tile - 1) / tile;
  std::vector<std::vector<double>> sums(static_cast<std::size_t>(tiles));
  std::vector<double> values(static_cast<std::size_t>(tiles), 0);
  parallel_for(tiles, [&](std::int64_t t) {
    std::vector<double>& sum = sums[static_cast<std::size_t>(t)];
    sum.assign(dimension(), 0);
    std::vector<double> own(dimension());
    for (std::int64_t i = t * tile; i < std::min(count, (t + 1) * tile); ++i) {
      values[static_cast<std::size_t>(t)] +=
          model_.gradient(point, rows_of(static_cast<int>(i)), std::span<double>(own));
      for (std::size_t j = 0; j < own.size(); ++j) sum[j] += own[j];
    }
  });
  std::fill(gradient.begin(), gradient.end(), 0.0);
  double value = 0;
  for (std::size_t t = 0; t < sums.size(); ++t) {
    value += values[t];
    for (std::size_t j = 0; j < gradient.size(); ++j) gradient[j] += sums[t][j];
  }
  for (double& entry : gradient) entry /= static_cast<double>(count);
  return value / static_cast<double>(count);
}

double ConvexOracle::smoothness_of(int worker) const { return model_.smoothness(rows_of(worker)); }

std::vector<double> ConvexOracle::all_smoothness() const {
  std::vector<double> all(rows_.size());
  parallel_for(workers(), [&](std::int64_t i) {
    all[static_cast<std::size_t>(i)] = smoothness_of(static_cast<int>(i));
  });
  return all;
}

double ConvexOracle::smoothness() const {
  std::vector<std::int64_t> rows;
  std::vector<double> weights;
  for (const auto& part : rows_) {
    rows.insert(rows.end(), part.begin(), part.end());
    weights.insert(weights.end(), part.size(),
                   1 / (static_cast<double>(part.size()) * static_cast<double>(rows_.size())));
  }
  return model_.smoothness(rows, weights);
}

Partition partition_by_row_norm(const SparseExamples& rows, int workers) {
  std::vector<double> squares(static_cast<std::size_t>(rows.rows()), 0);
  for (std::int64_t i = 0; i < rows.rows(); ++i) {
    for (const float value : rows.row(i).values)
      squares[static_cast<std::size_t>(i)] += static_cast<double>(value) * value;
  }
  return partition_by_key(squares, workers);
}

}  // namespace laconic
