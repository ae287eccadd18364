// Arrays that Python owns, read and written where they lie: whatever has the buffer protocol (numpy, bytes,
// bytearray, memoryview) or DLPack (torch, JAX, CuPy on the host). Nothing is ever copied on the way in: what
// is not contiguous, or lies on a device, is refused.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <span>
#include <string>

#include "engine/tensor/tensor.h"

struct DLManagedTensor;

namespace laconic::python {

// Made and destroyed with the GIL held; what it shows may be used without.
class BorrowedArray {
 public:
  enum class Access { read, write };
  // `name` stands in errors.
  BorrowedArray(pybind11::handle object, Access access, std::string name);
  ~BorrowedArray();
  BorrowedArray(const BorrowedArray&) = delete;
  BorrowedArray& operator=(const BorrowedArray&) = delete;

  TensorView view() const { return {dtype_, shape_, data_}; }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  // The bytes, whatever the elements are.
  ByteSpan bytes() const { return view().span(); }
  std::span<std::byte> writable_bytes();
  // Refuses elements that are not f32.
  std::span<const float> floats() const;
  std::span<float> writable_floats();

 private:
  void borrow_buffer(pybind11::handle object);
  void borrow_dlpack(pybind11::handle object);
  void require_floats() const;

  Access access_;
  std::string name_;
  DType dtype_ = DType::f32;
  Shape shape_;
  std::byte* data_ = nullptr;
  Py_buffer buffer_{};
  bool has_buffer_ = false;
  DLManagedTensor* managed_ = nullptr;
};

// A numpy array that takes over the tensor's memory (f32, i64).
pybind11::array array_of(Tensor&& tensor);
pybind11::bytes bytes_of(ByteSpan bytes);

}  // namespace laconic::python
