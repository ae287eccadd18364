#include "methods/gradients/co2/public_variant.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/finite.h"

namespace laconic::co2 {
namespace {

class PublicRule final : public RoundRule {
 public:
  PublicRule(const LocalRequest& request, const PublicForm& form)
      : form_(form),
        point_(request.start.begin(), request.start.end()),
        old_(point_),
        momentum_(point_.size(), 0.0f) {}

  std::string text() const override {
    return fmt::format("official: mean every {} steps, outer step every {}, alpha {} beta {} gap {}",
                       form_.average_every, form_.outer_every, form_.outer.alpha, form_.outer.beta,
                       form_.outer.gap_constant);
  }
  int delay() const override { return 0; }
  std::span<const float> shared() const override { return point_; }
  std::span<const float> start() const override { return point_; }

  void contribute(std::span<const float> local, const ArrivedMean*, const RoundPlace&,
                  std::span<float> contribution) override {
    std::copy(local.begin(), local.end(), contribution.begin());
  }
  OuterStep advance(const ArrivedMean* arrived, const RoundPlace& place) override {
    OuterStep step;
    if (arrived == nullptr || !arrived->accepted) return step;
    const std::int64_t steps = (place.round + 1) * form_.average_every;
    if (steps % form_.outer_every != 0) {
      std::copy(arrived->values.begin(), arrived->values.end(), point_.begin());
      return step;
    }
    step.gap = form_.outer.gap_constant;
    for (std::size_t j = 0; j < point_.size(); ++j) {
      const double gone = static_cast<double>(old_[j]) - arrived->values[j];
      momentum_[j] = static_cast<float>(form_.outer.beta * momentum_[j] + gone / step.gap);
      step.largest = std::max(step.largest, std::abs(static_cast<double>(momentum_[j])));
      old_[j] = static_cast<float>(old_[j] - form_.outer.alpha * momentum_[j]);
    }
    point_ = old_;
    return step;
  }

  std::vector<NamedNumbers> state() const override {
    return {{"point", point_}, {"old", old_}, {"momentum", momentum_}};
  }
  void set_state(const std::vector<NamedNumbers>& state, std::string_view where) override {
    const std::vector<NamedNumbers> own = this->state();
    bool fits = state.size() == own.size();
    for (std::size_t i = 0; fits && i < own.size(); ++i) {
      fits = state[i].name == own[i].name && state[i].numbers.size() == own[i].numbers.size() &&
             all_finite(state[i].numbers);
    }
    if (!fits) fail(ErrorKind::corrupt, "is not the state of these rounds", where);
    point_ = state[0].numbers;
    old_ = state[1].numbers;
    momentum_ = state[2].numbers;
  }

 private:
  PublicForm form_;
  std::vector<float> point_, old_, momentum_;
};

}  // namespace

std::unique_ptr<RoundRule> make_public_rule(const LocalRequest& request, const PublicForm& form) {
  if (form.outer_every % form.average_every != 0) {
    fail(ErrorKind::usage,
         fmt::format("an outer step every {} steps does not fall on a mean every {}", form.outer_every,
                     form.average_every),
         "outer_frequency", "take a multiple of localsgd_frequency");
  }
  if (request.coded) {
    fail(ErrorKind::usage, "the published code sends parameters in f32", "fidelity=official",
         "leave out what carries the mean, or train with fidelity=corrected");
  }
  check_outer_form(form.outer, "outer optimizer");
  return std::make_unique<PublicRule>(request, form);
}

}  // namespace laconic::co2
