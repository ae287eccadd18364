#include "engine/codec/packed_run.h"

#include "engine/coding/bit_packing.h"

namespace laconic {

Tensor packed_run(std::span<const std::uint8_t> codes, int bits) {
  Tensor packed(DType::u8, {static_cast<std::int64_t>(packed_bytes(codes.size(), bits))});
  pack_bits(codes, bits,
            {reinterpret_cast<std::uint8_t*>(packed.data()), static_cast<std::size_t>(packed.elements())});
  return packed;
}

std::vector<std::uint8_t> unpacked_run(const Payload& payload, std::string_view field, std::int64_t count,
                                       int bits) {
  const std::uint64_t bytes = packed_bytes(static_cast<std::uint64_t>(count), bits);
  const Tensor& packed = payload.field(field, DType::u8, static_cast<std::int64_t>(bytes));
  std::vector<std::uint8_t> codes(static_cast<std::size_t>(count));
  unpack_bits({reinterpret_cast<const std::uint8_t*>(packed.data()), static_cast<std::size_t>(bytes)}, bits,
              codes);
  return codes;
}

}  // namespace laconic
