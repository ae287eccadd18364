// What a sender remembers between steps so that lossy messages add up to the right thing: error feedback in
// all its forms as one state machine (convention C8). Everything is updated from the DECODED message, so that
// sender and receivers agree on what was said.
//
//   x = weight input                         weight 1, 1/(n w_i) for EF21-W, or a step size
//   a = (1 - average) a + average x          momentum of the target; average 1: a = x
//   u = momentum u + a;  v += u              velocity; Nesterov: u = momentum (u + a), v += u + a
//   r = target - h                           target: v with velocity, else a; h: the estimator, or 0
//   q = damping r + eta e                    what is to be sent, and decoded as d
//   e += r - d                               error
//   h += d                                   estimator
//   v -= d, and u = 0 where sent             velocity
//
//   EF (Seide et al. 2014; cards 02, 12)         error, eta 1
//   EF21 (arXiv 2106.05203; card 04)             estimator
//   EF21-W (arXiv 2402.10774; card 04)           estimator, weight 1/(n w_i)
//   EControl (arXiv 2311.05645; card 03)         estimator, error, 0 < eta < 1
//   SCALLION (arXiv 2308.08165; card 01)         estimator c_i, damping alpha, of the mean local gradient
//   SCAFCOM (the same)                           estimator c_i, average beta
//   DGC (arXiv 1712.01887; card 07)              velocity, momentum, masking
//   MASHA2 (arXiv 2110.03313; card 08)           error, eta 1, weight = step size
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"

namespace laconic {

struct FeedbackForm {
  bool error = false;      // keeps e
  bool estimator = false;  // keeps h
  bool velocity = false;   // keeps u and v; goes with neither of the two above
  double eta = 1;          // of e in what is sent
  double damping = 1;      // of r; other than 1 only without e
  double average = 1;      // (0, 1]
  double momentum = 0;     // velocity: [0, 1)
  bool nesterov = false;
  bool masking = true;  // velocity: u is forgotten where v was sent
  bool residue = true;  // velocity: what rounding loses of what is sent stays in v

  // A line of text that says all of it; forms are equal when their texts are.
  std::string text() const;
};
FeedbackForm plain_error_feedback();  // EF
FeedbackForm estimator_feedback();    // EF21

// Real is float, or double for the algorithms whose theory is checked beyond f32.
template <class Real>
class BasicFeedback {
 public:
  // For a vector of `size` numbers; all memories begin at 0. Throws Error(usage) on a form that makes no
  // sense.
  BasicFeedback(const FeedbackForm& form, std::size_t size);

  std::size_t size() const { return size_; }
  const FeedbackForm& form() const { return form_; }

  // q for this input. Nothing is remembered yet but a, u and v; make and settle take turns.
  void make(std::span<const Real> input, std::span<Real> to_send, Real weight = 1);
  // The message as its receivers decode it. `sent`: the positions it carries, ascending (velocity with
  // masking; empty for a dense message means all).
  void settle(std::span<const Real> decoded, std::span<const std::int64_t> sent = {});
  // Takes back make(): the step does not happen (a rank had no finite gradient, say).
  void undo();

  // Empty where the form has none.
  std::span<const Real> error() const { return error_; }
  std::span<const Real> estimate() const { return estimate_; }
  std::span<const Real> velocity() const { return velocity_; }
  std::span<const Real> momentum() const { return momentum_; }
  // h may begin at the first gradient when that was sent whole.
  void set_estimate(std::span<const Real> values);

  // The memories, with form, size and a checksum. restore() throws Error(corrupt) on damage and Error(usage)
  // when they belong to another form or size.
  Bytes save() const;
  void restore(ByteSpan bytes, std::string_view where);

 private:
  enum class Turn { make, settle };
  FeedbackForm form_;
  std::size_t size_;
  Turn turn_ = Turn::make;
  std::vector<Real> error_, estimate_, average_, momentum_, velocity_;
  std::vector<Real> residual_;                                            // r of this step
  std::vector<Real> average_before_, momentum_before_, velocity_before_;  // for undo()
};

using Feedback = BasicFeedback<float>;

}  // namespace laconic
