// gptq(...) and decoupled(...): uniform grids whose codes are chosen with the second moment H of the layer's
// input (gptq.h, decoupled_grid.h), as stages of compositions. Without calibration H = I: gptq is then
// rounding to nearest on grids fitted by range, decoupled the least-squares grid of each row. Payloads are
// those of uniform(...).
#include "engine/base/error.h"
#include "engine/codec/decoupled_grid.h"
#include "engine/codec/gptq.h"
#include "engine/codec/least_squares_refit.h"
#include "engine/codec/registry.h"
#include "engine/codec/uniform_payload.h"

namespace laconic {
namespace {

using ValueType = ParameterSpec::Type;

constexpr std::int64_t longest_identity = 4096;  // columns

class MomentCodec : public TensorCodec {
 public:
  MomentCodec(const Parameters& parameters, std::string_view name, GridKind kind)
      : parameters_(parameters),
        text_(parameters.canonical(name)),
        form_{kind, static_cast<int>(parameters.integer("bits")), parameters.integer("group")} {
    if (kind == GridKind::symmetric && form_.bits < 2) {
      fail(ErrorKind::usage, "symmetric grids need at least 2 bits", name,
           "use symmetric_full or affine_min");
    }
  }

  std::string canonical() const override { return text_; }

  Payload encode(const TensorView& tensor, const EncodeContext& context) const override {
    const std::vector<float> values = finite_values(tensor, context.tensor_name);
    const std::int64_t rows = matrix_rows(tensor.shape), columns = matrix_columns(tensor.shape);
    if (context.second_moment != nullptr && context.second_moment_size != columns) {
      fail(ErrorKind::usage,
           "has rows of " + std::to_string(columns) + ", its calibration is for inputs of " +
               std::to_string(context.second_moment_size),
           context.tensor_name);
    }
    if (context.second_moment != nullptr || columns <= longest_identity) {
      std::vector<double> identity;
      const double* h = context.second_moment;
      if (h == nullptr) {
        identity.assign(static_cast<std::size_t>(columns * columns), 0.0);
        for (std::int64_t j = 0; j < columns; ++j) identity[static_cast<std::size_t>(j * columns + j)] = 1;
        h = identity.data();
      }
      return uniform_payload(solve(values, rows, columns, h, context), text_, tensor.dtype, tensor.shape);
    }
    UniformMatrix matrix{fit_grid(values.data(), rows, columns, form_, ClipSearch::weight_mse), {}};
    matrix.codes = quantize(values.data(), matrix.parameters);
    return uniform_payload(matrix, text_, tensor.dtype, tensor.shape);
  }

  Tensor decode(const Payload& payload) const override {
    const UniformMatrix matrix = parse_uniform(payload);
    return Tensor::from_f32(payload.shape, dequantize(matrix.codes, matrix.parameters));
  }

 protected:
  virtual UniformMatrix solve(const std::vector<float>& weights, std::int64_t rows, std::int64_t columns,
                              const double* h, const EncodeContext& context) const = 0;
  const Parameters& parameters() const { return parameters_; }
  const GridForm& form() const { return form_; }

 private:
  Parameters parameters_;
  std::string text_;
  GridForm form_;
};

class GptqCodec : public MomentCodec {
 public:
  explicit GptqCodec(const Parameters& parameters)
      : MomentCodec(parameters, "gptq", grid_kind_named(parameters.text("kind"))) {}

 protected:
  UniformMatrix solve(const std::vector<float>& weights, std::int64_t rows, std::int64_t columns,
                      const double* h, const EncodeContext& context) const override {
    const ColumnOrder order =
        parameters().boolean("act-order") ? ColumnOrder::descending : ColumnOrder::natural;
    GptqOptions options;
    options.clip = parameters().boolean("clip") ? ClipSearch::weight_mse : ClipSearch::none;
    const GptqFactor factor = gptq_factor(h, columns, order, parameters().number("damping"),
                                          std::string(context.tensor_name).c_str());
    UniformMatrix matrix = gptq_quantize(weights.data(), rows, columns, form(), factor, options);
    if (parameters().boolean("refit")) refit_grid(weights.data(), matrix, h);
    return matrix;
  }
};

class DecoupledCodec : public MomentCodec {
 public:
  explicit DecoupledCodec(const Parameters& parameters)
      : MomentCodec(parameters, "decoupled", GridKind::affine_free) {}

 protected:
  UniformMatrix solve(const std::vector<float>& weights, std::int64_t rows, std::int64_t columns,
                      const double* h, const EncodeContext& context) const override {
    DecoupledOptions options;
    options.iterations = static_cast<int>(parameters().integer("iterations"));
    return decoupled_grid(weights.data(), rows, columns, form(), h, options, context.tensor_name).matrix;
  }
};

ParameterSpec flag(std::string name, const char* value, std::string help) {
  return {std::move(name), ValueType::boolean, value, 0, 0, {}, std::move(help)};
}

std::vector<ParameterSpec> width_parameters(const char* bits) {
  return {{"bits", ValueType::integer, bits, 1, 8, {}, "bits of a code"},
          {"group", ValueType::integer, "64", 0, 1 << 20, {}, "columns that share a scale; 0: a whole row"}};
}

}  // namespace

CodecDescription describe_gptq_codec() {
  CodecDescription description;
  description.name = "gptq";
  description.summary = "uniform grid, each column's error moved into the columns to come (H, or I without)";
  description.parameters = width_parameters("4");
  description.parameters.push_back({"kind",
                                    ValueType::choice,
                                    "affine_min",
                                    0,
                                    0,
                                    {"affine_min", "affine_zero", "symmetric", "symmetric_full"},
                                    "how levels are placed"});
  description.parameters.push_back(flag("act-order", "true", "columns by descending diagonal of H"));
  description.parameters.push_back(flag("clip", "true", "search the range of each group"));
  description.parameters.push_back(
      flag("refit", "false", "least-squares refit of scale and offset at the end"));
  description.parameters.push_back(
      {"damping", ValueType::number, "0.01", 0, 10, {}, "of the mean diagonal, for the factorisation"});
  description.create = [](const Parameters& parameters) { return std::make_unique<GptqCodec>(parameters); };
  return description;
}

CodecDescription describe_decoupled() {
  CodecDescription description;
  description.name = "decoupled";
  description.summary = "uniform grid, integers and scales solved in turns (H, or I without)";
  description.parameters = width_parameters("2");
  description.parameters.push_back({"iterations", ValueType::integer, "4", 1, 50, {}, "alternations"});
  description.create = [](const Parameters& parameters) {
    return std::make_unique<DecoupledCodec>(parameters);
  };
  return description;
}

}  // namespace laconic
