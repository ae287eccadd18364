#include "engine/codec/stored_values.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"

namespace laconic {
namespace {

// Squared l2 norms of the values and of what rounding does to them; strided, in double.
struct Rounding2 {
  double norm = 0, error = 0;
  bool finite = true;
  bool within(double precision) const { return finite && error <= precision * precision * norm; }
};

Rounding2 rounding_of(const float* values, std::int64_t count, std::int64_t stride, DType dtype) {
  Rounding2 result;
  for (std::int64_t i = 0; i < count; ++i) {
    const double value = values[i * stride];
    const double stored = rounded_to(dtype, values[i * stride]);
    result.finite = result.finite && std::isfinite(stored);
    result.norm += value * value;
    result.error += (value - stored) * (value - stored);
  }
  return result;
}

float largest_of(const float* values, std::int64_t count, std::int64_t stride) {
  float largest = 0;
  for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, std::abs(values[i * stride]));
  return largest;
}

bool factors_fit(const std::vector<float>& a, const std::vector<float>& b, std::int64_t rows,
                 std::int64_t columns, std::int64_t rank, DType wish) {
  const double precision = stored_precision(wish);
  for (std::int64_t r = 0; r < rank; ++r) {
    if (!rounding_of(a.data() + r, rows, rank, wish).within(precision) ||
        !rounding_of(b.data() + r * columns, columns, 1, wish).within(precision)) {
      return false;
    }
  }
  return true;
}

// Makes the largest entries of each pair nearly equal by a power of two.
void rebalance(std::vector<float>& a, std::vector<float>& b, std::int64_t rows, std::int64_t columns,
               std::int64_t rank) {
  for (std::int64_t r = 0; r < rank; ++r) {
    const float left = largest_of(a.data() + r, rows, rank);
    const float right = largest_of(b.data() + r * columns, columns, 1);
    if (left == 0 || right == 0) continue;
    const int shift = (std::ilogb(right) - std::ilogb(left)) / 2;
    for (std::int64_t i = 0; i < rows; ++i)
      a[static_cast<std::size_t>(i * rank + r)] =
          std::ldexp(a[static_cast<std::size_t>(i * rank + r)], shift);
    for (std::int64_t j = 0; j < columns; ++j)
      b[static_cast<std::size_t>(r * columns + j)] =
          std::ldexp(b[static_cast<std::size_t>(r * columns + j)], -shift);
  }
}

}  // namespace

double stored_precision(DType wish) {
  switch (wish) {
    case DType::f16:
      return 0x1p-10;
    case DType::bf16:
      return 0x1p-8;
    case DType::f32:
      return 0;
    default:
      fail(ErrorKind::internal, "values are stored as f32, f16 or bf16");
  }
}

Tensor store_values(std::span<const float> values, Shape shape, DType wish) {
  const auto count = static_cast<std::int64_t>(values.size());
  if (!rounding_of(values.data(), count, 1, wish).within(stored_precision(wish))) wish = DType::f32;
  return Tensor::from_f32(std::move(shape), values, wish);
}

std::vector<float> load_values(const Payload& payload, std::string_view field, std::int64_t elements) {
  const Field* found = payload.find(field);
  DType dtype = DType::f16;
  if (found != nullptr && (found->data.dtype() == DType::f32 || found->data.dtype() == DType::bf16)) {
    dtype = found->data.dtype();
  }
  std::vector<float> values = payload.field(field, dtype, elements).view().to_f32();
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      fail(ErrorKind::corrupt, "field \"" + std::string(field) + "\" is not finite at " + std::to_string(i),
           payload.codec);
    }
  }
  return values;
}

StoredFactors store_factors(std::vector<float>& a, std::vector<float>& b, std::int64_t rows,
                            std::int64_t columns, std::int64_t rank, DType wish) {
  if (wish != DType::f32 && !factors_fit(a, b, rows, columns, rank, wish)) {
    std::vector<float> left = a, right = b;
    rebalance(left, right, rows, columns, rank);
    if (factors_fit(left, right, rows, columns, rank, wish)) {
      a = std::move(left);
      b = std::move(right);
    } else {
      wish = DType::f32;
    }
  }
  StoredFactors stored{Tensor::from_f32({rows, rank}, a, wish), Tensor::from_f32({rank, columns}, b, wish)};
  a = stored.a.view().to_f32();
  b = stored.b.view().to_f32();
  return stored;
}

std::optional<double> truncation_delta(std::int64_t rows, std::int64_t columns, std::int64_t rank,
                                       DType wish) {
  const std::int64_t side = std::min(rows, columns);
  if (side == 0 || side > 1024) return std::nullopt;
  const double share = static_cast<double>(std::min(rank, side)) / static_cast<double>(side);
  // Rounding moves each of the terms sigma u v^T by at most about twice the stored precision of its size, and
  // the sizes of `rank` terms add up to at most sqrt(rank) times the norm; 1e-5 covers f32 arithmetic.
  const double terms = std::sqrt(static_cast<double>(rank));
  const double error = std::sqrt(1 - share) + 2.01 * stored_precision(wish) * terms + 1e-5 * terms;
  if (error >= 1) return std::nullopt;
  return 1 - error * error;
}

DType dtype_parameter(const std::string& text) {
  if (text == "f16") return DType::f16;
  if (text == "bf16") return DType::bf16;
  require(text == "f32", "dtype parameter is f32, f16 or bf16");
  return DType::f32;
}

}  // namespace laconic
