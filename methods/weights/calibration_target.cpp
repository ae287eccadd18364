#include "methods/weights/calibration_target.h"

#include "engine/base/error.h"

namespace laconic {

std::vector<ParameterSpec> target_parameters(const char* default_target) {
  return {{"target",
           ParameterSpec::Type::choice,
           default_target,
           0,
           0,
           {"weights", "outputs", "residual"},
           "what a layer behind compressed ones keeps: itself, the dense outputs, or with them the residual "
           "stream"},
          {"target-damping",
           ParameterSpec::Type::number,
           "0.05",
           0,
           10,
           {},
           "of the mean diagonal, added when the dense outputs are the target"},
          {"target-share", ParameterSpec::Type::number, "0.5", 0, 1, {}, "of the way to the dense outputs"}};
}

std::optional<CalibrationTarget> calibration_target(const Parameters& parameters, bool sequential) {
  const std::string& kind = parameters.text("target");
  if (kind == "weights") return {};
  if (!sequential) {
    if (!parameters.is_set("target")) return {};
    fail(ErrorKind::usage, "target=" + kind + " needs sequential calibration", "-p target",
         "add -p sequential=true");
  }
  return CalibrationTarget{kind == "residual", parameters.number("target-damping"),
                           parameters.number("target-share")};
}

}  // namespace laconic
