// qsgd: levels l in -s .. s of the l2 norm of a block, s = 2^(bits-1) - 1, rounded at random so that the mean
// is the number itself: |z| s / norm goes up with the probability of its fraction. (QSGD, Alistarh et al.
// 2017, arXiv 1610.02132, eq. 3.1; cards 01 and 08.) Unbiased, E|Q(z) - z|^2 <= min(d / s^2, sqrt(d) / s)
// |z|^2 over blocks of d. Codes are l + s; the value is norm (l / s).
#include <array>
#include <atomic>
#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
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
    // Whether all are finite shows in the norms.
    const std::span<const float> values = real_floats(tensor, context.tensor_name, storage);
    const auto length = static_cast<std::int64_t>(values.size());
    const RandomStream random(context.seed, "qsgd", context.tensor_name, context.step, context.peer);
    ScaledBlocks blocks;
    blocks.bits = bits_;
    blocks.block = block_;
    blocks.scale.resize(static_cast<std::size_t>(block_count(length, block_)));
    Tensor packed(DType::u8, {static_cast<std::int64_t>(packed_bytes(values.size(), bits_))});
    const std::span<std::uint8_t> to(reinterpret_cast<std::uint8_t*>(packed.data()), packed.bytes());
    const std::int64_t size = block_length(length, block_);
    std::atomic<bool> finite = true;
    const auto block_of = [&](std::int64_t index) {
      const auto place = static_cast<std::size_t>(index * size);
      return values.subspan(place, std::min(static_cast<std::size_t>(size), values.size() - place));
    };
    // Tasks of whole bytes, whatever a block is, that stay in the cache between the two passes.
    const std::int64_t blocks_together =
        std::max<std::int64_t>(1, 4096 / std::max<std::int64_t>(size, 1)) * 8;
    parallel_tiles(block_count(length, block_), blocks_together, [&](std::int64_t begin, std::int64_t end) {
      const auto first = static_cast<std::size_t>(begin * size);
      const auto last = std::min(static_cast<std::size_t>(end * size), values.size());
      for (std::int64_t index = begin; index < end; ++index) {
        const double norm = std::sqrt(sum_of_squares(block_of(index)));
        if (!(norm <= std::numeric_limits<float>::max())) finite = false;
        blocks.scale[static_cast<std::size_t>(index)] = static_cast<float>(norm);
      }
      if (!finite) return;
      encode_tile(values, first, last, static_cast<std::size_t>(size), random, blocks.scale, to);
    });
    if (!finite) {
      require_finite(values, context.tensor_name);
      fail(ErrorKind::input, "the l2 norm of a block is over the largest f32", context.tensor_name,
           "use smaller blocks, or scale the tensor down");
    }
    return scaled_blocks_payload(blocks, std::move(packed), text_, tensor.dtype, tensor.shape);
  }

  Tensor decode(const Payload& payload) const override {
    Tensor tensor(DType::f32, payload.shape);
    add_decoded(payload, tensor.f32());
    return tensor;
  }

  void add_decoded(const Payload& payload, std::span<float> sum) const override {
    const ScaledBlocks blocks = parse_scaled_blocks(payload, 2, 8, -2);
    require(sum.size() == blocks.codes.size(), "the sum has the tensor's length");
    for_each_block(static_cast<std::int64_t>(sum.size()), blocks.block,
                   [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
                     const auto place = static_cast<std::size_t>(begin);
                     const auto count = static_cast<std::size_t>(end - begin);
                     qsgd_add(std::span(blocks.codes).subspan(place, count),
                              blocks.scale[static_cast<std::size_t>(index)], levels_of(blocks.bits),
                              sum.subspan(place, count));
                   });
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
  // Numbers first to last; `first` is a multiple of 8.
  void encode_tile(std::span<const float> values, std::size_t first, std::size_t last, std::size_t block,
                   const RandomStream& random, const std::vector<float>& scales,
                   std::span<std::uint8_t> to) const {
    const auto bits = static_cast<std::size_t>(bits_);
    const bool whole_bytes = block * bits % 8 == 0;  // else blocks end between bytes: by codes of a byte each
    // 16 bits a number: draw i is a half of word i / 2. Words come in fours.
    std::array<std::uint32_t, run_length / 2> words;
    std::array<std::uint16_t, run_length> draws;
    std::array<std::uint8_t, run_length> codes, part_packed;
    for (std::size_t begin = first; begin < last; begin += run_length) {
      const std::size_t count = std::min(run_length, last - begin);
      random_bits(random, begin / 2, std::span(words).first((count + 1) / 2));
      for (std::size_t i = 0; i < words.size(); ++i) {
        draws[2 * i] = static_cast<std::uint16_t>(words[i]);
        draws[2 * i + 1] = static_cast<std::uint16_t>(words[i] >> 16);
      }
      const std::span<std::uint8_t> run_to = to.subspan(begin * bits / 8, packed_bytes(count, bits_));
      for (std::size_t i = 0; i < count;) {
        const std::size_t index = (begin + i) / block;
        const std::size_t part = std::min(count - i, (index + 1) * block - (begin + i));
        const auto z = values.subspan(begin + i, part);
        const std::span<const std::uint16_t> u = std::span(draws).subspan(i, part);
        if (whole_bytes) {
          encode_part(z, u, scales[index], run_to.subspan(i * bits / 8, packed_bytes(part, bits_)));
        } else {
          const auto packed = std::span(part_packed).first(packed_bytes(part, bits_));
          encode_part(z, u, scales[index], packed);
          unpack_bits(packed, bits_, std::span(codes).subspan(i, part));
        }
        i += part;
      }
      if (!whole_bytes) pack_bits(std::span(codes).first(count), bits_, run_to);
    }
  }

  void encode_part(std::span<const float> values, std::span<const std::uint16_t> draws, float scale,
                   std::span<std::uint8_t> packed) const {
    if (scale > 0) {
      qsgd_encode(values, draws, scale, bits_, packed);
    } else {
      const std::vector<std::uint8_t> zeros(values.size(), static_cast<std::uint8_t>(levels_of(bits_)));
      pack_bits(zeros, bits_, packed);
    }
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
