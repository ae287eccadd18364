// lowrank: W [m, n] ~= A [m, k] B [k, n] from the truncated singular value decomposition. Fields: left,
// right; where the factors would not be smaller than W itself: dense. Attributes: rank.
#include <algorithm>
#include <cmath>
#include <iterator>

#include "engine/base/error.h"
#include "engine/codec/low_rank_product.h"
#include "engine/codec/registry.h"
#include "engine/codec/stored_values.h"
#include "engine/codec/uniform_payload.h"
#include "engine/codec/unit_range.h"
#include "engine/math/rank_rule.h"
#include "engine/math/svd.h"

namespace laconic {
namespace {

constexpr const char* rule_parameters[] = {"rank", "fraction", "energy", "value", "relative_error"};

// The one rule that was set; rank when none was.
RankRule rule_from(const Parameters& parameters) {
  using Kind = RankRule::Kind;
  constexpr Kind kinds[] = {Kind::fixed, Kind::fraction, Kind::energy, Kind::value, Kind::relative_error};
  RankRule rule{Kind::fixed, static_cast<double>(parameters.integer("rank")), 1};
  int rules = parameters.is_set("rank") ? 1 : 0;
  for (std::size_t i = 1; i < std::size(kinds); ++i) {
    const double parameter = parameters.number(rule_parameters[i]);
    if (parameter <= 0) continue;
    rule = {kinds[i], parameter, 1};
    ++rules;
  }
  if (rules > 1) {
    fail(ErrorKind::usage, "lowrank takes one of rank, fraction, energy, value and relative_error", {},
         "leave out the others");
  }
  return rule;
}

class LowRank : public TensorCodec {
 public:
  explicit LowRank(const Parameters& parameters) : parameters_(parameters), rule_(rule_from(parameters)) {}

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
    if (factors_are_smaller(rank, rows, columns)) {
      const std::vector<float> original = values;
      const int exponent = to_unit_range(values);
      Svd svd;
      if (rule_.needs_values()) {
        svd = exact_svd(values.data(), rows, columns);
        RankRule rule = rule_;
        if (rule.kind == RankRule::Kind::value) rule.parameter = std::ldexp(rule.parameter, -exponent);
        rank = std::max<std::int64_t>(1, rank_of(rule, svd.values));
      } else {
        svd = truncated_svd(values.data(), rows, columns, rank,
                            RandomStream(context.seed, "lowrank", context.tensor_name));
      }
      if (factors_are_smaller(rank, rows, columns)) {
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
    if (rule_.needs_values()) return properties;
    const std::int64_t rank = fixed_rank(std::min(rows, columns));
    const double precision = stored_precision(wish);
    properties.delta = factors_are_smaller(rank, rows, columns)
                           ? truncation_delta(rows, columns, rank, wish)
                           : std::optional<double>(1 - precision * precision);
    return properties;
  }

 private:
  // The rank by the shape alone; where values decide, its lower bound 1.
  std::int64_t fixed_rank(std::int64_t side) const {
    return rule_.needs_values() ? std::min<std::int64_t>(1, side) : rank_of(rule_, side);
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
  RankRule rule_;
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
      {"value", Type::number, "0", 0, 1e6, {}, "keep the singular values from this one up"},
      {"relative_error", Type::number, "0", 0, 1, {}, "least rank within this share of the norm"},
      {"split", Type::choice, "both", 0, 0, {"both", "left"}, "which factor carries the singular values"},
      {"dtype", Type::choice, "f16", 0, 0, {"f16", "bf16", "f32"}, "type of the factors"}};
  description.create = [](const Parameters& parameters) { return std::make_unique<LowRank>(parameters); };
  return description;
}

}  // namespace laconic
