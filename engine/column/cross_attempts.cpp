// Which earlier columns of the same rows are worth a trial: found on a few rows.
#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <utility>

#include "engine/coding/integer_codes.h"
#include "engine/column/column_attempt.h"
#include "engine/column/prediction_codec.h"

namespace laconic {
namespace {

constexpr std::size_t near_columns = 16;  // to look for a line or a mapping
constexpr std::size_t far_columns = 64;   // to look for equal values
constexpr std::size_t probed_rows = 512;
// A mapping of many values is learnt in so many rows, and then has to tell all but one in so many for
// certain.
constexpr std::size_t probed_mapping = 8192, certain_mapping = 32;

std::uint64_t wrapped_difference(std::int64_t y, std::int64_t x, std::int64_t factor) {
  return static_cast<std::uint64_t>(y) - static_cast<std::uint64_t>(factor) * static_cast<std::uint64_t>(x);
}

// a - b modulo 2^64, as the codec counts.
std::int64_t wrapped_step(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(wrapped_difference(a, b, 1));
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
    const std::int64_t run = wrapped_step(x[row], x[0]);
    const std::int64_t rise = wrapped_step(y[row], y[0]);
    // The most negative number has no quotient by -1.
    if (rise == std::numeric_limits<std::int64_t>::min()) return 1;
    return rise % run == 0 && rise != 0 ? rise / run : 1;
  }
  return 1;
}

// Bits of the rests under each transform; one that does not fit has none.
struct TransformBits {
  std::array<std::uint64_t, number_transforms> bits{};
  std::array<bool, number_transforms> fits{true, true, true, true, false};

  explicit TransformBits(std::span<const std::int64_t> values) {
    using enum NumberTransform;
    std::int64_t step = 0;
    for (std::size_t i = 1; i < values.size(); ++i) {
      const std::int64_t last_step = std::exchange(step, wrapped_step(values[i], values[i - 1]));
      add(plain, static_cast<std::uint64_t>(values[i]), values[i] >= 0);
      add(delta, zig_zag(step), true);
      add(rising, static_cast<std::uint64_t>(step), values[i] >= values[i - 1]);
      if (i > 1) add(second_delta, zig_zag(wrapped_step(step, last_step)), true);
    }
    if (values[0] < 0) fits[0] = false;
    // A difference that never falls needs no sign.
    if (fits[static_cast<std::size_t>(rising)]) fits[static_cast<std::size_t>(delta)] = false;
  }
  // Whether it could be the best one when a coder has its say.
  bool promising(std::uint8_t transform) const {
    std::uint64_t fewest = std::numeric_limits<std::uint64_t>::max();
    for (std::size_t t = 0; t < bits.size(); ++t) {
      if (fits[t]) fewest = std::min(fewest, bits[t]);
    }
    return fits[transform] && bits[transform] <= fewest + fewest / 2 + 8;
  }

 private:
  void add(NumberTransform transform, std::uint64_t rest, bool possible) {
    const auto t = static_cast<std::size_t>(transform);
    bits[t] += static_cast<std::uint64_t>(std::bit_width(rest));
    fits[t] = fits[t] && possible;
  }
};

}  // namespace

void ColumnEncoder::add_number_attempts(ColumnFacts& column, const AlignedColumns* group,
                                        std::vector<Attempt>& attempts) const {
  const std::optional<NumberColumn>& numbers = column.numbers();
  if (!numbers) return;
  const TransformBits bits(numbers->values);
  for (const NumberPacking packing : {NumberPacking::varints, NumberPacking::planes}) {
    for (std::uint8_t form = 0; form < static_cast<std::uint8_t>(NumberTransform::linear); ++form) {
      const bool plain = form == static_cast<std::uint8_t>(NumberTransform::plain);
      if (plain ? !bits.fits[form] : !options_.deltas || !bits.promising(form)) continue;
      attempts.push_back({.family = Attempt::Family::numbers, .form = form, .packing = packing});
    }
  }
  if (group == nullptr || !options_.cross_columns) return;
  const std::uint64_t alone = spread(numbers->values, numbers->values, 0);
  Attempt best{.family = Attempt::Family::numbers,
               .form = static_cast<std::uint8_t>(NumberTransform::linear)};
  std::uint64_t narrowest = alone;
  for (std::uint32_t distance = 1; distance <= std::min(group->size(), near_columns); ++distance) {
    const std::optional<NumberColumn>& other =
        (*group)[group->size() - distance]->head(column.rows()).numbers();
    if (!other || other->values.size() != numbers->values.size()) continue;
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

// The rows of 512 that a mapping tells.
std::size_t ColumnEncoder::told_rows(ColumnFacts& column, ColumnFacts& other) {
  const std::size_t rows = std::min(column.rows(), probed_rows);
  const std::size_t hits = mapped_rows(column, other, rows).hits;
  if (2 * hits > rows || column.rows() <= rows) return hits;
  const std::size_t many = std::min(column.rows(), probed_mapping);
  const MappedRows learnt = mapped_rows(column, other, many);
  return certain_mapping * learnt.misses > learnt.hits ? 0 : learnt.hits * rows / many;
}

void ColumnEncoder::add_prediction_attempts(ColumnFacts& column, const AlignedColumns& group,
                                            std::vector<Attempt>& attempts) const {
  const std::size_t rows = std::min(column.rows(), probed_rows);
  for (const Prediction prediction : {Prediction::equal_but_for, Prediction::mapped}) {
    const bool mapped = prediction == Prediction::mapped;
    std::size_t most = rows / 2;
    Attempt best{.family = Attempt::Family::predicted, .form = static_cast<std::uint8_t>(prediction)};
    for (std::uint32_t distance = 1; distance <= std::min(group.size(), mapped ? near_columns : far_columns);
         ++distance) {
      ColumnFacts& other = group[group.size() - distance]->head(column.rows());
      if (other.rows() != column.rows()) continue;
      const std::size_t hits = mapped ? told_rows(column, other) : equal_rows(column, other, rows);
      if (hits <= most) continue;
      most = hits;
      best.distance = distance;
    }
    if (best.distance > 0) attempts.push_back(best);
  }
}

// Whether some word tells one in front of it and not the other way round, as the number of a file tells its
// folder: then the words had better be coded from the last one on.
bool ColumnEncoder::later_word_tells(std::span<const std::shared_ptr<ColumnFacts>> words, std::size_t rows) {
  constexpr std::size_t most_looked_at = 8;
  std::vector<ColumnFacts*> whole;
  for (const auto& word : words)
    if (word->rows() == rows && !word->constant() && whole.size() < most_looked_at)
      whole.push_back(word.get());
  const std::size_t half = std::min(rows, probed_rows) / 2;
  for (std::size_t later = 1; later < whole.size(); ++later)
    for (std::size_t i = 0; i < later; ++i)
      if (told_rows(*whole[i], *whole[later]) > half && told_rows(*whole[later], *whole[i]) <= half)
        return true;
  return false;
}

}  // namespace laconic
