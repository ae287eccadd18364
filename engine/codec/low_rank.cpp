// lowrank: W [m, n] ~= A [m, k] B [k, n] from the truncated singular value decomposition. Fields: left,
// right; where the factors would not be smaller than W itself: dense. Attributes: rank.
#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/codec/low_rank_product.h"
#include "engine/codec/registry.h"
#include "engine/codec/stored_values.h"
#include "engine/codec/uniform_payload.h"
#include "engine/codec/unit_range.h"
#include "engine/math/svd.h"
#include "engine/math/top_k.h"

namespace laconic {
namespace {

// Least rank whose singular values hold this share of the energy; at least 1.
std::int64_t energy_rank(const std::vector<float>& values, double share) {
  double total = 0, sum = 0;
  for (float value : values) total += static_cast<double>(value) * value;
  for (std::size_t r = 0; r < values.size(); ++r) {
    sum += static_cast<double>(values[r]) * values[r];
    if (sum >= share * total) return static_cast<std::int64_t>(r) + 1;
  }
  return std::max<std::int64_t>(1, static_cast<std::int64_t>(values.size()));
}

class LowRank : public TensorCodec {
 public:
  explicit LowRank(const Parameters& parameters) : parameters_(parameters) {
    const int rules = (parameters_.is_set("rank") ? 1 : 0) + (parameters_.number("fraction") > 0 ? 1 : 0) +
                      (parameters_.number("energy") > 0 ? 1 : 0);
    if (rules > 1) {
      fail(ErrorKind::usage, "lowrank takes one of rank, fraction and energy", {}, "leave out the others");
    }
  }

  std::string canonical() const override { return parameters_.canonical("lowrank"); }

  Payload encode(const TensorView& tensor, const EncodeContext& context) const override {
    std::vector<float> values = finite_values(tensor, context.tensor_name);
    const std::int64_t rows = matrix_rows(tensor.shape), columns = matrix_columns(tensor.shape);
    const std::int64_t side = std::min(rows, columns);
    Payload payload;
    payload.codec = canonical();
    payload.dtype = tensor.dtype;
    payload.shape = tensor.shape;

    std::int64_t rank = fixed_rank(side);
    if (worthwhile(rank, rows, columns)) {
      const std::vector<float> original = values;
      const int exponent = to_unit_range(values);
      const double energy = parameters_.number("energy");
      Svd svd = energy > 0 ? exact_svd(values.data(), rows, columns)
                           : truncated_svd(values.data(), rows, columns, rank,
                                           RandomStream(context.seed, "lowrank", context.tensor_name));
      if (energy > 0) rank = energy_rank(svd.values, energy);
      if (worthwhile(rank, rows, columns)) {
        add_factors(payload, svd, rank, exponent);
        require_finite(decode(payload).f32(), context.tensor_name);
        return payload;
      }
      values = original;
    }
    payload.attributes.set("rank", side);
    payload.add("dense", store_values(values, tensor.shape, dtype_parameter(parameters_.text("dtype"))));
    return payload;
  }

  Tensor decode(const Payload& payload) const override {
    require_decodable(payload);
    const std::int64_t rows = matrix_rows(payload.shape), columns = matrix_columns(payload.shape);
    if (payload.find("dense") != nullptr) {
      return Tensor::from_f32(payload.shape, load_values(payload, "dense", rows * columns));
    }
    const std::int64_t rank =
        payload.attributes.integer("rank", 1, std::max<std::int64_t>(1, std::min(rows, columns)));
    const std::vector<float> left = load_values(payload, "left", rows * rank);
    const std::vector<float> right = load_values(payload, "right", rank * columns);
    Tensor tensor(DType::f32, payload.shape);
    add_low_rank(left.data(), right.data(), rows, columns, rank, nullptr, tensor.f32().data());
    return tensor;
  }

  CodecProperties properties(const Shape& shape) const override {
    const std::int64_t rows = matrix_rows(shape), columns = matrix_columns(shape);
    const DType wish = dtype_parameter(parameters_.text("dtype"));
    CodecProperties properties;
    if (parameters_.number("energy") > 0) return properties;
    const std::int64_t rank = fixed_rank(std::min(rows, columns));
    const double precision = stored_precision(wish);
    properties.delta = worthwhile(rank, rows, columns) ? truncation_delta(rows, columns, rank, wish)
                                                       : std::optional<double>(1 - precision * precision);
    return properties;
  }

 private:
  // The rank that does not depend on the singular values; 1 as a lower bound when energy decides.
  std::int64_t fixed_rank(std::int64_t side) const {
    if (parameters_.number("energy") > 0) return std::min<std::int64_t>(1, side);
    const double fraction = parameters_.number("fraction");
    if (fraction > 0) return side == 0 ? 0 : count_of(side, fraction);
    return std::min(parameters_.integer("rank"), side);
  }

  static bool worthwhile(std::int64_t rank, std::int64_t rows, std::int64_t columns) {
    return rank > 0 && rank * (rows + columns) < rows * columns;
  }

  void add_factors(Payload& payload, const Svd& svd, std::int64_t rank, int exponent) const {
    const bool both = parameters_.text("split") == "both";
    std::vector<float> left(static_cast<std::size_t>(svd.rows * rank));
    std::vector<float> right(static_cast<std::size_t>(rank * svd.columns));
    // The exponent of the tensor is split like its singular values; powers of two change no digit.
    const int right_exponent = both ? exponent / 2 : 0;
    for (std::int64_t r = 0; r < rank; ++r) {
      const float value = svd.values[static_cast<std::size_t>(r)];
      const float left_scale = both ? std::sqrt(value) : value;
      const float right_scale = both ? std::sqrt(value) : 1.0f;
      for (std::int64_t i = 0; i < svd.rows; ++i) {
        left[static_cast<std::size_t>(i * rank + r)] = std::ldexp(
            svd.u[static_cast<std::size_t>(i * svd.rank + r)] * left_scale, exponent - right_exponent);
      }
      for (std::int64_t j = 0; j < svd.columns; ++j) {
        const auto at = static_cast<std::size_t>(r * svd.columns + j);
        right[at] = std::ldexp(svd.v[at] * right_scale, right_exponent);
      }
    }
    StoredFactors stored =
        store_factors(left, right, svd.rows, svd.columns, rank, dtype_parameter(parameters_.text("dtype")));
    payload.attributes.set("rank", rank);
    payload.add("left", std::move(stored.a));
    payload.add("right", std::move(stored.b));
  }

  Parameters parameters_;
};

}  // namespace

CodecDescription describe_low_rank() {
  CodecDescription description;
  description.name = "lowrank";
  description.summary = "a product of two thin factors, by truncated singular values";
  using Type = ParameterSpec::Type;
  description.parameters = {
      {"rank", Type::integer, "4", 1, 65536, {}, "columns of the left factor"},
      {"fraction", Type::number, "0", 0, 1, {}, "rank as a share of the smaller side, instead of rank"},
      {"energy", Type::number, "0", 0, 1, {}, "least rank with this share of the squared singular values"},
      {"split", Type::choice, "both", 0, 0, {"both", "left"}, "which factor carries the singular values"},
      {"dtype", Type::choice, "f16", 0, 0, {"f16", "bf16", "f32"}, "type of the factors"}};
  description.create = [](const Parameters& parameters) { return std::make_unique<LowRank>(parameters); };
  return description;
}

}  // namespace laconic
