// Errors of the engine as Python exceptions with the same text: laconic.Error and one subclass per kind, each
// also the built-in exception that a Python program would expect.
#include "python/binding/bind.h"

#include <array>
#include <string>

#include "engine/base/error.h"

namespace laconic::python {
namespace {

namespace py = pybind11;

constexpr std::size_t error_kinds = 7;
// By ErrorKind. Borrowed from the module, which lives as long as the process.
std::array<PyObject*, error_kinds> exception_of{};

PyObject* make_exception(py::module_& module, const char* name, const py::tuple& bases) {
  const std::string full = std::string("laconic.") + name;
  PyObject* type = PyErr_NewException(full.c_str(), bases.ptr(), nullptr);
  if (type == nullptr) throw py::error_already_set();
  module.attr(name) = py::reinterpret_borrow<py::object>(type);
  return type;
}

}  // namespace

void bind_errors(py::module_& module) {
  const auto borrowed = [](PyObject* object) { return py::reinterpret_borrow<py::object>(object); };
  const py::object base =
      borrowed(make_exception(module, "Error", py::make_tuple(borrowed(PyExc_Exception))));
  const auto kind = [&](ErrorKind which, const char* name, PyObject* like) {
    exception_of[static_cast<std::size_t>(which)] =
        make_exception(module, name, py::make_tuple(base, borrowed(like)));
  };
  kind(ErrorKind::usage, "UsageError", PyExc_ValueError);
  kind(ErrorKind::input, "InputError", PyExc_ValueError);
  kind(ErrorKind::unsupported, "UnsupportedError", PyExc_NotImplementedError);
  kind(ErrorKind::corrupt, "CorruptError", PyExc_ValueError);
  kind(ErrorKind::io, "IoError", PyExc_OSError);
  kind(ErrorKind::interrupted, "InterruptedRun", PyExc_RuntimeError);
  kind(ErrorKind::internal, "InternalError", PyExc_RuntimeError);
  // pybind11 takes a function of exactly this type.
  // NOLINTNEXTLINE(performance-unnecessary-value-param)
  py::register_exception_translator([](std::exception_ptr failure) {
    try {
      if (failure) std::rethrow_exception(failure);
    } catch (const Error& error) {
      PyErr_SetString(exception_of[static_cast<std::size_t>(error.kind())], error.what());
    }
  });
}

}  // namespace laconic::python
