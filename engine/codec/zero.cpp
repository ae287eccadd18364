// zero: a tensor that was left out. No fields and no parameters; decodes to zeros. What a pruning method
// writes for the weights of a sub-block that it dropped, so that the universal decoder gives a model with the
// same function.
#include "engine/codec/registry.h"

namespace laconic {
namespace {

class Zero : public TensorCodec {
 public:
  std::string canonical() const override { return "zero"; }

  Payload encode(const TensorView& tensor, const EncodeContext& context) const override {
    finite_values(tensor, context.tensor_name);
    Payload payload;
    payload.codec = canonical();
    payload.dtype = tensor.dtype;
    payload.shape = tensor.shape;
    return payload;
  }

  Tensor decode(const Payload& payload) const override {
    require_decodable(payload);
    return Tensor(DType::f32, payload.shape);
  }
};

}  // namespace

CodecDescription describe_zero() {
  CodecDescription description;
  description.name = "zero";
  description.summary = "nothing is stored; the tensor decodes to zeros";
  description.create = [](const Parameters&) { return std::make_unique<Zero>(); };
  return description;
}

}  // namespace laconic
