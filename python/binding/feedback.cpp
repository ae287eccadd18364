// laconic.Feedback: what a sender remembers between steps (engine/feedback/feedback.h).
#include "engine/feedback/feedback.h"

#include <fmt/format.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>

#include "engine/base/error.h"
#include "python/binding/arrays.h"
#include "python/binding/bind.h"

namespace laconic::python {
namespace {

namespace py = pybind11;
using Access = BorrowedArray::Access;

class Memory {
 public:
  Memory(std::size_t size, const FeedbackForm& form) : feedback_(form, size) {}

  py::object make(const py::object& input, py::object out, float weight) {
    require_turn(false);
    const BorrowedArray array(input, Access::read, "input");
    check_size(array.floats().size(), "input");
    if (out.is_none()) out = array_of(Tensor(DType::f32, array.shape()));
    BorrowedArray target(out, Access::write, "out");
    check_size(target.writable_floats().size(), "out");
    {
      const py::gil_scoped_release released;
      feedback_.make(array.floats(), target.writable_floats(), weight);
    }
    made_ = true;
    return out;
  }

  void settle(const py::object& decoded, const std::optional<std::vector<std::int64_t>>& positions) {
    require_turn(true);
    const BorrowedArray array(decoded, Access::read, "decoded");
    check_size(array.floats().size(), "decoded");
    if (positions) {
      for (const std::int64_t position : *positions) {
        if (position < 0 || position >= static_cast<std::int64_t>(feedback_.size())) {
          fail(ErrorKind::usage, fmt::format("{} lies outside the vector", position), "positions");
        }
      }
      // An empty list means "all" to the engine; a message of no numbers forgets nothing.
      if (positions->empty() && feedback_.form().velocity && feedback_.form().masking) {
        fail(ErrorKind::unsupported, "a message without numbers settles no masked velocity", "positions");
      }
    }
    {
      const py::gil_scoped_release released;
      feedback_.settle(array.floats(), positions ? std::span<const std::int64_t>(*positions)
                                                 : std::span<const std::int64_t>());
    }
    made_ = false;
  }

  void undo() {
    require_turn(true);
    feedback_.undo();
    made_ = false;
  }

  py::bytes save() const {
    require_turn(false);
    return bytes_of(feedback_.save());
  }

  void restore(const py::object& state) {
    const BorrowedArray bytes(state, Access::read, "state");
    feedback_.restore(bytes.bytes(), "state");
    made_ = false;
  }

  const Feedback& feedback() const { return feedback_; }

 private:
  void require_turn(bool settles) const {
    if (made_ == settles) return;
    fail(ErrorKind::usage, made_ ? "what was made is not settled yet" : "nothing was made yet", "feedback",
         "make and settle (or undo) take turns");
  }
  void check_size(std::size_t size, const char* name) const {
    if (size == feedback_.size()) return;
    fail(ErrorKind::usage, fmt::format("has {} numbers; this memory is for {}", size, feedback_.size()),
         name);
  }

  Feedback feedback_;
  bool made_ = false;
};

py::array copy_of(std::span<const float> numbers) {
  return array_of(Tensor::from_f32({static_cast<std::int64_t>(numbers.size())}, numbers));
}

}  // namespace

void bind_feedback(py::module_& module) {
  py::class_<Memory>(
      module, "Feedback",
      "Error feedback in its forms: make(input) is what to send, settle(decoded) what receivers "
      "have read.")
      .def(py::init([](std::size_t size, bool error, bool estimator, bool velocity, double eta,
                       double damping, double average, double momentum, bool nesterov, bool masking) {
             FeedbackForm form;
             form.error = error;
             form.estimator = estimator;
             form.velocity = velocity;
             form.eta = eta;
             form.damping = damping;
             form.average = average;
             form.momentum = momentum;
             form.nesterov = nesterov;
             form.masking = masking;
             return std::make_unique<Memory>(size, form);
           }),
           py::arg("size"), py::kw_only(), py::arg("error") = false, py::arg("estimator") = false,
           py::arg("velocity") = false, py::arg("eta") = 1.0, py::arg("damping") = 1.0,
           py::arg("average") = 1.0, py::arg("momentum") = 0.0, py::arg("nesterov") = false,
           py::arg("masking") = true)
      .def("make", &Memory::make, py::arg("input"), py::arg("out") = py::none(), py::arg("weight") = 1.0f)
      .def("settle", &Memory::settle, py::arg("decoded"), py::arg("positions") = py::none())
      .def("undo", &Memory::undo)
      .def("save", &Memory::save)
      .def("restore", &Memory::restore, py::arg("state"))
      .def_property_readonly("size", [](const Memory& memory) { return memory.feedback().size(); })
      .def_property_readonly("form", [](const Memory& memory) { return memory.feedback().form().text(); })
      .def_property_readonly("error", [](const Memory& memory) { return copy_of(memory.feedback().error()); })
      .def_property_readonly("estimate",
                             [](const Memory& memory) { return copy_of(memory.feedback().estimate()); })
      .def_property_readonly("velocity",
                             [](const Memory& memory) { return copy_of(memory.feedback().velocity()); })
      .def_property_readonly("momentum",
                             [](const Memory& memory) { return copy_of(memory.feedback().momentum()); });
}

}  // namespace laconic::python
