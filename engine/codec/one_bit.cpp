// onebit: the sign of every number (0 counts as positive) times one scale per block. With the mean magnitude
// the error is |u|^2 - |u|_1^2 / d, a contraction by 1/d at worst and by 0.637 on Gaussian vectors. With the
// root mean square, as 1-bit Adam has it (Tang et al. 2021, arXiv 2102.02888; card 02), the error is 2 |u|^2
// (1 - |u|_1 / (sqrt(d) |u|_2)), which exceeds |u|^2 on heavy tails: no constant is declared (convention C8).
#include <cmath>

#include "engine/codec/registry.h"
#include "engine/codec/scaled_blocks.h"

namespace laconic {
namespace {

class OneBit : public TensorCodec {
 public:
  explicit OneBit(const Parameters& parameters)
      : text_(parameters.canonical("onebit")),
        mean_(parameters.text("scale") == "mean"),
        block_(parameters.integer("block")) {}

  std::string canonical() const override { return text_; }

  Payload encode(const TensorView& tensor, const EncodeContext& context) const override {
    const std::vector<float> values = finite_values(tensor, context.tensor_name);
    const auto length = static_cast<std::int64_t>(values.size());
    ScaledBlocks blocks;
    blocks.bits = 1;
    blocks.block = block_;
    blocks.codes.resize(values.size());
    blocks.scale.resize(static_cast<std::size_t>(block_count(length, block_)));
    for_each_block(length, block_, [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
      double sum = 0;
      for (std::int64_t i = begin; i < end; ++i) {
        const double value = values[static_cast<std::size_t>(i)];
        sum += mean_ ? std::abs(value) : value * value;
        blocks.codes[static_cast<std::size_t>(i)] = value < 0 ? 0 : 1;
      }
      const double mean = sum / static_cast<double>(end - begin);
      blocks.scale[static_cast<std::size_t>(index)] = static_cast<float>(mean_ ? mean : std::sqrt(mean));
    });
    return scaled_blocks_payload(blocks, text_, tensor.dtype, tensor.shape);
  }

  Tensor decode(const Payload& payload) const override {
    const float levels[] = {-1, 1};
    return decode_scaled_blocks(parse_scaled_blocks(payload, 1, 1, 1), payload.shape, levels);
  }

  CodecProperties properties(const Shape& shape) const override {
    CodecProperties properties;
    properties.positively_homogeneous = true;
    const std::int64_t d = block_length(element_count(shape), block_);
    // |u|_1 >= |u|_2; the scale is rounded to f32.
    if (mean_ && d > 0) properties.delta = 1.0 / static_cast<double>(d) * (1 - 1e-6);
    return properties;
  }

 private:
  std::string text_;
  bool mean_;
  std::int64_t block_;
};

}  // namespace

CodecDescription describe_one_bit() {
  CodecDescription description;
  description.name = "onebit";
  description.summary = "signs, and one scale per block";
  description.parameters = {{"scale",
                             ParameterSpec::Type::choice,
                             "mean",
                             0,
                             0,
                             {"mean", "rms"},
                             "mean magnitude, or root mean square"},
                            block_parameter("4096")};
  description.create = [](const Parameters& parameters) { return std::make_unique<OneBit>(parameters); };
  return description;
}

}  // namespace laconic
