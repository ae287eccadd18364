// What travels of a reduction, and how it is folded: for one element type, operation and quantisation.
//
// A partial sum travels as the elements themselves (integers, f32, f64), as f32 (of f16 and bf16, which are
// accumulated in f32 and rounded once, by the owner), or quantised. A result travels as the elements, or
// quantised once by its owner, who keeps what the others will decode: all members hold the same bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "engine/base/random.h"
#include "engine/transport/tcp/block_quantizer.h"
#include "engine/transport/tcp/number_type.h"

namespace laconic {

class ReductionForm {
 public:
  // `members` divides averages. `draws` are those of this member in this operation (stochastic rounding).
  // Error(usage) for a quantisation that the type does not allow.
  ReductionForm(NumberType type, ReduceOp op, const Quantization& quantization, std::size_t members,
                const RandomStream& draws);

  // Elements of a piece are a multiple of this, but for the last piece; bytes of pieces then add up.
  std::size_t grain() const { return grain_; }
  std::size_t element_bytes() const { return size_of(type_); }
  // Whether the wire holds the elements as they lie in memory.
  bool partial_is_plain() const { return !quantized() && work_ == type_; }
  bool result_is_plain() const { return !quantized(); }
  std::size_t partial_bytes(std::size_t count) const;
  std::size_t result_bytes(std::size_t count) const;

  // `first` is the index of the first element in the whole vector. All throw Error(input) where a number that
  // is to be quantised is NaN or infinite. Arrays may have any alignment. This member's numbers as a partial
  // sum.
  void begin(const std::byte* own, std::uint64_t first, std::size_t count, std::byte* wire) const;
  // next = partial op own, both on the wire. Where partial_is_plain, `next` may be `own`.
  void fold(const std::byte* partial, const std::byte* own, std::uint64_t first, std::size_t count,
            std::byte* next) const;
  // The owner's: ((parts[0] op parts[1]) op ..), null standing for `own`; the result in memory, and on the
  // wire unless result_is_plain. `result` may be `own`.
  void finish(std::span<const std::byte* const> parts, const std::byte* own, std::uint64_t first,
              std::size_t count, std::byte* result, std::byte* wire) const;
  // What the owner has sent, in memory.
  void take_result(const std::byte* wire, std::size_t count, std::byte* result) const;

 private:
  bool quantized() const { return quantization_.kind != QuantizationKind::none; }
  const std::byte* load_own(const std::byte* own, std::size_t count, std::byte* room) const;
  const std::byte* load_partial(const std::byte* wire, std::size_t count, std::byte* room) const;
  void quantize(const std::byte* work, std::uint64_t first, std::size_t count, std::byte* wire) const;
  void dequantize(const std::byte* wire, std::size_t count, std::byte* work) const;
  void store(const std::byte* work, std::size_t count, std::byte* elements) const;

  NumberType type_, work_;  // of the elements, of sums
  ReduceOp op_;
  Quantization quantization_;
  std::size_t members_, grain_;
  RandomStream draws_;
  BlockQuantizer<float> narrow_;
  BlockQuantizer<double> wide_;
};

}  // namespace laconic
