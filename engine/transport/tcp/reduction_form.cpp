#include "engine/transport/tcp/reduction_form.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>

#include "engine/base/error.h"
#include "engine/tensor/dtype.h"
#include "engine/transport/tcp/fold_kernel.h"

namespace laconic {
namespace {

constexpr std::size_t plain_block = 2048;  // elements that are worked on at a time, within the first cache

DType half_type(NumberType type) { return type == NumberType::f16 ? DType::f16 : DType::bf16; }
bool is_half(NumberType type) { return type == NumberType::f16 || type == NumberType::bf16; }

// Working memory of this thread, one piece per purpose.
std::byte* thread_room(int purpose, std::size_t bytes) {
  struct Room {
    std::unique_ptr<std::byte[]> memory;
    std::size_t size = 0;
  };
  thread_local std::array<Room, 3> rooms;
  Room& room = rooms[static_cast<std::size_t>(purpose)];
  if (room.size < bytes) {
    room.memory.reset(new std::byte[bytes]);
    room.size = bytes;
  }
  return room.memory.get();
}

}  // namespace

ReductionForm::ReductionForm(NumberType type, ReduceOp op, const Quantization& quantization,
                             std::size_t members, const RandomStream& draws)
    : type_(type),
      work_(is_half(type) ? NumberType::f32 : type),
      op_(op),
      quantization_(quantization),
      members_(members),
      grain_(quantization.kind == QuantizationKind::none ? 16 : quantization.block),
      draws_(draws),
      narrow_(quantization),
      wide_(quantization) {
  check_quantization(quantization);
  if (!quantized()) return;
  if (!is_floating(type))
    fail(ErrorKind::usage, fmt::format("{} numbers are not quantised", name_of(type)), {},
         "send them as they are");
  if (static_cast<std::size_t>(quantization.bits) >= 8 * size_of(type)) {
    fail(ErrorKind::usage, fmt::format("{} bits are no less than {} has", quantization.bits, name_of(type)),
         {}, "send the numbers as they are, or with fewer bits");
  }
}

std::size_t ReductionForm::partial_bytes(std::size_t count) const {
  if (!quantized()) return count * size_of(work_);
  return work_ == NumberType::f64 ? wide_.wire_bytes(count) : narrow_.wire_bytes(count);
}
std::size_t ReductionForm::result_bytes(std::size_t count) const {
  return quantized() ? partial_bytes(count) : count * size_of(type_);
}

const std::byte* ReductionForm::load_own(const std::byte* own, std::size_t count, std::byte* room) const {
  if (work_ == type_) return own;
  convert_to_f32(half_type(type_), own, {reinterpret_cast<float*>(room), count});
  return room;
}

const std::byte* ReductionForm::load_partial(const std::byte* wire, std::size_t count,
                                             std::byte* room) const {
  if (!quantized()) return wire;
  dequantize(wire, count, room);
  return room;
}

void ReductionForm::quantize(const std::byte* work, std::uint64_t first, std::size_t count,
                             std::byte* wire) const {
  std::optional<std::size_t> bad;
  if (work_ == NumberType::f64) {
    bad = wide_.encode({reinterpret_cast<const double*>(work), count}, draws_, first, wire);
  } else {
    bad = narrow_.encode({reinterpret_cast<const float*>(work), count}, draws_, first, wire);
  }
  if (bad) {
    fail(ErrorKind::input, fmt::format("number {} of a quantised reduction is NaN or infinite", first + *bad),
         {}, "send it unquantised, or look for where the number comes from");
  }
}

void ReductionForm::dequantize(const std::byte* wire, std::size_t count, std::byte* work) const {
  if (work_ == NumberType::f64) {
    wide_.decode(wire, {reinterpret_cast<double*>(work), count});
  } else {
    narrow_.decode(wire, {reinterpret_cast<float*>(work), count});
  }
}

void ReductionForm::store(const std::byte* work, std::size_t count, std::byte* elements) const {
  if (work_ == type_) {
    if (work != elements) std::memcpy(elements, work, count * size_of(type_));
  } else {
    convert_from_f32({reinterpret_cast<const float*>(work), count}, half_type(type_), elements);
  }
}

void ReductionForm::begin(const std::byte* own, std::uint64_t first, std::size_t count,
                          std::byte* wire) const {
  if (partial_is_plain()) {
    std::memcpy(wire, own, count * size_of(type_));
    return;
  }
  if (!quantized()) {
    load_own(own, count, wire);
    return;
  }
  std::byte* room = thread_room(0, grain_ * size_of(work_));
  for (std::size_t done = 0; done < count; done += grain_) {
    const std::size_t part = std::min(grain_, count - done);
    const std::byte* work = load_own(own + done * size_of(type_), part, room);
    quantize(work, first + done, part, wire);
    wire += partial_bytes(part);
  }
}

void ReductionForm::fold(const std::byte* partial, const std::byte* own, std::uint64_t first,
                         std::size_t count, std::byte* next) const {
  if (partial_is_plain()) return fold_numbers(type_, op_, partial, own, next, count);
  const std::size_t block = quantized() ? grain_ : plain_block;
  std::byte* room = thread_room(0, block * size_of(work_));
  std::byte* own_room = thread_room(1, block * size_of(work_));
  for (std::size_t done = 0; done < count; done += block) {
    const std::size_t part = std::min(block, count - done);
    const std::byte* left = load_partial(partial, part, room);
    const std::byte* right = load_own(own + done * size_of(type_), part, own_room);
    if (quantized()) {
      fold_numbers(work_, op_, left, right, room, part);
      quantize(room, first + done, part, next);
    } else {
      fold_numbers(work_, op_, left, right, next, part);
    }
    partial += partial_bytes(part);
    next += partial_bytes(part);
  }
}

void ReductionForm::finish(std::span<const std::byte* const> parts, const std::byte* own, std::uint64_t first,
                           std::size_t count, std::byte* result, std::byte* wire) const {
  const std::size_t block = quantized() ? grain_ : plain_block;
  std::byte* sum = thread_room(0, block * size_of(work_));
  std::byte* room = thread_room(1, block * size_of(work_));
  std::size_t skip = 0;
  for (std::size_t done = 0; done < count; done += block) {
    const std::size_t size = std::min(block, count - done);
    const auto load = [&](const std::byte* part, std::byte* to) {
      return part == nullptr ? load_own(own + done * size_of(type_), size, to)
                             : load_partial(part + skip, size, to);
    };
    const std::byte* left = load(parts[0], sum);
    for (std::size_t i = 1; i < parts.size(); ++i) {
      fold_numbers(work_, op_, left, load(parts[i], room), sum, size);
      left = sum;
    }
    if (left != sum) std::memcpy(sum, left, size * size_of(work_));
    if (op_ == ReduceOp::avg) divide_numbers(work_, members_, sum, size);
    if (quantized()) {
      quantize(sum, first + done, size, wire);
      dequantize(wire, size, sum);
      wire += partial_bytes(size);
    }
    store(sum, size, result + done * size_of(type_));
    skip += partial_bytes(size);
  }
}

void ReductionForm::take_result(const std::byte* wire, std::size_t count, std::byte* result) const {
  if (!quantized()) {
    std::memcpy(result, wire, count * size_of(type_));
    return;
  }
  if (work_ == type_ && reinterpret_cast<std::uintptr_t>(result) % size_of(type_) == 0)
    return dequantize(wire, count, result);
  std::byte* room = thread_room(0, grain_ * size_of(work_));
  for (std::size_t done = 0; done < count; done += grain_) {
    const std::size_t part = std::min(grain_, count - done);
    dequantize(wire, part, room);
    store(room, part, result + done * size_of(type_));
    wire += partial_bytes(part);
  }
}

}  // namespace laconic
