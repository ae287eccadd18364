// outliers: the entries of largest magnitude (or of largest weighted magnitude), exactly k of them, stored as
// positions and values; everything else is zero. As a stage on a residual it repairs the worst errors. With
// select=sampled long tensors are selected from by a sampled threshold (sampled_top_k.h): at most k entries.
// sparse: every entry that is not zero; made for pruned weights, lossless in the pattern.
// Fields of both: indices (sparse_indices.h), values. Attributes: count, index_form, rice_parameter.
#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/codec/registry.h"
#include "engine/codec/sparse_indices.h"
#include "engine/codec/stored_values.h"
#include "engine/codec/uniform_payload.h"
#include "engine/math/sampled_top_k.h"
#include "engine/math/top_k.h"

namespace laconic {
namespace {

Payload sparse_payload(std::span<const float> values, const std::vector<std::int64_t>& positions,
                       const TensorView& tensor, std::string codec, DType wish) {
  Payload payload;
  payload.codec = std::move(codec);
  payload.dtype = tensor.dtype;
  payload.shape = tensor.shape;
  std::vector<float> kept(positions.size());
  for (std::size_t i = 0; i < positions.size(); ++i) {
    kept[i] = values[static_cast<std::size_t>(positions[i])];
  }
  add_indices(payload, positions, static_cast<std::int64_t>(values.size()));
  payload.add("values", store_values(kept, {static_cast<std::int64_t>(kept.size())}, wish));
  return payload;
}

Tensor decode_sparse(const Payload& payload) {
  require_decodable(payload);
  const std::vector<std::int64_t> positions = parse_indices(payload, element_count(payload.shape));
  const std::vector<float> values =
      load_values(payload, "values", static_cast<std::int64_t>(positions.size()));
  Tensor tensor(DType::f32, payload.shape);
  for (std::size_t i = 0; i < positions.size(); ++i) {
    tensor.f32()[static_cast<std::size_t>(positions[i])] = values[i];
  }
  return tensor;
}

// Few numbers of a tensor: their positions are known without expanding it.
class PositionCodec : public TensorCodec {
 public:
  Tensor decode(const Payload& payload) const final { return decode_sparse(payload); }
  void add_decoded(const Payload& payload, std::span<float> sum) const final {
    const std::vector<std::int64_t> positions = parse_indices(payload, element_count(payload.shape));
    const std::vector<float> values =
        load_values(payload, "values", static_cast<std::int64_t>(positions.size()));
    require(static_cast<std::int64_t>(sum.size()) == element_count(payload.shape),
            "the sum has the tensor's length");
    for (std::size_t i = 0; i < positions.size(); ++i)
      sum[static_cast<std::size_t>(positions[i])] += values[i];
  }
  std::optional<std::vector<std::int64_t>> positions(const Payload& payload) const final {
    return parse_indices(payload, element_count(payload.shape));
  }
};

class Outliers : public PositionCodec {
 public:
  explicit Outliers(const Parameters& parameters) : parameters_(parameters) {}

  std::string canonical() const override { return parameters_.canonical("outliers"); }

  Payload encode(const TensorView& tensor, const EncodeContext& context) const override {
    std::vector<float> storage;
    const std::span<const float> values = finite_floats(tensor, context.tensor_name, storage);
    const auto length = static_cast<std::int64_t>(values.size());
    const std::int64_t k = kept(length);
    const bool weighted = parameters_.text("by") == "activation";
    std::vector<float> weighted_values;
    if (weighted) weighted_values = scores(values, tensor, context);
    const std::span<const float> keys = weighted ? std::span<const float>(weighted_values) : values;
    const std::vector<std::int64_t> positions =
        sampled() && length > 0 ? sampled_top_k(keys, k, parameters_.number("fraction"),
                                                RandomStream(context.seed, "outliers", context.tensor_name,
                                                             context.step, context.peer))
                                      .positions
                                : top_k(keys, k);
    return sparse_payload(values, positions, tensor, canonical(), dtype_parameter(parameters_.text("dtype")));
  }

