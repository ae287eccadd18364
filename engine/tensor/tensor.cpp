#include "engine/tensor/tensor.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <ranges>

#include "engine/base/finite.h"

namespace laconic {

std::int64_t element_count(std::span<const std::int64_t> shape) {
  constexpr std::int64_t limit = std::int64_t{1} << 48;
  std::int64_t count = 1;
  bool empty = false;
  for (std::int64_t side : shape) {
    if (side < 0) fail(ErrorKind::input, "negative side in shape " + to_string(shape));
    if (side == 0) {
      empty = true;
    } else {
      if (side > limit / count) fail(ErrorKind::input, "absurd shape " + to_string(shape));
      count *= side;
    }
  }
  return empty ? 0 : count;
}

std::string to_string(std::span<const std::int64_t> shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(shape[i]);
  }
  return text + "]";
}

std::span<const float> TensorView::f32() const {
  require(dtype == DType::f32 && reinterpret_cast<std::uintptr_t>(data) % alignof(float) == 0,
          "view is an aligned f32 tensor");
  return {reinterpret_cast<const float*>(data), static_cast<std::size_t>(elements())};
}

std::vector<float> TensorView::to_f32() const {
  std::vector<float> values(static_cast<std::size_t>(elements()));
  convert_to_f32(dtype, data, values);
  return values;
}

TensorView TensorView::rows(std::int64_t begin, std::int64_t end) const {
  require(!shape.empty() && 0 <= begin && begin <= end && end <= shape[0], "rows lie inside the tensor");
  const std::size_t row_bytes = shape[0] == 0 ? 0 : bytes() / static_cast<std::size_t>(shape[0]);
  TensorView part = *this;
  part.shape[0] = end - begin;
  part.data = data + static_cast<std::size_t>(begin) * row_bytes;
  return part;
}

void Tensor::Free::operator()(std::byte* pointer) const { std::free(pointer); }

Tensor::Tensor(DType dtype, Shape shape)
    : dtype_(dtype), shape_(std::move(shape)), elements_(element_count(shape_)) {
  const std::size_t size = std::max<std::size_t>(64, (bytes() + 63) / 64 * 64);
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(64, size));
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory, 0, size);
  data_.reset(memory);
}

Tensor Tensor::from_f32(Shape shape, std::span<const float> values, DType dtype) {
  Tensor tensor(dtype, std::move(shape));
  require(static_cast<std::size_t>(tensor.elements()) == values.size(), "values fill the shape");
  convert_from_f32(values, dtype, tensor.data());
  return tensor;
}

Tensor Tensor::copy_of(const TensorView& view) {
  Tensor tensor(view.dtype, view.shape);
  if (tensor.bytes() > 0) std::memcpy(tensor.data(), view.data, tensor.bytes());
  return tensor;
}

std::span<float> Tensor::f32() {
  require(dtype_ == DType::f32, "tensor is f32");
  return as<float>();
}
std::span<const float> Tensor::f32() const {
  require(dtype_ == DType::f32, "tensor is f32");
  return as<float>();
}

void require_finite(std::span<const float> values, std::string_view name) {
  constexpr std::size_t tile = 4096;
  for (std::size_t begin = 0; begin < values.size(); begin += tile) {
    const std::size_t end = std::min(values.size(), begin + tile);
    if (all_finite(values.subspan(begin, end - begin))) continue;
    for (std::size_t i = begin; i < end; ++i) {
      if (!std::isfinite(values[i])) {
        fail(ErrorKind::input,
             std::string(std::isnan(values[i]) ? "NaN" : "infinity") + " at flat index " + std::to_string(i),
             name, "repair or leave out this tensor");
      }
    }
  }
}

void require_finite(const TensorView& view, std::string_view name) {
  if (view.dtype == DType::f32 && reinterpret_cast<std::uintptr_t>(view.data) % alignof(float) == 0) {
    require_finite(view.f32(), name);
  } else {
    require_finite(view.to_f32(), name);
  }
}

}  // namespace laconic
