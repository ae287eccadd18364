#include "methods/gradients/compressed_descent.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/random.h"
#include "engine/base/saved_state.h"
#include "engine/base/threads.h"
#include "methods/gradients/exact_channels.h"

namespace laconic {
CompressedDescent::CompressedDescent(const Oracle& oracle, Workers& workers, const Channel& channel,
                                     DescentSettings settings, std::vector<double> start)
    : oracle_(oracle),
      workers_(workers),
      channel_(channel),
      settings_(std::move(settings)),
      x_(std::move(start)) {
  const auto refuse = [](std::string_view what) { fail(ErrorKind::usage, what, "compressed descent"); };
  if (!(settings_.step > 0) || !std::isfinite(settings_.step)) refuse("the step size is not positive");
  if (oracle.workers() != workers.count()) refuse("the problem has another number of workers");
  if (x_.size() != oracle.dimension()) refuse("the start has another dimension than the problem");
  if (!settings_.weights.empty()) {
    double sum = 0;
    for (const double weight : settings_.weights) {
      if (!(weight > 0) || !std::isfinite(weight)) refuse("a weight is not positive");
      sum += weight;
    }
    if (settings_.weights.size() != static_cast<std::size_t>(workers.count()))
      refuse("one weight per worker");
    if (std::abs(sum - 1) > 1e-9) refuse("the weights do not sum to 1");
  }
  if (!settings_.shifts.empty() && settings_.shifts.size() != static_cast<std::size_t>(workers.count())) {
    refuse("one shift per worker");
  }
  if (!(settings_.participation > 0 && settings_.participation <= 1))
    refuse("the chance to take part lies outside 0 to 1");
  if (settings_.participation < 1 && !settings_.form.estimator)
    refuse("workers may stay away only where an estimator stands for them");
  for (int i = 0; i < workers.local_count(); ++i) memories_.emplace_back(settings_.form, x_.size());
  direction_.assign(x_.size(), 0.0);
  decoded_.resize(x_.size());
  is_made_.resize(memories_.size());
}

double CompressedDescent::weight(int worker) const {
  return settings_.weights.empty() ? 1.0 / workers_.count()
                                   : settings_.weights[static_cast<std::size_t>(worker)];
}

bool CompressedDescent::takes_part(int worker) const {
  if (settings_.participation == 1) return true;
  const RandomStream coin(settings_.seed, "compressed descent", "participation", steps_,
                          static_cast<std::uint16_t>(worker));
  return static_cast<double>(coin.uniform_at(0)) < settings_.participation;
}

void CompressedDescent::begin() {
  begun_ = true;
  if (!settings_.form.estimator || settings_.start == DescentSettings::Start::zero) return;
  const auto whole = exact_channel();
  const Channel& channel = settings_.start == DescentSettings::Start::dense ? *whole : channel_;
  std::vector<Bytes> own;
  for (int i = 0; i < workers_.local_count(); ++i) {
    const int worker = workers_.first_local() + i;
    std::vector<double> gradient(x_.size());
    oracle_.evaluate(x_, worker, 0, gradient);
    if (!all_finite(gradient))
      fail(ErrorKind::input, "a first gradient is not finite", fmt::format("worker {}", worker));
    for (double& value : gradient) value /= workers_.count() * weight(worker);
    own.push_back(channel.encode(gradient, {0, static_cast<std::uint16_t>(worker)}));
  }
  const std::vector<Bytes> all = workers_.exchange(std::move(own));
  std::vector<double> decoded(x_.size());
  for (int worker = 0; worker < workers_.count(); ++worker) {
    const Bytes& message = all[static_cast<std::size_t>(worker)];
    channel.decode(message, decoded);
    up_ += message.size();
    const int local = worker - workers_.first_local();
    if (local >= 0 && local < workers_.local_count())
      memories_[static_cast<std::size_t>(local)].set_estimate(decoded);
    for (std::size_t j = 0; j < x_.size(); ++j) direction_[j] += weight(worker) * decoded[j];
  }
}

bool CompressedDescent::step() {
  if (!begun_) begin();
  ++steps_;
  const auto local = static_cast<std::size_t>(workers_.local_count());
  const std::size_t d = x_.size();
  messages_.resize(local);
  parallel_for(static_cast<std::int64_t>(local), [&](std::int64_t i) {
    const auto index = static_cast<std::size_t>(i);
    const int worker = workers_.first_local() + static_cast<int>(i);
    messages_[index].clear();
    is_made_[index] = 0;
    if (!takes_part(worker)) return;
    thread_local std::vector<double> vector, q;
    vector.resize(d);
    q.resize(d);
    oracle_.evaluate(x_, worker, steps_, vector);
    if (!all_finite(vector)) return;
    if (!settings_.shifts.empty()) {
      const std::vector<double>& shift = settings_.shifts[static_cast<std::size_t>(worker)];
      for (std::size_t j = 0; j < d; ++j) vector[j] -= shift[j];
    }
    memories_[index].make(vector, q, 1.0 / (workers_.count() * weight(worker)));
    is_made_[index] = 1;
    channel_.encode_into(q, {steps_, static_cast<std::uint16_t>(worker)}, messages_[index]);
  });
  std::vector<Bytes> all = workers_.exchange(std::move(messages_));
  // An empty message of one who takes part says that a gradient was not finite: all ranks see it and none
  // goes on.
  for (int worker = 0; worker < workers_.count(); ++worker) {
    if (!all[static_cast<std::size_t>(worker)].empty() || !takes_part(worker)) continue;
    for (std::size_t i = 0; i < local; ++i) {
      if (is_made_[i] != 0) memories_[i].undo();
    }
    messages_ = std::move(all);
    ++refused_;
    return false;
  }
  change_.assign(d, 0.0);
  for (int worker = 0; worker < workers_.count(); ++worker) {
    const Bytes& message = all[static_cast<std::size_t>(worker)];
    if (message.empty()) continue;
    channel_.decode(message, decoded_);
    up_ += message.size();
    const double share = weight(worker);
    for (std::size_t j = 0; j < d; ++j) change_[j] += share * decoded_[j];
    if (!settings_.shifts.empty()) {
      const std::vector<double>& shift = settings_.shifts[static_cast<std::size_t>(worker)];
      for (std::size_t j = 0; j < d; ++j) change_[j] += share * shift[j];
    }
    const int index = worker - workers_.first_local();
    if (index >= 0 && index < workers_.local_count())
      memories_[static_cast<std::size_t>(index)].settle(decoded_);
  }
  messages_ = std::move(all);
  const bool sum_anew = settings_.form.estimator && settings_.resync_every > 0 &&
                        workers_.local_count() == workers_.count() &&
                        steps_ % static_cast<std::uint64_t>(settings_.resync_every) == 0;
  if (sum_anew) {
    std::fill(direction_.begin(), direction_.end(), 0.0);
    for (int worker = 0; worker < workers_.count(); ++worker) {
      const std::span<const double> estimate = memories_[static_cast<std::size_t>(worker)].estimate();
      for (std::size_t j = 0; j < d; ++j) direction_[j] += weight(worker) * estimate[j];
    }
  } else if (settings_.form.estimator) {
    for (std::size_t j = 0; j < d; ++j) direction_[j] += change_[j];
  } else {
    direction_.swap(change_);
  }
  for (std::size_t j = 0; j < d; ++j) x_[j] -= settings_.step * direction_[j];
  return true;
}

std::string CompressedDescent::settings_text() const {
  std::string text =
      fmt::format("{}\n{}\nstep {} workers {} dimension {} start {} participation {} seed {}\n",
                  settings_.form.text(), channel_.text(), settings_.step, workers_.count(), x_.size(),
                  static_cast<int>(settings_.start), settings_.participation, settings_.seed);
  for (const double weight : settings_.weights) text += fmt::format("{} ", weight);
  return text;
}

Bytes CompressedDescent::save() const {
  ByteWriter writer;
  writer.text(settings_text());
  writer.varint(static_cast<std::uint64_t>(workers_.first_local()));
  writer.varint(memories_.size());
  for (const std::uint64_t count : {steps_, refused_, up_}) writer.varint(count);
  writer.u8(begun_ ? 1 : 0);
  write_numbers(writer, x_);
  write_numbers(writer, direction_);
  for (const BasicFeedback<double>& memory : memories_) {
    const Bytes saved = memory.save();
    writer.varint(saved.size());
    writer.append(saved);
  }
  return sealed(std::move(writer));
}

void CompressedDescent::restore(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  const std::string settings = reader.text(1 << 20);
  if (settings != settings_text() || reader.varint() != static_cast<std::uint64_t>(workers_.first_local()) ||
      reader.varint() != memories_.size()) {
    fail(ErrorKind::usage, "is the state of a run with other settings", where,
         "resume with the method, settings and number of workers that wrote it");
  }
  std::uint64_t counts[3];
  for (std::uint64_t& count : counts) count = reader.varint();
  const bool begun = reader.u8() != 0;
  std::vector<double> x = read_numbers<double>(reader, x_.size());
  std::vector<double> direction = read_numbers<double>(reader, x_.size());
  std::vector<BasicFeedback<double>> memories;
  for (std::size_t i = 0; i < memories_.size(); ++i) {
    memories.emplace_back(settings_.form, x_.size());
    memories.back().restore(reader.take(reader.length(reader.remaining())), where);
  }
  reader.expect_end();
  x_ = std::move(x);
  direction_ = std::move(direction);
  memories_ = std::move(memories);
  steps_ = counts[0], refused_ = counts[1], up_ = counts[2];
  begun_ = begun;
}

}  // namespace laconic
