// qsgd: levels l in -s .. s of the l2 norm of a block, s = 2^(bits-1) - 1, rounded at random so that the mean
// is the number itself: |z| s / norm goes up with the probability of its fraction. (QSGD, Alistarh et al.
// 2017, arXiv 1610.02132, eq. 3.1; cards 01 and 08.) Unbiased, E|Q(z) - z|^2 <= min(d / s^2, sqrt(d) / s)
// |z|^2 over blocks of d. Codes are l + s; the value is norm (l / s).
#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/codec/registry.h"
#include "engine/codec/scaled_blocks.h"

namespace laconic {
namespace {

class Qsgd : public TensorCodec {
 public:
  explicit Qsgd(const Parameters& parameters)
      : text_(parameters.canonical("qsgd")),
        bits_(static_cast<int>(parameters.integer("bits"))),
        block_(parameters.integer("block")) {}

  std::string canonical() const override { return text_; }

  Payload encode(const TensorView& tensor, const EncodeContext& context) const override {
    const std::vector<float> values = finite_values(tensor, context.tensor_name);
    const auto length = static_cast<std::int64_t>(values.size());
    const RandomStream random(context.seed, "qsgd", context.tensor_name, context.step, context.peer);
    const int levels = levels_of(bits_);
    ScaledBlocks blocks;
    blocks.bits = bits_;
    blocks.block = block_;
    blocks.codes.resize(values.size());
    blocks.scale.resize(static_cast<std::size_t>(block_count(length, block_)));
    for_each_block(length, block_, [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
      double square = 0;
      for (std::int64_t i = begin; i < end; ++i) square += static_cast<double>(at(values, i)) * at(values, i);
      const double norm = std::sqrt(square);
      if (norm > std::numeric_limits<float>::max()) {
        fail(ErrorKind::input, "the l2 norm of a block is over the largest f32", context.tensor_name,
             "use smaller blocks, or scale the tensor down");
      }
      const auto scale = static_cast<float>(norm);
      blocks.scale[static_cast<std::size_t>(index)] = scale;
      for (std::int64_t i = begin; i < end; ++i) {
        int level = 0;
        if (scale > 0) {
          const double exact = levels * std::min(1.0, std::abs(static_cast<double>(at(values, i))) / scale);
          const double below = std::floor(exact);
          level = static_cast<int>(below) +
                  (random.uniform_at(static_cast<std::uint64_t>(i)) < exact - below ? 1 : 0);
        }
        const bool negative = std::signbit(at(values, i));
        blocks.codes[static_cast<std::size_t>(i)] =
            static_cast<std::uint8_t>(negative ? levels - level : levels + level);
      }
    });
    return scaled_blocks_payload(blocks, text_, tensor.dtype, tensor.shape);
  }

  Tensor decode(const Payload& payload) const override {
    const ScaledBlocks blocks = parse_scaled_blocks(payload, 2, 8, -2);
    const int levels = levels_of(blocks.bits);
    std::vector<float> share;  // by code
    for (int level = -levels; level <= levels; ++level) {
      share.push_back(static_cast<float>(level) / static_cast<float>(levels));
    }
    return decode_scaled_blocks(blocks, payload.shape, share);
  }

  CodecProperties properties(const Shape& shape) const override {
    CodecProperties properties;
    const auto d = static_cast<double>(block_length(element_count(shape), block_));
    const double s = levels_of(bits_);
    properties.unbiased = true;
    properties.omega = std::min(d / (s * s), std::sqrt(d) / s);
    return properties;
  }

 private:
  static int levels_of(int bits) { return (1 << (bits - 1)) - 1; }
  static float at(const std::vector<float>& values, std::int64_t i) {
    return values[static_cast<std::size_t>(i)];
  }

  std::string text_;
  int bits_;
  std::int64_t block_;
};

}  // namespace

CodecDescription describe_qsgd() {
  CodecDescription description;
  description.name = "qsgd";
  description.summary = "levels of a block's l2 norm, rounded at random without bias";
  description.parameters = {
      {"bits", ParameterSpec::Type::integer, "4", 2, 8, {}, "bits of a code, sign included"},
      block_parameter("2048")};
  description.create = [](const Parameters& parameters) { return std::make_unique<Qsgd>(parameters); };
  return description;
}

}  // namespace laconic
