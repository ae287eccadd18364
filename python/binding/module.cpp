// laconic._engine: the engine for Python. What users import is the package laconic (python/laconic).
#include "python/binding/bind.h"

PYBIND11_MODULE(_engine, module) {
  module.doc() = "Laconic's engine: codecs, feedback memories and exchanges between ranks.";
  laconic::python::bind_errors(module);
  laconic::python::bind_codecs(module);
  laconic::python::bind_methods(module);
  laconic::python::bind_feedback(module);
  laconic::python::bind_exchange(module);
}
