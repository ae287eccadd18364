#include "methods/gradients/local/round_length.h"

#include <algorithm>
#include <cmath>

#include "engine/transport/collectives.h"

namespace laconic {
namespace {

constexpr std::int64_t first_tau = 4, first_measured = 2;
constexpr double spare = 1.1, band = 0.2;
constexpr std::size_t kept_steps = 64;

}  // namespace

RoundLength::RoundLength(const RoundLengthSettings& settings)
    : settings_(settings), tau_(settings.tau > 0 ? settings.tau : std::min(first_tau, settings.most)) {}

void RoundLength::add_step(double seconds) {
  if (steps_.size() < kept_steps) {
    steps_.push_back(seconds);
  } else {
    steps_[next_++ % kept_steps] = seconds;
  }
}

std::int64_t RoundLength::hiding(double reduce_seconds, double step_seconds, std::int64_t most) {
  if (!(step_seconds > 0)) return most;
  const double steps = std::ceil(spare * reduce_seconds / step_seconds);
  return static_cast<std::int64_t>(std::clamp(steps, 1.0, static_cast<double>(most)));
}

bool RoundLength::worth_changing(std::int64_t from, std::int64_t to) {
  return std::abs(static_cast<double>(to - from)) > band * static_cast<double>(from);
}

bool RoundLength::measure(std::int64_t round, CommunicationThread& thread) {
  const bool due =
      round == first_measured || (round > first_measured && round % settings_.measure_every == 0);
  if (!found() || !due || steps_.empty()) return false;
  std::vector<double> sorted = steps_;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2),
                   sorted.end());
  const auto nanoseconds = [](double seconds) { return static_cast<std::uint64_t>(seconds * 1e9); };
  double step = 0, reduction = 0;
  thread.run("round length", [&](Communicator& communicator) {
    // The slowest worker's steps; the reduction of the one that came last and waited for nobody.
    step = 1e-9 * static_cast<double>(agree(communicator, nanoseconds(sorted[sorted.size() / 2])).most);
    reduction = 1e-9 * static_cast<double>(agree(communicator, nanoseconds(reduction_)).least);
  });
  const std::int64_t wanted = hiding(reduction, step, settings_.most);
  if (!worth_changing(tau_, wanted)) return false;
  tau_ = wanted;
  return true;
}

}  // namespace laconic
