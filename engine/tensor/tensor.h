// Dense row-major arrays: Tensor owns its bytes (aligned to 64), TensorView looks at someone's.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/tensor/dtype.h"

namespace laconic {

using Shape = std::vector<std::int64_t>;

// Product of the sides; refuses negative sides and products over 2^48.
std::int64_t element_count(std::span<const std::int64_t> shape);
std::string to_string(std::span<const std::int64_t> shape);  // "[4096, 11008]"

struct TensorView {
  DType dtype = DType::f32;
  Shape shape;
  const std::byte* data = nullptr;

  std::int64_t elements() const { return element_count(shape); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_of(dtype); }
  ByteSpan span() const { return {data, bytes()}; }
  // Requires dtype f32 and 4-byte alignment.
  std::span<const float> f32() const;
  // A copy converted to f32 (real dtypes only).
  std::vector<float> to_f32() const;
  // Rows [begin, end) of the first dimension.
  TensorView rows(std::int64_t begin, std::int64_t end) const;
};

class Tensor {
 public:
  Tensor() = default;
  Tensor(DType dtype, Shape shape);  // zeros
  static Tensor from_f32(Shape shape, std::span<const float> values, DType dtype = DType::f32);
  static Tensor copy_of(const TensorView& view);

  // Copies must be asked for: copy_of(view()).
  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;
  Tensor(Tensor&&) noexcept = default;
  Tensor& operator=(Tensor&&) noexcept = default;

  DType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  std::int64_t elements() const { return elements_; }
  std::size_t bytes() const { return static_cast<std::size_t>(elements_) * size_of(dtype_); }
  std::byte* data() { return data_.get(); }
  const std::byte* data() const { return data_.get(); }
  ByteSpan span() const { return {data_.get(), bytes()}; }
  TensorView view() const { return {dtype_, shape_, data_.get()}; }

  template <class T>
  std::span<T> as() {
    require(sizeof(T) == size_of(dtype_), "element type fits the dtype");
    return {reinterpret_cast<T*>(data_.get()), static_cast<std::size_t>(elements_)};
  }
  template <class T>
  std::span<const T> as() const {
    require(sizeof(T) == size_of(dtype_), "element type fits the dtype");
    return {reinterpret_cast<const T*>(data_.get()), static_cast<std::size_t>(elements_)};
  }
  std::span<float> f32();
  std::span<const float> f32() const;

 private:
  struct Free {
    void operator()(std::byte* pointer) const;
  };
  DType dtype_ = DType::f32;
  Shape shape_ = {0};
  std::int64_t elements_ = 0;
  std::unique_ptr<std::byte[], Free> data_;
};

// Refuses NaN and infinity in a real tensor, naming the tensor and the flat index of the first one.
void require_finite(const TensorView& view, std::string_view name);
void require_finite(std::span<const float> values, std::string_view name);

}  // namespace laconic
