#include "methods/gradients/onebit-adam/freeze_rule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace laconic::onebit_adam {

std::string FreezeSettings::text() const {
  if (step > 0) return fmt::format("frozen after step {}", step);
  return fmt::format("frozen at ratio {} over {} steps, not before {}", ratio, window, not_before);
}

bool FreezeRule::needs_norm(std::uint64_t step) const {
  return settings_.step == 0 && step % settings_.window == 0;
}

bool FreezeRule::after_step(std::uint64_t step, double norm) {
  if (settings_.step > 0) return step >= settings_.step;
  if (!needs_norm(step)) return false;
  const double before = norm_before_;
  norm_before_ = norm;
  if (!(before > 0 && norm > 0)) return false;
  last_ratio_ = std::min(before / norm, norm / before);
  return last_ratio_ >= settings_.ratio && step >= settings_.not_before;
}

void FreezeRule::save(ByteWriter& writer) const {
  writer.f64(norm_before_);
  writer.f64(last_ratio_);
}

void FreezeRule::restore(ByteReader& reader) {
  norm_before_ = reader.f64();
  last_ratio_ = reader.f64();
  if (!(std::isfinite(norm_before_) && norm_before_ >= 0 && last_ratio_ >= 0 && last_ratio_ <= 1))
    reader.corrupt("a norm that no variance has");
}

}  // namespace laconic::onebit_adam
