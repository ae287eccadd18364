#include "engine/feedback/feedback.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/saved_state.h"

namespace laconic {
namespace {

constexpr std::uint64_t feedback_schema = 1;

}  // namespace

std::string FeedbackForm::text() const {
  return fmt::format(
      "error {} estimator {} velocity {} eta {} damping {} average {} momentum {} nesterov {} masking {}{}",
      error, estimator, velocity, eta, damping, average, momentum, nesterov, masking,
      residue ? "" : " without residue");
}

FeedbackForm plain_error_feedback() {
  FeedbackForm form;
  form.error = true;
  return form;
}

FeedbackForm estimator_feedback() {
  FeedbackForm form;
  form.estimator = true;
  return form;
}

template <class Real>
BasicFeedback<Real>::BasicFeedback(const FeedbackForm& form, std::size_t size) : form_(form), size_(size) {
  const auto refuse = [](std::string_view what) { fail(ErrorKind::usage, what, "feedback"); };
  if (!(form.eta >= 0 && form.eta <= 1)) refuse("eta lies outside 0 to 1");
  if (!(form.damping > 0 && form.damping <= 1)) refuse("the damping lies outside 0 to 1");
  if (!(form.average > 0 && form.average <= 1)) refuse("the averaging factor lies outside 0 to 1");
  if (!(form.momentum >= 0 && form.momentum < 1)) refuse("the momentum lies outside 0 to 1");
  if (form.velocity && (form.error || form.estimator)) refuse("a velocity is a memory of its own");
  if (form.damping != 1 && (form.error || form.velocity)) {
    refuse("damping goes with an estimator alone: an error would never be sent whole");
  }
  if (form.error) error_.resize(size);
  if (form.estimator) estimate_.resize(size);
  if (form.average < 1) average_.resize(size);
  if (form.velocity) momentum_.resize(size), velocity_.resize(size);
  if (form.error) residual_.resize(size);
}

template <class Real>
void BasicFeedback<Real>::make(std::span<const Real> input, std::span<Real> to_send, Real weight) {
  require(turn_ == Turn::make && input.size() == size_ && to_send.size() == size_,
          "make and settle take turns, on vectors of one size");
  average_before_ = average_;
  momentum_before_ = momentum_;
  velocity_before_ = velocity_;
  const auto beta = static_cast<Real>(form_.average), m = static_cast<Real>(form_.momentum);
  const auto damping = static_cast<Real>(form_.damping), eta = static_cast<Real>(form_.eta);
  for (std::size_t i = 0; i < size_; ++i) {
    Real target = weight == 1 ? input[i] : weight * input[i];
    if (!average_.empty()) target = average_[i] = (1 - beta) * average_[i] + beta * target;
    if (form_.velocity) {
      if (form_.nesterov) {
        momentum_[i] = m * (momentum_[i] + target);
        velocity_[i] += momentum_[i] + target;
      } else {
        momentum_[i] = m * momentum_[i] + target;
        velocity_[i] += momentum_[i];
      }
      target = velocity_[i];
    }
    const Real residual = estimate_.empty() ? target : target - estimate_[i];
    Real q = damping == 1 ? residual : damping * residual;
    if (form_.error) {
      residual_[i] = residual;
      if (eta != 0) q += eta == 1 ? error_[i] : eta * error_[i];
    }
    to_send[i] = q;
  }
  turn_ = Turn::settle;
}

template <class Real>
void BasicFeedback<Real>::settle(std::span<const Real> decoded, std::span<const std::int64_t> sent) {
  require(turn_ == Turn::settle && decoded.size() == size_, "what was made is settled, once");
  for (std::size_t i = 0; i < size_; ++i) {
    if (form_.error) error_[i] += residual_[i] - decoded[i];
    if (form_.estimator) estimate_[i] += decoded[i];
    if (form_.velocity) velocity_[i] -= decoded[i];
  }
  if (form_.velocity && !form_.residue) {
    if (sent.empty()) {
      std::fill(velocity_.begin(), velocity_.end(), Real(0));
    } else {
      for (const std::int64_t position : sent) velocity_[static_cast<std::size_t>(position)] = 0;
    }
  }
  if (form_.velocity && form_.masking) {
    if (sent.empty()) {
      std::fill(momentum_.begin(), momentum_.end(), Real(0));
    } else {
      for (const std::int64_t position : sent) momentum_[static_cast<std::size_t>(position)] = 0;
    }
  }
  turn_ = Turn::make;
}

template <class Real>
void BasicFeedback<Real>::undo() {
  require(turn_ == Turn::settle, "only what was made is undone");
  average_.swap(average_before_);
  momentum_.swap(momentum_before_);
  velocity_.swap(velocity_before_);
  turn_ = Turn::make;
}

template <class Real>
void BasicFeedback<Real>::set_estimate(std::span<const Real> values) {
  require(form_.estimator && values.size() == size_, "an estimator is set to a vector of its size");
  estimate_.assign(values.begin(), values.end());
}

template <class Real>
Bytes BasicFeedback<Real>::save() const {
  require(turn_ == Turn::make, "memories are saved between steps");
  ByteWriter writer;
  writer.varint(feedback_schema);
  writer.text(form_.text());
  writer.u8(sizeof(Real));
  writer.varint(size_);
  for (const std::vector<Real>* memory : {&error_, &estimate_, &average_, &momentum_, &velocity_}) {
    write_numbers(writer, *memory);
  }
  return sealed(std::move(writer));
}

template <class Real>
void BasicFeedback<Real>::restore(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  if (reader.varint() != feedback_schema) reader.corrupt("memories of another version");
  const std::string form = reader.text(1024);
  if (reader.u8() != sizeof(Real)) reader.corrupt("memories of another precision");
  const std::uint64_t size = reader.varint();
  if (form != form_.text() || size != size_) {
    fail(ErrorKind::usage,
         fmt::format("holds memories of {} numbers ({}), not of {} ({})", size, form, size_, form_.text()),
         where, "resume with the settings and the number of workers of the run that wrote it");
  }
  BasicFeedback fresh(form_, size_);
  for (std::vector<Real>* memory :
       {&fresh.error_, &fresh.estimate_, &fresh.average_, &fresh.momentum_, &fresh.velocity_}) {
    *memory = read_numbers<Real>(reader, memory->size());
  }
  reader.expect_end();
  *this = std::move(fresh);
}

template class BasicFeedback<float>;
template class BasicFeedback<double>;

}  // namespace laconic
