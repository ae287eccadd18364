// qsgd: levels l in -s .. s of the l2 norm of a block, s = 2^(bits-1) - 1, rounded at random so that the mean
// is the number itself: |z| s / norm goes up with the probability of its fraction. (QSGD, Alistarh et al.
// 2017, arXiv 1610.02132, eq. 3.1; cards 01 and 08.) Unbiased, E|Q(z) - z|^2 <= min(d / s^2, sqrt(d) / s)
// |z|^2 over blocks of d. Codes are l + s; the value is norm (l / s).
#include <array>
#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/codec/qsgd_kernel.h"
#include "engine/codec/registry.h"
#include "engine/codec/scaled_blocks.h"
#include "engine/coding/bit_packing.h"
#include "engine/math/random_fill.h"

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
    std::vector<float> storage;
    const std::span<const float> values = finite_floats(tensor, context.tensor_name, storage);
    const auto length = static_cast<std::int64_t>(values.size());
    const RandomStream random(context.seed, "qsgd", context.tensor_name, context.step, context.peer);
    const int levels = levels_of(bits_);
    ScaledBlocks blocks;
    blocks.bits = bits_;
    blocks.block = block_;
    blocks.scale.resize(static_cast<std::size_t>(block_count(length, block_)));
    const std::int64_t size = block_length(length, block_);
    // Blocks that end between bytes are packed together.
    const bool packs_apart = size * bits_ % 8 == 0;
    Tensor packed(DType::u8, {static_cast<std::int64_t>(packed_bytes(values.size(), bits_))});
    const std::span<std::uint8_t> to(reinterpret_cast<std::uint8_t*>(packed.data()), packed.bytes());
    if (!packs_apart) blocks.codes.resize(values.size());
    for_each_block(length, block_, [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
      const auto place = static_cast<std::size_t>(begin);
      const auto count = static_cast<std::size_t>(end - begin);
      const float scale = scale_of(values.subspan(place, count), context.tensor_name);
      blocks.scale[static_cast<std::size_t>(index)] = scale;
      std::array<std::uint8_t, run_length> run;
      // Runs end where bytes do: run_length is a multiple of 8.
      for (std::size_t i = 0; i < count; i += run_length) {
        const std::size_t part = std::min(run_length, count - i);
        const std::span<std::uint8_t> codes =
            packs_apart ? std::span(run).first(part) : std::span(blocks.codes).subspan(place + i, part);
        encode_run(values.subspan(place + i, part), random, place + i, scale, levels, codes);
        if (!packs_apart) continue;
        const auto bits = static_cast<std::size_t>(bits_);
        pack_bits(codes, bits_, to.subspan((place + i) * bits / 8, packed_bytes(part, bits_)));
      }
    });
    if (!packs_apart) pack_bits(blocks.codes, bits_, to);
    return scaled_blocks_payload(blocks, std::move(packed), text_, tensor.dtype, tensor.shape);
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
  static float scale_of(std::span<const float> block, std::string_view name) {
    const double norm = std::sqrt(sum_of_squares(block));
    if (norm > std::numeric_limits<float>::max()) {
      fail(ErrorKind::input, "the l2 norm of a block is over the largest f32", name,
           "use smaller blocks, or scale the tensor down");
    }
    return static_cast<float>(norm);
  }

  // `first`: the draw of the run's first number, its place in the tensor.
  static void encode_run(std::span<const float> values, const RandomStream& random, std::size_t first,
                         float scale, int levels, std::span<std::uint8_t> codes) {
    if (scale == 0) {
      std::fill(codes.begin(), codes.end(), static_cast<std::uint8_t>(levels));
      return;
    }
    std::array<std::uint32_t, run_length + 4> words;
    const std::size_t before = first % 4;  // draws come in fours
    random_bits(random, first - before, std::span(words).first(values.size() + before));
    qsgd_codes(values, std::span(words).subspan(before, values.size()), scale, levels, codes);
  }

  static constexpr std::size_t run_length = 1024;

  std::string text_;
  int bits_;
  std::int64_t block_;
};

}  // namespace

CodecDescription describe_qsgd_codec() {
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
