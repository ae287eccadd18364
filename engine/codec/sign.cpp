// sign: one block of the iterative absolute value decomposition (absolute_value_decomposition.h), so that
// sign(rank=k)+sign(rank=k)+... is a stack of residual blocks of which any prefix is usable.
#include <vector>

#include "engine/base/error.h"
#include "engine/codec/absolute_value_decomposition.h"
#include "engine/codec/registry.h"
#include "engine/codec/stored_values.h"
#include "engine/codec/uniform_payload.h"

namespace laconic {
namespace {

class Sign : public TensorCodec {
 public:
  explicit Sign(const Parameters& parameters) : parameters_(parameters) {}

  std::string canonical() const override { return parameters_.canonical("sign"); }

  Payload encode(const TensorView& tensor, const EncodeContext& context) const override {
    const std::vector<float> values = finite_values(tensor, context.tensor_name);
    const std::int64_t rows = matrix_rows(tensor.shape), columns = matrix_columns(tensor.shape);
    DecompositionOptions options;
    options.blocks = 1;
    options.rank = parameters_.integer("rank");
    options.dtype = dtype_parameter(parameters_.text("dtype"));
    options.signs = parameters_.boolean("signs");
    const bool scaled =
        parameters_.boolean("scaled") && context.channel_norm != nullptr && tensor.shape.size() == 2;
    const std::vector<float> scale =
        scaled ? channel_scale({context.channel_norm, static_cast<std::size_t>(columns)})
               : std::vector<float>();
    if (scaled) options.channel_scale = scale.data();
    Decomposition result = absolute_value_decomposition(values.data(), rows, columns, options, context.seed,
                                                        context.tensor_name);
    if (result.blocks.empty()) {  // nothing left to repair
      result.blocks.push_back(absolute_value_block(values.data(), rows, columns, options,
                                                   RandomStream(context.seed, "zero", context.tensor_name)));
    }
    return sign_payload(result.blocks.front(), canonical(), tensor.dtype, tensor.shape);
  }

  Tensor decode(const Payload& payload) const override {
    const SignBlock block = parse_sign(payload);
    Tensor tensor(DType::f32, payload.shape);
    add_block(block, tensor.f32().data());
    return tensor;
  }

  CodecProperties properties(const Shape& shape) const override {
    CodecProperties properties;
    if (parameters_.boolean("scaled")) return properties;  // a scale can make any single entry worse
    const std::int64_t rows = matrix_rows(shape), columns = matrix_columns(shape);
    std::int64_t rank = parameters_.integer("rank");
    if (rank == 0) rank = default_sign_rank(rows, columns);
    if (!parameters_.boolean("signs")) rank = unsigned_rank(rows, columns, rank);
    properties.delta = truncation_delta(rows, columns, rank, dtype_parameter(parameters_.text("dtype")));
    return properties;
  }

 private:
  Parameters parameters_;
};

}  // namespace

CodecDescription describe_sign() {
  CodecDescription description;
  description.name = "sign";
  description.summary =
      "one bit per weight times a low-rank magnitude; stages of it make a stack of any size";
  using Type = ParameterSpec::Type;
  description.parameters = {
      {"rank", Type::integer, "0", 0, 65536, {}, "rank of the magnitude; 0: about 1/8 bit per weight"},
      {"scaled",
       Type::boolean,
       "true",
       0,
       0,
       {},
       "weight columns by the norm of their input where it is known"},
      {"signs", Type::boolean, "true", 0, 0, {}, "false: plain low rank of equal bytes (an ablation)"},
      {"dtype", Type::choice, "f16", 0, 0, {"f16", "bf16", "f32"}, "type of the factors"}};
  description.create = [](const Parameters& parameters) { return std::make_unique<Sign>(parameters); };
  return description;
}

}  // namespace laconic
