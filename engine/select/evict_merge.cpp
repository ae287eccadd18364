#include "engine/select/evict_merge.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/math/blas.h"

namespace laconic {
namespace {

double norm_of(const float* row, std::int64_t width) {
  double sum = 0;
  for (std::int64_t j = 0; j < width; ++j) sum += static_cast<double>(row[j]) * static_cast<double>(row[j]);
  return std::sqrt(sum);
}

// Rows of length 1; those of norm 0 stay 0.
std::vector<float> directions(const float* rows, std::int64_t count, std::int64_t width) {
  std::vector<float> result(static_cast<std::size_t>(count * width));
  for (std::int64_t r = 0; r < count; ++r) {
    const double norm = norm_of(rows + r * width, width);
    if (norm == 0) continue;
    for (std::int64_t j = 0; j < width; ++j)
      result[static_cast<std::size_t>(r * width + j)] =
          static_cast<float>(static_cast<double>(rows[r * width + j]) / norm);
  }
  return result;
}

std::vector<float> cosines(const float* rows, std::int64_t count, const float* others, std::int64_t columns,
                           std::int64_t width) {
  const std::vector<float> a = directions(rows, count, width), b = directions(others, columns, width);
  std::vector<float> result(static_cast<std::size_t>(count * columns));
  gemm(Transpose::no, Transpose::yes, count, columns, width, 1.0f, a.data(), width, b.data(), width, 0.0f,
       result.data(), columns);
  return result;
}

float likeness_of(float keys, float values, bool clamp) {
  const float likeness = clamp ? std::max(0.0f, keys) * std::max(0.0f, values) : keys * values;
  return std::min(likeness, 1.0f);  // rounding must not pass a threshold of 1
}

}  // namespace

std::vector<std::int32_t> assign_to_centres(const TokenRows& tokens, const TokenRows& centres,
                                            float threshold, bool clamp) {
  require(tokens.key_width == centres.key_width && tokens.value_width == centres.value_width,
          "tokens and centres have rows of the same width");
  std::vector<std::int32_t> centre_of(static_cast<std::size_t>(tokens.count), zero_class);
  if (tokens.count == 0 || centres.count == 0) return centre_of;
  const std::vector<float> keys =
      cosines(tokens.keys, tokens.count, centres.keys, centres.count, tokens.key_width);
  const std::vector<float> values =
      cosines(tokens.values, tokens.count, centres.values, centres.count, tokens.value_width);
  for (std::int64_t x = 0; x < tokens.count; ++x) {
    float best = threshold;
    for (std::int64_t c = 0; c < centres.count; ++c) {
      const auto at = static_cast<std::size_t>(x * centres.count + c);
      const float likeness = likeness_of(keys[at], values[at], clamp);
      if (likeness > best) {
        best = likeness;
        centre_of[static_cast<std::size_t>(x)] = static_cast<std::int32_t>(c);
      }
    }
  }
  return centre_of;
}

Grouping distinct_centres(const TokenRows& rows, std::span<const std::int64_t> order, std::int64_t centres,
                          std::int64_t members, float threshold, bool clamp) {
  const auto count = static_cast<std::size_t>(rows.count);
  Grouping grouping;
  grouping.centre_of.assign(count, zero_class);
  const std::vector<float> keys = directions(rows.keys, rows.count, rows.key_width),
                           values = directions(rows.values, rows.count, rows.value_width);
  // Of each row, the centre so far that it resembles most.
  std::vector<float> likeness(count, threshold), of_keys(count), of_values(count);
  std::vector<std::int32_t> nearest(count, zero_class);
  const auto cosines_with = [&](const std::vector<float>& all, std::int64_t width, std::int64_t row,
                                std::vector<float>& result) {
    gemm(Transpose::no, Transpose::yes, rows.count, 1, width, 1.0f, all.data(), width,
         all.data() + row * width, width, 0.0f, result.data(), 1);
  };
  const auto open = [&](std::int64_t row) {
    const auto centre = static_cast<std::int32_t>(grouping.centres.size());
    grouping.centre_of[static_cast<std::size_t>(row)] = centre;
    grouping.centres.push_back(row);
    cosines_with(keys, rows.key_width, row, of_keys);
    cosines_with(values, rows.value_width, row, of_values);
    for (std::size_t x = 0; x < count; ++x) {
      const float found = likeness_of(of_keys[x], of_values[x], clamp);
      if (!(found > likeness[x])) continue;
      likeness[x] = found;
      nearest[x] = centre;
    }
  };
  const auto full = [&] { return static_cast<std::int64_t>(grouping.centres.size()) >= centres; };
  std::vector<std::int64_t> alike;  // rows that resemble a centre, whether or not they were given to it
  std::int64_t given = 0;
  for (const std::int64_t row : order) {
    if (full() && given >= members) break;
    const std::int32_t centre = nearest[static_cast<std::size_t>(row)];
    if (centre == zero_class) {
      if (!full()) open(row);
      continue;
    }
    alike.push_back(row);
    if (given >= members) continue;
    ++given;
    grouping.centre_of[static_cast<std::size_t>(row)] = centre;
  }
  for (const std::int64_t row : alike) {
    if (full()) break;
    open(row);
  }
  return grouping;
}

void merge_into_centres(const TokenRows& tokens, std::span<const std::int32_t> centre_of,
                        std::span<const float> token_weights, std::span<const float> centre_weights,
                        const TokenRows& centres, const MergeForm& form, MergedCentres& merged) {
  merged.weights.assign(centre_weights.begin(), centre_weights.end());
  std::vector<std::vector<std::int64_t>> groups(static_cast<std::size_t>(centres.count));
  for (std::int64_t x = 0; x < tokens.count; ++x) {
    const std::int32_t c = centre_of[static_cast<std::size_t>(x)];
    if (c != zero_class) groups.at(static_cast<std::size_t>(c)).push_back(x);
  }
  std::vector<double> value, direction;
  for (std::int64_t c = 0; c < centres.count; ++c) {
    const auto at = static_cast<std::size_t>(c);
    if (groups[at].empty()) continue;
    double mass = 0, norms = 0;
    value.assign(static_cast<std::size_t>(centres.value_width), 0);
    direction.assign(static_cast<std::size_t>(centres.key_width), 0);
    const auto add = [&](const float* key, const float* row, double weight) {
      mass += weight;
      for (std::size_t j = 0; j < value.size(); ++j) value[j] += weight * static_cast<double>(row[j]);
      const double norm = norm_of(key, centres.key_width);
      norms += weight * norm;
      if (norm == 0) return;
      for (std::size_t j = 0; j < direction.size(); ++j)
        direction[j] += weight * static_cast<double>(key[j]) / norm;
    };
    const float* centre_key = centres.keys + c * centres.key_width;
    add(centre_key, centres.values + c * centres.value_width, static_cast<double>(centre_weights[at]));
    for (const std::int64_t x : groups[at]) {
      add(tokens.keys + x * tokens.key_width, tokens.values + x * tokens.value_width,
          static_cast<double>(token_weights[static_cast<std::size_t>(x)]));
    }
    if (!(mass > 0)) continue;
    merged.weights[at] = static_cast<float>(mass);
    for (std::size_t j = 0; j < value.size(); ++j)
      merged.values[static_cast<std::size_t>(c * centres.value_width) + j] =
          static_cast<float>(value[j] / mass);
    if (!form.keys) continue;
    double length = 0;
    for (const double x : direction) length += x * x;
    length = std::sqrt(length);
    if (length < 1e-6 * mass) continue;
    const double norm = form.mean_norm ? norms / mass : norm_of(centre_key, centres.key_width);
    for (std::size_t j = 0; j < direction.size(); ++j)
      merged.keys[static_cast<std::size_t>(c * centres.key_width) + j] =
          static_cast<float>(direction[j] / length * norm);
  }
}

}  // namespace laconic
