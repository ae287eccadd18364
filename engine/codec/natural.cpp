// natural: one of the two powers of two around a number, at random without bias: z = 2^a (1 + p) goes up with
// the probability p. (Natural compression, Horvath et al. 2019, arXiv 1905.10988, eq. 4 and theorem 1.)
// Unbiased, E|C(z) - z|^2 <= |z|^2 / 8. Fields: signs (1 bit each, 1 is negative), exponents (u8: 0 is zero,
// e is 2^(e - 127)). Numbers below 2^-126 become 0 or 2^-126 without bias, but not within 1/8; from 2^127 on
// everything goes down.
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/codec/packed_run.h"
#include "engine/codec/registry.h"

namespace laconic {
namespace {

class Natural : public TensorCodec {
 public:
  explicit Natural(const Parameters& parameters) : text_(parameters.canonical("natural")) {}

  std::string canonical() const override { return text_; }

  Payload encode(const TensorView& tensor, const EncodeContext& context) const override {
    const std::vector<float> values = finite_values(tensor, context.tensor_name);
    const RandomStream random(context.seed, "natural", context.tensor_name, context.step, context.peer);
    std::vector<std::uint8_t> signs(values.size());
    Tensor exponents(DType::u8, {static_cast<std::int64_t>(values.size())});
    auto* exponent = reinterpret_cast<std::uint8_t*>(exponents.data());
    for (std::size_t i = 0; i < values.size(); ++i) {
      signs[i] = std::signbit(values[i]) ? 1 : 0;
      const double magnitude = std::abs(static_cast<double>(values[i]));
      const int power = magnitude < smallest ? -127 : std::ilogb(magnitude);
      const double below = power == -127 ? 0 : std::ldexp(1.0, power);
      const double step = power == -127 ? smallest : below;  // to the level above
      const bool up = power < 127 && random.uniform_at(i) < (magnitude - below) / step;
      exponent[i] = static_cast<std::uint8_t>(power + 127 + (up ? 1 : 0));
    }
    Payload payload;
    payload.codec = text_;
    payload.dtype = tensor.dtype;
    payload.shape = tensor.shape;
    payload.add("signs", packed_run(signs, 1));
    payload.add("exponents", std::move(exponents));
    return payload;
  }

  Tensor decode(const Payload& payload) const override {
    require_decodable(payload);
    const std::int64_t length = element_count(payload.shape);
    const auto count = static_cast<std::size_t>(length);
    const std::vector<std::uint8_t> signs = unpacked_run(payload, "signs", length, 1);
    const Tensor& exponents = payload.field("exponents", DType::u8, length);
    const auto* exponent = reinterpret_cast<const std::uint8_t*>(exponents.data());
    Tensor tensor(DType::f32, payload.shape);
    float* to = tensor.f32().data();
    for (std::size_t i = 0; i < count; ++i) {
      if (exponent[i] == 255) fail(ErrorKind::corrupt, "an exponent has no number", payload.codec);
      const float magnitude = exponent[i] == 0 ? 0.0f : std::ldexp(1.0f, exponent[i] - 127);
      to[i] = signs[i] != 0 ? -magnitude : magnitude;
    }
    return tensor;
  }

  CodecProperties properties(const Shape&) const override {
    CodecProperties properties;
    properties.unbiased = true;
    properties.omega = 0.125;
    return properties;
  }

 private:
  static constexpr double smallest = 0x1p-126;
  std::string text_;
};

}  // namespace

CodecDescription describe_natural() {
  CodecDescription description;
  description.name = "natural";
  description.summary = "the power of two below or above, at random without bias: 9 bits a number";
  description.create = [](const Parameters& parameters) { return std::make_unique<Natural>(parameters); };
  return description;
}

}  // namespace laconic
