// The published systems, as the registry lists them.
#include <pybind11/stl.h>

#include "methods/gradients/gradient_method.h"
#include "python/binding/bind.h"

namespace laconic::python {

namespace py = pybind11;

void bind_methods(py::module_& module) {
  module.def(
      "methods",
      [] {
        py::list list;
        for (const MethodDescription& method : method_registry()) {
          py::dict row;
          row["slug"] = method.slug;
          row["card"] = method.card;
          row["title"] = method.title;
          row["paper"] = method.paper;
          row["subject"] = method.subject;
          row["summary"] = method.summary;
          row["exchange"] = static_cast<bool>(method.exchange);
          row["parameters"] = parameter_rows(method.parameters);
          list.append(row);
        }
        return list;
      },
      "The published methods; those with exchange=True take part in data-parallel training.");
}

}  // namespace laconic::python
