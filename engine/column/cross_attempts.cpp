// Which earlier columns of the same rows are worth a trial: found on a few rows.
#include <algorithm>
#include <limits>

#include "engine/column/column_attempt.h"
#include "engine/column/prediction_codec.h"

namespace laconic {
namespace {

constexpr std::size_t near_columns = 16;
constexpr std::size_t probed_rows = 512;

std::uint64_t wrapped_difference(std::int64_t y, std::int64_t x, std::int64_t factor) {
  return static_cast<std::uint64_t>(y) - static_cast<std::uint64_t>(factor) * static_cast<std::uint64_t>(x);
}

// Largest minus smallest y - factor x.
std::uint64_t spread(std::span<const std::int64_t> y, std::span<const std::int64_t> x, std::int64_t factor) {
  const std::size_t rows = std::min(y.size(), probed_rows);
  std::int64_t low = std::numeric_limits<std::int64_t>::max();
  std::int64_t high = std::numeric_limits<std::int64_t>::min();
  for (std::size_t row = 0; row < rows; ++row) {
    const auto rest = static_cast<std::int64_t>(wrapped_difference(y[row], x[row], factor));
    low = std::min(low, rest);
    high = std::max(high, rest);
  }
  return static_cast<std::uint64_t>(high) - static_cast<std::uint64_t>(low);
}

// The slope between the first two rows with different x, where it is whole; else 1.
std::int64_t slope_of(std::span<const std::int64_t> y, std::span<const std::int64_t> x) {
  for (std::size_t row = 1; row < std::min(y.size(), probed_rows); ++row) {
    if (x[row] == x[0]) continue;
    const std::int64_t run = x[row] - x[0];
    const std::int64_t rise = y[row] - y[0];
    return rise % run == 0 && rise != 0 ? rise / run : 1;
  }
  return 1;
}

}  // namespace

void ColumnEncoder::add_number_attempts(ColumnFacts& column, const AlignedColumns* group,
                                        std::vector<Attempt>& attempts) const {
  const std::optional<NumberColumn>& numbers = column.numbers();
  if (!numbers) return;
  for (const NumberPacking packing : {NumberPacking::varints, NumberPacking::planes}) {
    for (std::uint8_t form = 0; form < static_cast<std::uint8_t>(NumberTransform::linear); ++form) {
      if (form > 0 && !options_.deltas) continue;
      attempts.push_back({Attempt::Family::numbers, form, packing});
    }
  }
  if (group == nullptr || !options_.cross_columns) return;
  const std::uint64_t alone = spread(numbers->values, numbers->values, 0);
  Attempt best{Attempt::Family::numbers, static_cast<std::uint8_t>(NumberTransform::linear)};
  std::uint64_t narrowest = alone;
  for (std::uint32_t distance = 1; distance <= std::min(group->size(), near_columns); ++distance) {
    const std::optional<NumberColumn>& other = (*group)[group->size() - distance]->numbers();
    if (!other || other->values.size() < numbers->values.size()) continue;
    for (const std::int64_t factor : {std::int64_t{1}, slope_of(numbers->values, other->values)}) {
      const std::uint64_t rest = spread(numbers->values, other->values, factor);
      if (rest >= narrowest) continue;
      narrowest = rest;
      best.distance = distance;
      best.factor = factor;
    }
  }
  if (best.distance == 0) return;
  for (const NumberPacking packing : {NumberPacking::varints, NumberPacking::planes}) {
    best.packing = packing;
    attempts.push_back(best);
  }
}

void ColumnEncoder::add_prediction_attempts(ColumnFacts& column, const AlignedColumns& group,
                                            std::vector<Attempt>& attempts) const {
  const std::size_t rows = std::min(column.rows(), probed_rows);
  for (const Prediction prediction : {Prediction::equal_but_for, Prediction::mapped}) {
    std::size_t most = rows / 2;
    Attempt best{Attempt::Family::predicted, static_cast<std::uint8_t>(prediction)};
    for (std::uint32_t distance = 1; distance <= std::min(group.size(), near_columns); ++distance) {
      ColumnFacts& other = *group[group.size() - distance];
      if (other.rows() < column.rows()) continue;
      const std::size_t hits = predicted_rows(column, other, prediction, rows);
      if (hits <= most) continue;
      most = hits;
      best.distance = distance;
    }
    if (best.distance > 0) attempts.push_back(best);
  }
}

}  // namespace laconic
