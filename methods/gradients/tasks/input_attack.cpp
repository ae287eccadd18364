#include "methods/gradients/tasks/input_attack.h"

#include <algorithm>

#include "engine/base/error.h"

namespace laconic {

AttackSettings take_attack(TaskOptions& options) {
  AttackSettings settings;
  if (!options.given("attack-radius")) {
    for (const char* name : {"attack-steps", "attack-rate"}) {
      if (options.given(name))
        fail(ErrorKind::usage, "there is no attack without a radius", name, "set attack-radius too");
    }
    return settings;
  }
  settings.radius = options.take("attack-radius", 0, 0, 1e6);
  settings.steps = options.take_count("attack-steps", settings.steps, 1, 1000);
  settings.rate =
      options.take("attack-rate", 2.5 * settings.radius / static_cast<double>(settings.steps), 0, 1e6);
  return settings;
}

InputAttack::InputAttack(const AttackSettings& settings, const ClassifiedRows& rows) : settings_(settings) {
  if (!is_on()) return;
  for (std::size_t i = 0; i < rows.width(); ++i) ranges_.push_back(rows.range_of(i));
}

void InputAttack::find(std::span<float> inputs, const Differentiate& differentiate) {
  if (!is_on()) return;
  require(inputs.size() % ranges_.size() == 0, "whole rows");
  const auto radius = static_cast<float>(settings_.radius), rate = static_cast<float>(settings_.rate);
  clean_.assign(inputs.begin(), inputs.end());
  gradient_.resize(inputs.size());
  for (std::int64_t step = 0; step < settings_.steps; ++step) {
    differentiate(inputs, gradient_);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const ClassifiedRows::Range& range = ranges_[i % ranges_.size()];
      const float sign = gradient_[i] > 0 ? 1.0f : gradient_[i] < 0 ? -1.0f : 0.0f;
      const float moved = inputs[i] + rate * range.unit * sign, reach = radius * range.unit;
      inputs[i] =
          std::clamp(std::clamp(moved, clean_[i] - reach, clean_[i] + reach), range.least, range.most);
    }
  }
}

}  // namespace laconic
