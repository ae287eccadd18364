#include "methods/gradients/overlap-local-sgd/anchor_rule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/finite.h"

namespace laconic {
namespace {

class AnchorRule final : public RoundRule {
 public:
  AnchorRule(const LocalRequest& request, const AnchorForm& form, RoundMean what)
      : form_(form),
        what_(what),
        anchor_(request.start.begin(), request.start.end()),
        sent_from_(anchor_),
        momentum_(anchor_.size(), 0.0f),
        own_(anchor_) {}

  std::string text() const override {
    return fmt::format("anchor pull {} beta {}, mean of {}", form_.pull, form_.beta,
                       what_ == RoundMean::points ? "points" : "displacements");
  }
  int delay() const override { return 1; }
  std::span<const float> shared() const override { return anchor_; }
  std::span<const float> start() const override { return own_; }

  void contribute(std::span<const float> local, const ArrivedMean* arrived, const RoundPlace&,
                  std::span<float> contribution) override {
    if (arrived != nullptr) follow(*arrived);
    followed_ = true;
    // A worker whose numbers are not finite begins again at the anchor.
    const bool whole = all_finite(local);
    for (std::size_t j = 0; j < own_.size(); ++j) {
      own_[j] =
          whole ? static_cast<float>((1 - form_.pull) * local[j] + form_.pull * anchor_[j]) : anchor_[j];
      contribution[j] = what_ == RoundMean::points ? own_[j] : anchor_[j] - own_[j];
    }
    sent_from_ = anchor_;
  }
  OuterStep advance(const ArrivedMean* arrived, const RoundPlace&) override {
    // The last mean comes without a round behind it.
    if (arrived != nullptr && !followed_) follow(*arrived);
    followed_ = false;
    OuterStep step;
    for (const float v : momentum_) step.largest = std::max(step.largest, std::abs(static_cast<double>(v)));
    return step;
  }

  std::vector<NamedNumbers> state() const override {
    return {{"anchor", anchor_}, {"sent from", sent_from_}, {"momentum", momentum_}, {"own", own_}};
  }
  void set_state(const std::vector<NamedNumbers>& state, std::string_view where) override {
    const std::vector<NamedNumbers> own = this->state();
    bool fits = state.size() == own.size();
    for (std::size_t i = 0; fits && i < own.size(); ++i) {
      fits = state[i].name == own[i].name && state[i].numbers.size() == own[i].numbers.size() &&
             all_finite(state[i].numbers);
    }
    if (!fits) fail(ErrorKind::corrupt, "is not the state of these rounds", where);
    anchor_ = state[0].numbers;
    sent_from_ = state[1].numbers;
    momentum_ = state[2].numbers;
    own_ = state[3].numbers;
  }

 private:
  void follow(const ArrivedMean& arrived) {
    if (!arrived.accepted) return;
    for (std::size_t j = 0; j < anchor_.size(); ++j) {
      const double mean = what_ == RoundMean::points ? static_cast<double>(arrived.values[j])
                                                     : static_cast<double>(sent_from_[j]) - arrived.values[j];
      momentum_[j] = static_cast<float>(form_.beta * momentum_[j] + (mean - anchor_[j]));
      anchor_[j] += momentum_[j];
    }
  }

  AnchorForm form_;
  RoundMean what_;
  std::vector<float> anchor_, sent_from_, momentum_, own_;
  bool followed_ = false;
};

}  // namespace

std::unique_ptr<RoundRule> make_anchor_rule(const LocalRequest& request, const AnchorForm& form,
                                            RoundMean what) {
  if (!(form.pull > 0 && form.pull <= 1)) fail(ErrorKind::usage, "a share is in (0, 1]", "pull");
  if (!(form.beta >= 0 && form.beta < 1)) fail(ErrorKind::usage, "a momentum is in [0, 1)", "beta");
  return std::make_unique<AnchorRule>(request, form, what);
}

}  // namespace laconic
