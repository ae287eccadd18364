#include "engine/codec/absolute_value_decomposition.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/codec/low_rank_product.h"
#include "engine/codec/stored_values.h"
#include "engine/codec/uniform_payload.h"
#include "engine/codec/unit_range.h"
#include "engine/coding/bit_packing.h"
#include "engine/math/svd.h"

namespace laconic {
namespace {

std::size_t elements(std::int64_t rows, std::int64_t columns) {
  return static_cast<std::size_t>(rows * columns);
}

std::vector<std::uint8_t> packed_signs(const float* values, std::size_t count) {
  std::vector<std::uint8_t> bits(count);
  for (std::size_t i = 0; i < count; ++i) bits[i] = values[i] >= 0;  // -0 is +1 too
  std::vector<std::uint8_t> packed(packed_bytes(count, 1));
  pack_bits(bits, 1, packed);
  return packed;
}

// The matrix that is decomposed: |R| (or R), times the channel scale, brought to unit range.
std::vector<float> subject(const float* residual, std::int64_t rows, std::int64_t columns,
                           const BlockOptions& options, int& exponent) {
  std::vector<float> values(residual, residual + elements(rows, columns));
  // First to unit range: the scaled entries then stay finite whatever the units of the weights are.
  exponent = to_unit_range(values);
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < columns; ++j) {
      float& value = values[static_cast<std::size_t>(i * columns + j)];
      if (options.signs) value = std::abs(value);
      if (options.channel_scale != nullptr) value *= options.channel_scale[j];
    }
  }
  exponent += to_unit_range(values);
  return values;
}

// A = U sqrt(sigma), B = sqrt(sigma) V^T diag(1/s), times the power of two that was taken out.
void fill_factors(const Svd& svd, const BlockOptions& options, int exponent, SignBlock& block) {
  const std::int64_t rank = block.rank;
  block.a.resize(elements(block.rows, rank));
  block.b.resize(elements(rank, block.columns));
  const int right = exponent / 2;
  for (std::int64_t r = 0; r < rank; ++r) {
    const float root = std::sqrt(svd.values[static_cast<std::size_t>(r)]);
    for (std::int64_t i = 0; i < block.rows; ++i) {
      block.a[static_cast<std::size_t>(i * rank + r)] =
          std::ldexp(svd.u[static_cast<std::size_t>(i * svd.rank + r)] * root, exponent - right);
    }
    for (std::int64_t j = 0; j < block.columns; ++j) {
      const auto at = static_cast<std::size_t>(r * block.columns + j);
      const float scale = options.channel_scale == nullptr ? 1.0f : options.channel_scale[j];
      block.b[at] = std::ldexp(svd.v[at] * root / scale, right);
    }
  }
}

void check_scale(const float* scale, std::int64_t columns, std::string_view name) {
  for (std::int64_t j = 0; scale != nullptr && j < columns; ++j) {
    if (!(scale[j] > 0) || !std::isfinite(scale[j])) {
      fail(ErrorKind::input, "channel scale " + std::to_string(j) + " is not a positive number", name,
           "calibrate on other text");
    }
  }
}

}  // namespace

std::int64_t default_sign_rank(std::int64_t rows, std::int64_t columns) {
  if (rows == 0 || columns == 0) return 0;
  const double share = static_cast<double>(rows) * static_cast<double>(columns) /
                       (128.0 * static_cast<double>(rows + columns));
  const auto rank = static_cast<std::int64_t>(std::nearbyint(share));
  return std::clamp<std::int64_t>(rank, 1, std::min(rows, columns));
}

std::int64_t unsigned_rank(std::int64_t rows, std::int64_t columns, std::int64_t rank) {
  if (rows == 0 || columns == 0) return 0;
  return std::min(rank + rows * columns / (16 * (rows + columns)), std::min(rows, columns));
}

std::vector<float> channel_scale(std::span<const float> channel_norm) {
  std::vector<float> scale(channel_norm.begin(), channel_norm.end());
  for (float& value : scale) value += 1e-3f;
  return scale;
}

