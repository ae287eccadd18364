// The parts of the extension module laconic._engine, one file each.
#pragma once

#include <pybind11/pybind11.h>

#include <vector>

#include "engine/codec/codec.h"

namespace laconic::python {

void bind_errors(pybind11::module_& module);    // laconic.Error and its kinds
void bind_codecs(pybind11::module_& module);    // codecs, compositions, frames and messages
void bind_methods(pybind11::module_& module);   // the registry of methods
void bind_feedback(pybind11::module_& module);  // memories between steps
void bind_exchange(pybind11::module_& module);  // one vector per rank to the agreed one

// name, type, default, values and help of every parameter.
pybind11::list parameter_rows(const std::vector<ParameterSpec>& specs);

}  // namespace laconic::python
