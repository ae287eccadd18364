#include "python/binding/arrays.h"

#include <fmt/format.h>

#include <cstring>

#include "engine/base/error.h"

// The part of the DLPack protocol (version 0, which every framework speaks) that describes one tensor.
struct DLTensorOfHost {
  void* data;
  struct {
    std::int32_t type, id;
  } device;
  std::int32_t dimensions;
  struct {
    std::uint8_t code, bits;
    std::uint16_t lanes;
  } element;
  std::int64_t* shape;
  std::int64_t* strides;
  std::uint64_t offset;
};
struct DLManagedTensor {
  DLTensorOfHost tensor;
  void* context;
  void (*release)(DLManagedTensor*);
};

namespace laconic::python {
namespace {

namespace py = pybind11;

constexpr std::int32_t host_device = 1, pinned_device = 3;

std::optional<DType> dtype_of_format(std::string_view format, py::ssize_t size) {
  // Native order, or little-endian, which is the same here.
  while (!format.empty() && (format[0] == '@' || format[0] == '=' || format[0] == '<'))
    format.remove_prefix(1);
  if (format.size() != 1) return std::nullopt;
  switch (format[0]) {
    case 'd':
      return DType::f64;
    case 'f':
      return DType::f32;
    case 'e':
      return DType::f16;
    case '?':
      return DType::boolean;
    case 'B':
    case 'c':
      return DType::u8;
    case 'b':
      return DType::i8;
    case 'h':
      return DType::i16;
    case 'i':
    case 'l':
    case 'q':
      return size == 8 ? std::optional(DType::i64) : size == 4 ? std::optional(DType::i32) : std::nullopt;
    default:
      return std::nullopt;
  }
}

std::optional<DType> dtype_of_dlpack(std::uint8_t code, std::uint8_t bits, std::uint16_t lanes) {
  if (lanes != 1) return std::nullopt;
  if (code == 2 && bits == 64) return DType::f64;
  if (code == 2 && bits == 32) return DType::f32;
  if (code == 2 && bits == 16) return DType::f16;
  if (code == 4 && bits == 16) return DType::bf16;
  if (code == 0 && bits == 64) return DType::i64;
  if (code == 0 && bits == 32) return DType::i32;
  if (code == 0 && bits == 16) return DType::i16;
  if (code == 0 && bits == 8) return DType::i8;
  if (code == 1 && bits == 8) return DType::u8;
  return std::nullopt;
}

[[noreturn]] void refuse_layout(const std::string& name) {
  fail(ErrorKind::usage, "is not contiguous, and nothing is copied unasked", name,
       "numpy.ascontiguousarray(x), or x.contiguous()");
}

}  // namespace

BorrowedArray::BorrowedArray(py::handle object, Access access, std::string name)
    : access_(access), name_(std::move(name)) {
  if (PyObject_CheckBuffer(object.ptr()) != 0) {
    borrow_buffer(object);
  } else if (py::hasattr(object, "__dlpack__")) {
    borrow_dlpack(object);
  } else {
    fail(ErrorKind::usage,
         fmt::format("is {}, which has neither the buffer protocol nor DLPack",
                     std::string(py::str(py::type::of(object)))),
         name_, "give a numpy array or a torch tensor");
  }
}

void BorrowedArray::borrow_buffer(py::handle object) {
  const int flags = PyBUF_FORMAT | PyBUF_STRIDES | (access_ == Access::write ? PyBUF_WRITABLE : 0);
  if (PyObject_GetBuffer(object.ptr(), &buffer_, flags) != 0) {
    PyErr_Clear();
    fail(ErrorKind::usage, "is read-only, and the result goes there", name_);
  }
  has_buffer_ = true;
  try {
    const std::string_view format = buffer_.format == nullptr ? "B" : buffer_.format;
    const std::optional<DType> dtype = dtype_of_format(format, buffer_.itemsize);
    if (!dtype) {
      fail(ErrorKind::usage, fmt::format("has elements of the format '{}'", format), name_,
           "float16, float32, float64 and integers are taken; bfloat16 comes as a torch tensor");
    }
    if (PyBuffer_IsContiguous(&buffer_, 'C') == 0) refuse_layout(name_);
    dtype_ = *dtype;
    shape_.assign(buffer_.shape, buffer_.shape + buffer_.ndim);
    data_ = static_cast<std::byte*>(buffer_.buf);
  } catch (...) {
    PyBuffer_Release(&buffer_);
    throw;
  }
}

void BorrowedArray::borrow_dlpack(py::handle object) {
  // A tensor that records gradients does not export itself; its numbers are the same.
  const py::object plain = py::hasattr(object, "detach") ? py::object(object.attr("detach")())
                                                         : py::reinterpret_borrow<py::object>(object);
  const py::object device = plain.attr("__dlpack_device__")();
  const auto type = device[py::int_(0)].cast<std::int32_t>();
  if (type != host_device && type != pinned_device) {
    fail(ErrorKind::usage, "lies on a device; codecs read the host's memory", name_, "x.cpu()");
  }
  const py::object capsule = plain.attr("__dlpack__")();
  auto* managed = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
  if (managed == nullptr) throw py::error_already_set();
  // From here on the memory is ours to release.
  PyCapsule_SetName(capsule.ptr(), "used_dltensor");
  managed_ = managed;
  try {
    const DLTensorOfHost& tensor = managed->tensor;
    const std::optional<DType> dtype =
        dtype_of_dlpack(tensor.element.code, tensor.element.bits, tensor.element.lanes);
    if (!dtype) fail(ErrorKind::usage, "has elements of a type that codecs do not take", name_);
    dtype_ = *dtype;
    shape_.assign(tensor.shape, tensor.shape + tensor.dimensions);
    if (tensor.strides != nullptr && element_count(shape_) > 0) {
      std::int64_t expected = 1;
      for (std::size_t i = shape_.size(); i-- > 0;) {
        if (shape_[i] != 1 && tensor.strides[i] != expected) refuse_layout(name_);
        expected *= shape_[i];
      }
    }
    data_ = static_cast<std::byte*>(tensor.data) + tensor.offset;
  } catch (...) {
    if (managed_->release != nullptr) managed_->release(managed_);
    throw;
  }
}

BorrowedArray::~BorrowedArray() {
  if (has_buffer_) PyBuffer_Release(&buffer_);
  if (managed_ != nullptr && managed_->release != nullptr) managed_->release(managed_);
}

void BorrowedArray::require_floats() const {
  if (dtype_ != DType::f32) {
    fail(ErrorKind::usage, fmt::format("holds {} numbers; F32 is needed here", name_of(dtype_)), name_);
  }
  if (reinterpret_cast<std::uintptr_t>(data_) % alignof(float) != 0) {
    fail(ErrorKind::usage, "does not begin at a multiple of 4 bytes", name_);
  }
}

std::span<std::byte> BorrowedArray::writable_bytes() {
  require(access_ == Access::write, "the array was borrowed for writing");
  return {data_, view().bytes()};
}

std::span<const float> BorrowedArray::floats() const {
  require_floats();
  return {reinterpret_cast<const float*>(data_), static_cast<std::size_t>(element_count(shape_))};
}

std::span<float> BorrowedArray::writable_floats() {
  require(access_ == Access::write, "the array was borrowed for writing");
  require_floats();
  return {reinterpret_cast<float*>(data_), static_cast<std::size_t>(element_count(shape_))};
}

py::array array_of(Tensor&& tensor) {
  require(tensor.dtype() == DType::f32 || tensor.dtype() == DType::i64, "results are f32 or i64");
  auto* owner = new Tensor(std::move(tensor));
  const py::capsule keep(owner, [](void* pointer) { delete static_cast<Tensor*>(pointer); });
  const py::dtype type =
      owner->dtype() == DType::f32 ? py::dtype::of<float>() : py::dtype::of<std::int64_t>();
  return py::array(type, owner->shape(), owner->data(), keep);
}

py::bytes bytes_of(ByteSpan bytes) {
  return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

}  // namespace laconic::python
