// raw: the values themselves, in their own type or rounded to a chosen one. Fields: values.
#include <algorithm>

#include "engine/base/error.h"
#include "engine/codec/registry.h"
#include "engine/codec/stored_values.h"

namespace laconic {
namespace {

class Raw : public TensorCodec {
 public:
  explicit Raw(const Parameters& parameters) : parameters_(parameters) {}

  std::string canonical() const override { return parameters_.canonical("raw"); }

  Payload encode(const TensorView& tensor, const EncodeContext& context) const override {
    const std::vector<float> values = finite_values(tensor, context.tensor_name);
    const std::string& type = parameters_.text("dtype");
    const DType own = tensor.dtype == DType::f64 ? DType::f32 : tensor.dtype;
    Payload payload;
    payload.codec = canonical();
    payload.dtype = tensor.dtype;
    payload.shape = tensor.shape;
    payload.add("values", type == "same" ? Tensor::from_f32(tensor.shape, values, own)
                                         : store_values(values, tensor.shape, dtype_parameter(type)));
    return payload;
  }

  Tensor decode(const Payload& payload) const override {
    require_decodable(payload);
    const std::vector<float> values = load_values(payload, "values", element_count(payload.shape));
    return Tensor::from_f32(payload.shape, values);
  }

  CodecProperties properties(const Shape&) const override {
    const std::string& type = parameters_.text("dtype");
    CodecProperties properties;
    properties.lossless = type == "same" || type == "f32";
    properties.unbiased = properties.positively_homogeneous = properties.lossless;
    const double precision = properties.lossless ? 0 : stored_precision(dtype_parameter(type));
    properties.delta = 1 - precision * precision;
    if (properties.lossless) properties.omega = 0;
    return properties;
  }

 private:
  Parameters parameters_;
};

}  // namespace

CodecDescription describe_raw() {
  CodecDescription description;
  description.name = "raw";
  description.summary = "the values themselves, as they are or rounded to 16 bits";
  description.parameters = {{"dtype",
                             ParameterSpec::Type::choice,
                             "same",
                             0,
                             0,
                             {"same", "f32", "f16", "bf16"},
                             "type to store; same keeps the tensor's own (f64 becomes f32)"}};
  description.create = [](const Parameters& parameters) { return std::make_unique<Raw>(parameters); };
  return description;
}

}  // namespace laconic
