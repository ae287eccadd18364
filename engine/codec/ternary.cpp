// ternary: -m, 0 or m, m the largest magnitude of the block, |z| / m being the probability of not becoming 0.
// (TernGrad, Wen et al. 2017, arXiv 1705.07878, eq. 3 and 4.) Unbiased: E|Q(z) - z|^2 = m |z|_1 - |z|^2,
// which is at most (sqrt(d) - 1) / 2 times |z|^2 over blocks of d. Codes: 0 is -m, 1 is 0, 2 is m.
#include <cmath>

#include "engine/base/random.h"
#include "engine/codec/registry.h"
#include "engine/codec/scaled_blocks.h"

namespace laconic {
namespace {

class Ternary : public TensorCodec {
 public:
  explicit Ternary(const Parameters& parameters)
      : text_(parameters.canonical("ternary")), block_(parameters.integer("block")) {}

  std::string canonical() const override { return text_; }

  Payload encode(const TensorView& tensor, const EncodeContext& context) const override {
    const std::vector<float> values = finite_values(tensor, context.tensor_name);
    const auto length = static_cast<std::int64_t>(values.size());
    const RandomStream random(context.seed, "ternary", context.tensor_name, context.step, context.peer);
    ScaledBlocks blocks;
    blocks.bits = 2;
    blocks.block = block_;
    blocks.codes.assign(values.size(), 1);
    blocks.scale.resize(static_cast<std::size_t>(block_count(length, block_)));
    for_each_block(length, block_, [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
      float largest = 0;
      for (std::int64_t i = begin; i < end; ++i) {
        largest = std::max(largest, std::abs(values[static_cast<std::size_t>(i)]));
      }
      blocks.scale[static_cast<std::size_t>(index)] = largest;
      for (std::int64_t i = begin; i < end; ++i) {
        const float value = values[static_cast<std::size_t>(i)];
        const double share = largest > 0 ? static_cast<double>(std::abs(value)) / largest : 0;
        if (random.uniform_at(static_cast<std::uint64_t>(i)) < share) {
          blocks.codes[static_cast<std::size_t>(i)] = std::signbit(value) ? 0 : 2;
        }
      }
    });
    return scaled_blocks_payload(blocks, text_, tensor.dtype, tensor.shape);
  }

  Tensor decode(const Payload& payload) const override {
    const float levels[] = {-1, 0, 1};
    return decode_scaled_blocks(parse_scaled_blocks(payload, 2, 2, 2), payload.shape, levels);
  }

  CodecProperties properties(const Shape& shape) const override {
    CodecProperties properties;
    const auto d = static_cast<double>(block_length(element_count(shape), block_));
    properties.unbiased = true;
    properties.omega = std::max(0.0, (std::sqrt(d) - 1) / 2);
    return properties;
  }

 private:
  std::string text_;
  std::int64_t block_;
};

}  // namespace

CodecDescription describe_ternary() {
  CodecDescription description;
  description.name = "ternary";
  description.summary = "the largest magnitude of a block, its negative, or zero, at random without bias";
  description.parameters = {block_parameter("2048")};
  description.create = [](const Parameters& parameters) { return std::make_unique<Ternary>(parameters); };
  return description;
}

}  // namespace laconic
