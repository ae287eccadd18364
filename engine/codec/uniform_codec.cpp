// uniform(bits=,group=,kind=,clip=,rounding=): round every value to the nearest level of its group's grid.
#include <string>

#include "engine/base/error.h"
#include "engine/codec/registry.h"
#include "engine/codec/uniform_payload.h"

namespace laconic {
namespace {

class UniformCodec : public TensorCodec {
 public:
  explicit UniformCodec(const Parameters& parameters)
      : text_(parameters.canonical("uniform")),
        form_{grid_kind_named(parameters.text("kind")), static_cast<int>(parameters.integer("bits")),
              parameters.integer("group")},
        clip_(parameters.boolean("clip") ? ClipSearch::weight_mse : ClipSearch::none) {
    if (form_.kind == GridKind::symmetric && form_.bits < 2) {
      fail(ErrorKind::usage, "symmetric grids need at least 2 bits", "uniform",
           "use symmetric_full or affine_min");
    }
    const std::string& rounding = parameters.text("rounding");
    rounding_ = rounding == "half_up"      ? Rounding::half_up
                : rounding == "stochastic" ? Rounding::stochastic
                                           : Rounding::nearest_even;
  }

  std::string canonical() const override { return text_; }

  Payload encode(const TensorView& tensor, const EncodeContext& context) const override {
    if (!is_real(tensor.dtype)) {
      fail(ErrorKind::input,
           "has dtype " + std::string(name_of(tensor.dtype)) + ", which holds no real numbers",
           context.tensor_name);
    }
    const std::vector<float> values = tensor.to_f32();
    require_finite(values, context.tensor_name);
    const std::int64_t rows = matrix_rows(tensor.shape), columns = matrix_columns(tensor.shape);
    UniformMatrix matrix;
    matrix.parameters = fit_grid(values.data(), rows, columns, form_, clip_);
    const RandomStream random(context.seed, "uniform", context.tensor_name, context.step, context.peer);
    matrix.codes = quantize(values.data(), matrix.parameters, rounding_, &random);
    return uniform_payload(matrix, text_, tensor.dtype, tensor.shape);
  }

  Tensor decode(const Payload& payload) const override {
    const UniformMatrix matrix = parse_uniform(payload);
    return Tensor::from_f32(payload.shape, dequantize(matrix.codes, matrix.parameters));
  }

 private:
  std::string text_;
  GridForm form_;
  ClipSearch clip_;
  Rounding rounding_;
};

}  // namespace

CodecDescription describe_uniform() {
  CodecDescription description;
  description.name = "uniform";
  description.summary = "round to the nearest level of a grid per group of columns";
  using Type = ParameterSpec::Type;
  description.parameters = {
      {"bits", Type::integer, "4", 1, 8, {}, "bits of a code"},
      {"group", Type::integer, "64", 0, 1 << 20, {}, "columns that share a scale; 0: a whole row"},
      {"kind",
       Type::choice,
       "affine_min",
       0,
       0,
       {"affine_min", "affine_zero", "affine_free", "symmetric", "symmetric_full"},
       "how levels are placed"},
      {"clip",
       Type::boolean,
       "false",
       0,
       0,
       {},
       "search the range of each group for the least squared error"},
      {"rounding",
       Type::choice,
       "nearest_even",
       0,
       0,
       {"nearest_even", "half_up", "stochastic"},
       "rounding rule"}};
  description.create = [](const Parameters& parameters) {
    return std::make_unique<UniformCodec>(parameters);
  };
  return description;
}

std::string uniform_codec_text(const GridForm& form) {
  Parameters parameters(describe_uniform().parameters);
  parameters.set("bits", std::to_string(form.bits));
  parameters.set("group", std::to_string(form.group));
  parameters.set("kind", name_of(form.kind));
  return parameters.canonical("uniform");
}

}  // namespace laconic