  CodecProperties properties(const Shape& shape) const override {
    CodecProperties properties;
    const std::int64_t length = element_count(shape);
    // A sampled threshold may pass fewer than k.
    const bool exact = !sampled() || static_cast<double>(length) <= 2 / parameters_.number("fraction");
    if (parameters_.text("by") == "magnitude" && length > 0 && exact) {
      const std::int64_t k = kept(length);
      const double precision = stored_precision(dtype_parameter(parameters_.text("dtype")));
      // The kept part holds at least k / length of the energy and loses precision^2 of it.
      properties.delta = static_cast<double>(k) / static_cast<double>(length) * (1 - precision * precision);
    }
    return properties;
  }

 private:
  std::int64_t kept(std::int64_t length) const {
    const std::string& rule = parameters_.text("count");
    return length == 0 ? 0
                       : count_of(length, parameters_.number("fraction"),
                                  rule == "ceil"    ? CountRule::ceil
                                  : rule == "floor" ? CountRule::floor
                                                    : CountRule::nearest);
  }
  bool sampled() const { return parameters_.text("select") == "sampled"; }

  // |w_ij| sqrt(H_jj): the share of an entry in the layer's output.
  static std::vector<float> scores(std::span<const float> values, const TensorView& tensor,
                                   const EncodeContext& context) {
    const std::int64_t columns = matrix_columns(tensor.shape);
    if (context.second_moment == nullptr || context.second_moment_size != columns) {
      fail(ErrorKind::usage, "outliers(by=activation) needs input second moments of this layer",
           context.tensor_name, "give calibration text, or use by=magnitude");
    }
    std::vector<float> result(values.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto column = static_cast<std::int64_t>(i) % columns;
      const double moment = context.second_moment[column * (columns + 1)];
      result[i] = static_cast<float>(values[i] * std::sqrt(std::max(0.0, moment)));
    }
    return result;
  }

  Parameters parameters_;
};

class Sparse : public PositionCodec {
 public:
  explicit Sparse(const Parameters& parameters) : parameters_(parameters) {}

  std::string canonical() const override { return parameters_.canonical("sparse"); }

  Payload encode(const TensorView& tensor, const EncodeContext& context) const override {
    const std::vector<float> values = finite_values(tensor, context.tensor_name);
    std::vector<std::int64_t> positions;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (values[i] != 0) positions.push_back(static_cast<std::int64_t>(i));
    }
    return sparse_payload(values, positions, tensor, canonical(), dtype_parameter(parameters_.text("dtype")));
  }

  CodecProperties properties(const Shape&) const override {
    CodecProperties properties;
    const double precision = stored_precision(dtype_parameter(parameters_.text("dtype")));
    properties.delta = 1 - precision * precision;
    properties.lossless = properties.positively_homogeneous = properties.unbiased = precision == 0;
    if (properties.unbiased) properties.omega = 0;
    return properties;
  }

 private:
  Parameters parameters_;
};

ParameterSpec dtype_spec() {
  return {"dtype", ParameterSpec::Type::choice, "f16", 0, 0, {"f16", "bf16", "f32"}, "type of the values"};
}

}  // namespace

CodecDescription describe_outliers() {
  CodecDescription description;
  description.name = "outliers";
  description.summary = "the k entries of largest magnitude, exactly; the rest is zero";
  description.parameters = {
      {"fraction",
       ParameterSpec::Type::number,
       "0.01",
       0,
       1,
       {},
       "share of the entries to keep (k is at least 1)"},
      {"by",
       ParameterSpec::Type::choice,
       "magnitude",
       0,
       0,
       {"magnitude", "activation"},
       "what ranks an entry; activation weights it by the rms of its input (needs calibration)"},
      {"count",
       ParameterSpec::Type::choice,
       "nearest",
       0,
       0,
       {"nearest", "ceil", "floor"},
       "how the share becomes a number of entries"},
      {"select",
       ParameterSpec::Type::choice,
       "exact",
       0,
       0,
       {"exact", "sampled"},
       "sampled: by a threshold from a sample, at most k entries"},
      dtype_spec()};
  description.create = [](const Parameters& parameters) { return std::make_unique<Outliers>(parameters); };
  return description;
}

CodecDescription describe_sparse() {
  CodecDescription description;
  description.name = "sparse";
  description.summary = "the entries that are not zero, for pruned weights";
  description.parameters = {dtype_spec()};
  description.create = [](const Parameters& parameters) { return std::make_unique<Sparse>(parameters); };
  return description;
}

}  // namespace laconic
