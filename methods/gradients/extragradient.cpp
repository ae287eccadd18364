#include "methods/gradients/extragradient.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"

namespace laconic {
namespace {

using Variant = ExtragradientSettings::Variant;

FeedbackForm memory_of(Variant variant) {
  return variant == Variant::masha2 ? plain_error_feedback() : FeedbackForm{};
}

}  // namespace

Extragradient::Extragradient(const Oracle& oracle, Workers& workers, const Channel& up, const Channel* down,
                             ExtragradientSettings settings, std::vector<double> start)
    : oracle_(oracle),
      workers_(workers),
      up_(up),
      down_(down),
      settings_(std::move(settings)),
      z_(std::move(start)),
      w_(z_),
      server_memory_(memory_of(settings_.variant), z_.size()) {
  const auto refuse = [](std::string_view what) { fail(ErrorKind::usage, what, "extragradient"); };
  if (!(settings_.step > 0) || !std::isfinite(settings_.step)) refuse("the step size is not positive");
  if (!(settings_.tau >= 0 && settings_.tau <= 1)) refuse("tau lies outside 0 to 1");
  if (oracle.workers() != workers.count()) refuse("the problem has another number of workers");
  if (z_.size() != oracle.dimension()) refuse("the start has another dimension than the problem");
  if (settings_.variant == Variant::masha1 && !up.properties(z_.size()).unbiased) {
    refuse("masha1 needs unbiased messages; masha2 takes any");
  }
  for (int i = 0; i < workers.local_count(); ++i)
    memories_.emplace_back(memory_of(settings_.variant), z_.size());
  own_at_w_.assign(static_cast<std::size_t>(workers.local_count()), std::vector<double>(z_.size()));
  at_w_.resize(z_.size());
}

void Extragradient::send_down(const Channel& channel, std::vector<double>& vector, std::uint64_t step) {
  const Bytes message = channel.encode(vector, {step, UINT16_MAX});
  channel.decode(message, vector);
  down_bytes_ += message.size();
}

bool Extragradient::evaluate_whole(const std::vector<double>& point, std::vector<std::vector<double>>& own,
                                   std::vector<double>& mean) {
  const auto whole = exact_channel();
  std::vector<Bytes> messages(own.size());
  parallel_for(static_cast<std::int64_t>(own.size()), [&](std::int64_t i) {
    const auto index = static_cast<std::size_t>(i);
    std::vector<double> vector(z_.size());
    oracle_.evaluate(point, workers_.first_local() + static_cast<int>(i), steps_, vector);
    if (all_finite(vector)) messages[index] = whole->encode(vector, {});
  });
  const std::vector<Bytes> all = workers_.exchange(std::move(messages));
  if (std::any_of(all.begin(), all.end(), [](const Bytes& message) { return message.empty(); })) return false;
  // A device goes on with what the others decode, so that F_m(w) is one number everywhere.
  std::vector<double> decoded(z_.size());
  std::fill(mean.begin(), mean.end(), 0.0);
  for (int worker = 0; worker < workers_.count(); ++worker) {
    const Bytes& message = all[static_cast<std::size_t>(worker)];
    whole->decode(message, decoded);
    up_bytes_ += message.size();
    for (std::size_t j = 0; j < mean.size(); ++j) mean[j] += decoded[j] / workers_.count();
    const int index = worker - workers_.first_local();
    if (index >= 0 && index < workers_.local_count()) own[static_cast<std::size_t>(index)] = decoded;
  }
  send_down(*whole, mean, steps_);
  return true;
}

bool Extragradient::step() {
  const std::size_t d = z_.size();
  const double gamma = settings_.step;
  const bool reference = settings_.variant == Variant::masha1 || settings_.variant == Variant::masha2;
  if (!begun_) {
    if (reference && !evaluate_whole(w_, own_at_w_, at_w_)) return false;
    begun_ = true;
  }
  ++steps_;
  std::vector<double> zbar(d), half(d);
  // Without a reference point there are two rounds: F at z, and F at the half step.
  std::vector<std::vector<double>> own(own_at_w_.size(), std::vector<double>(d));
  const auto sent_mean = [&](const std::vector<double>& point, int round, std::vector<double>& mean) {
    std::vector<Bytes> messages(own.size());
    parallel_for(static_cast<std::int64_t>(own.size()), [&](std::int64_t i) {
      const auto index = static_cast<std::size_t>(i);
      const int worker = workers_.first_local() + static_cast<int>(i);
      oracle_.evaluate(point, worker, steps_, own[index]);
      if (!all_finite(own[index])) return;
      std::vector<double> q(d);
      if (reference) {
        for (std::size_t j = 0; j < d; ++j) own[index][j] -= own_at_w_[index][j];
      }
      memories_[index].make(own[index], q, settings_.variant == Variant::masha2 ? gamma : 1);
      messages[index] =
          up_.encode(q, {2 * steps_ + static_cast<std::uint64_t>(round), static_cast<std::uint16_t>(worker)});
    });
    std::vector<bool> made;
    for (const Bytes& message : messages) made.push_back(!message.empty());
    const std::vector<Bytes> all = workers_.exchange(std::move(messages));
    if (std::any_of(all.begin(), all.end(), [](const Bytes& message) { return message.empty(); })) {
      for (std::size_t i = 0; i < made.size(); ++i) {
        if (made[i]) memories_[i].undo();
      }
      return false;
    }
    std::vector<double> decoded(d);
    std::fill(mean.begin(), mean.end(), 0.0);
    for (int worker = 0; worker < workers_.count(); ++worker) {
      const Bytes& message = all[static_cast<std::size_t>(worker)];
      up_.decode(message, decoded);
      up_bytes_ += message.size();
      for (std::size_t j = 0; j < d; ++j) mean[j] += decoded[j] / workers_.count();
      const int index = worker - workers_.first_local();
      if (index >= 0 && index < workers_.local_count())
        memories_[static_cast<std::size_t>(index)].settle(decoded);
    }
    if (down_ != nullptr) {
      std::vector<double> q(d);
      server_memory_.make(mean, q);
      mean = std::move(q);
      send_down(*down_, mean, 2 * steps_ + static_cast<std::uint64_t>(round));
      server_memory_.settle(mean);
    } else {
      send_down(*exact_channel(), mean, 2 * steps_ + static_cast<std::uint64_t>(round));
    }
    return true;
  };

  std::vector<double> mean(d);
  if (reference) {
    for (std::size_t j = 0; j < d; ++j) {
      zbar[j] = settings_.tau * z_[j] + (1 - settings_.tau) * w_[j];
      half[j] = zbar[j] - gamma * at_w_[j];
    }
  } else {
    if (!sent_mean(z_, 0, mean)) return false;
    zbar = z_;
    for (std::size_t j = 0; j < d; ++j) half[j] = z_[j] - gamma * mean[j];
  }
  if (settings_.project) settings_.project(half);
  if (!sent_mean(half, 1, mean)) return false;
  std::vector<double> next(d);
  for (std::size_t j = 0; j < d; ++j) {
    const double move = settings_.variant == Variant::masha2 ? mean[j] : gamma * mean[j];
    next[j] = zbar[j] - (reference ? gamma * at_w_[j] : 0) - move;
  }
  if (settings_.project) settings_.project(next);
  z_ = std::move(next);
  if (!reference) return true;
  // The refresh takes the NEW z; errors stay.
  const RandomStream coin(settings_.seed, "extragradient", "refresh", steps_);
  if (static_cast<double>(coin.uniform_at(0)) >= settings_.tau) {
    std::vector<double> at_new(d);
    if (evaluate_whole(z_, own_at_w_, at_new)) {
      w_ = z_;
      at_w_ = std::move(at_new);
      ++refreshes_;
    }
  }
  return true;
}

}  // namespace laconic
