#include "engine/codec/scaled_blocks.h"

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/codec/codec.h"
#include "engine/codec/packed_run.h"

namespace laconic {

std::int64_t block_length(std::int64_t length, std::int64_t block) {
  return block == 0 ? length : std::min(length, block);
}

std::int64_t block_count(std::int64_t length, std::int64_t block) {
  const std::int64_t size = block_length(length, block);
  return size == 0 ? 0 : (length + size - 1) / size;
}

void for_each_block(
    std::int64_t length, std::int64_t block,
    const std::function<void(std::int64_t index, std::int64_t begin, std::int64_t end)>& visit) {
  const std::int64_t size = block_length(length, block);
  if (size == 0) return;
  parallel_for(block_count(length, block),
               [&](std::int64_t index) { visit(index, index * size, std::min(length, (index + 1) * size)); });
}

Payload scaled_blocks_payload(const ScaledBlocks& blocks, std::string codec, DType dtype,
                              const Shape& shape) {
  return scaled_blocks_payload(blocks, packed_run(blocks.codes, blocks.bits), std::move(codec), dtype, shape);
}

Payload scaled_blocks_payload(const ScaledBlocks& blocks, Tensor packed, std::string codec, DType dtype,
                              const Shape& shape) {
  Payload payload;
  payload.codec = std::move(codec);
  payload.dtype = dtype;
  payload.shape = shape;
  payload.attributes.set("bits", std::int64_t{blocks.bits});
  payload.attributes.set("block", blocks.block);
  payload.add("codes", std::move(packed));
  payload.add("scale", Tensor::from_f32({static_cast<std::int64_t>(blocks.scale.size())}, blocks.scale));
  return payload;
}

ScaledBlocks parse_scaled_blocks(const Payload& payload, int bits_low, int bits_high, int largest_code) {
  require_decodable(payload);
  ScaledBlocks blocks;
  blocks.bits = static_cast<int>(payload.attributes.integer("bits", bits_low, bits_high));
  blocks.block = payload.attributes.integer("block", 0, std::int64_t{1} << 40);
  const std::int64_t length = element_count(payload.shape);
  const Tensor& scale = payload.field("scale", DType::f32, block_count(length, blocks.block));
  blocks.scale.assign(scale.f32().begin(), scale.f32().end());
  for (const float value : blocks.scale) {
    if (!std::isfinite(value) || value < 0) {
      fail(ErrorKind::corrupt, "a scale is not a finite number of at least 0", payload.codec);
    }
  }
  blocks.codes = unpacked_run(payload, "codes", length, blocks.bits);
  const int most = largest_code < 0 ? (1 << blocks.bits) + largest_code : largest_code;
  for (const std::uint8_t code : blocks.codes) {
    if (code > most) fail(ErrorKind::corrupt, "a code has no level", payload.codec);
  }
  return blocks;
}

Tensor decode_scaled_blocks(const ScaledBlocks& blocks, const Shape& shape, std::span<const float> level) {
  Tensor tensor(DType::f32, shape);
  float* to = tensor.f32().data();
  for_each_block(element_count(shape), blocks.block,
                 [&](std::int64_t index, std::int64_t begin, std::int64_t end) {
                   const float scale = blocks.scale[static_cast<std::size_t>(index)];
                   for (std::int64_t i = begin; i < end; ++i) {
                     to[i] = scale * level[blocks.codes[static_cast<std::size_t>(i)]];
                   }
                 });
  return tensor;
}

ParameterSpec block_parameter(const char* default_value) {
  return {"block",
          ParameterSpec::Type::integer,
          default_value,
          0,
          1 << 30,
          {},
          "numbers that share a scale; 0: the whole tensor"};
}

}  // namespace laconic