SignBlock absolute_value_block(const float* residual, std::int64_t rows, std::int64_t columns,
                               const BlockOptions& options, RandomStream random, std::vector<float>* exact) {
  SignBlock block;
  block.rows = rows;
  block.columns = columns;
  block.rank = options.rank == 0 ? default_sign_rank(rows, columns) : options.rank;
  block.rank = std::min({block.rank, rows, columns});
  if (!options.signs) block.rank = unsigned_rank(rows, columns, block.rank);
  if (options.signs) block.signs = packed_signs(residual, elements(rows, columns));
  int exponent = 0;
  const std::vector<float> values = subject(residual, rows, columns, options, exponent);
  fill_factors(truncated_svd(values.data(), rows, columns, block.rank, random), options, exponent, block);
  if (exact != nullptr) {
    exact->assign(elements(rows, columns), 0.0f);
    add_block(block, exact->data());
  }
  const StoredFactors stored = store_factors(block.a, block.b, rows, columns, block.rank, options.dtype);
  block.dtype = stored.a.dtype();
  return block;
}

void add_block(const SignBlock& block, float* sum) {
  add_low_rank(block.a.data(), block.b.data(), block.rows, block.columns, block.rank,
               block.signs.empty() ? nullptr : block.signs.data(), sum);
}

Decomposition absolute_value_decomposition(const float* weights, std::int64_t rows, std::int64_t columns,
                                           const DecompositionOptions& options, std::uint64_t seed,
                                           std::string_view name) {
  const std::size_t count = elements(rows, columns);
  require_finite({weights, count}, name);
  check_scale(options.channel_scale, columns, name);
  Decomposition result;
  // R is W minus the sum of the blocks, not a chain of differences: a reader adds the blocks in this order
  // too, so what the next block sees is exactly what a reader still lacks.
  std::vector<float> sum(count, 0.0f), residual(weights, weights + count), exact;
  Progress progress(options.progress, "absolute value decomposition", options.blocks);
  for (int i = 0; i < options.blocks; ++i) {
    if (std::all_of(residual.begin(), residual.end(), [](float value) { return value == 0; })) break;
    result.blocks.push_back(absolute_value_block(residual.data(), rows, columns, options,
                                                 RandomStream(seed, "absolute value decomposition", name),
                                                 options.official_residual ? &exact : nullptr));
    double norm = 0;
    if (!options.official_residual) add_block(result.blocks.back(), sum.data());
    for (std::size_t at = 0; at < count; ++at) {
      residual[at] = options.official_residual ? residual[at] - exact[at] : weights[at] - sum[at];
      norm += static_cast<double>(residual[at]) * residual[at];
    }
    result.residual_norms.push_back(std::sqrt(norm));
    require_finite(residual, name);
    progress.advance();
  }
  return result;
}

Payload sign_payload(const SignBlock& block, std::string codec, DType dtype, const Shape& shape) {
  Payload payload;
  payload.codec = std::move(codec);
  payload.dtype = dtype;
  payload.shape = shape;
  payload.attributes.set("rank", block.rank);
  if (!block.signs.empty() || element_count(shape) == 0) {
    Tensor signs(DType::u8, {static_cast<std::int64_t>(block.signs.size())});
    std::copy(block.signs.begin(), block.signs.end(), signs.as<std::uint8_t>().begin());
    payload.add("signs", std::move(signs));
  }
  payload.add("left", Tensor::from_f32({block.rows, block.rank}, block.a, block.dtype));
  payload.add("right", Tensor::from_f32({block.rank, block.columns}, block.b, block.dtype));
  return payload;
}

SignBlock parse_sign(const Payload& payload) {
  require_decodable(payload);
  SignBlock block;
  block.rows = matrix_rows(payload.shape);
  block.columns = matrix_columns(payload.shape);
  block.rank = payload.attributes.integer("rank", 0, std::min(block.rows, block.columns));
  block.a = load_values(payload, "left", block.rows * block.rank);
  block.b = load_values(payload, "right", block.rank * block.columns);
  block.dtype = payload.find("left")->data.dtype();
  if (payload.find("signs") != nullptr) {
    const auto count = static_cast<std::uint64_t>(block.rows * block.columns);
    const auto bytes = static_cast<std::int64_t>(packed_bytes(count, 1));
    const auto signs = payload.field("signs", DType::u8, bytes).as<std::uint8_t>();
    if (count % 8 != 0 && (signs.back() >> (count % 8)) != 0) {
      fail(ErrorKind::corrupt, "bits are set after the last sign", payload.codec);
    }
    block.signs.assign(signs.begin(), signs.end());
  }
  return block;
}

}  // namespace laconic
