#include "methods/gradients/extragradient.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/random.h"
#include "engine/base/saved_state.h"
#include "engine/base/threads.h"
#include "methods/gradients/exact_channels.h"

namespace laconic {
namespace {

using Variant = ExtragradientSettings::Variant;

FeedbackForm memory_of(Variant variant) {
  return variant == Variant::masha2 ? plain_error_feedback() : FeedbackForm{};
}

// Of the reference that is made in `step`: above all that steps themselves take, and not all_samples.
constexpr std::int64_t most_reference_samples = 1 << 20;
std::uint64_t reference_sample(std::uint64_t step, std::int64_t index) {
  return (std::uint64_t{1} << 62) + step * most_reference_samples + static_cast<std::uint64_t>(index);
}

double length_of(const std::vector<double>& vector) {
  double square = 0;
  for (const double value : vector) square += value * value;
  return std::sqrt(square);
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
      start_(z_),
      server_memory_(memory_of(settings_.variant), z_.size()) {
  const auto refuse = [](std::string_view what) { fail(ErrorKind::usage, what, "extragradient"); };
  if (!(settings_.step > 0) || !std::isfinite(settings_.step)) refuse("the step size is not positive");
  if (!(settings_.tau >= 0 && settings_.tau <= 1)) refuse("tau lies outside 0 to 1");
  if (settings_.reference_samples < 0 || settings_.reference_samples > most_reference_samples)
    refuse("the samples of a reference are fewer than none or more than a million");
  if (settings_.reference_samples > 0 && !settings_.sampled)
    refuse("a reference of samples needs a problem that has them");
  if (oracle.workers() != workers.count()) refuse("the problem has another number of workers");
  if (z_.size() != oracle.dimension()) refuse("the start has another dimension than the problem");
  if (settings_.variant == Variant::masha1 && !up.properties(z_.size()).unbiased) {
    refuse("masha1 needs unbiased messages; masha2 takes any");
  }
  for (int i = 0; i < workers.local_count(); ++i)
    memories_.emplace_back(memory_of(settings_.variant), z_.size());
  own_at_w_.assign(static_cast<std::size_t>(workers.local_count()), std::vector<double>(z_.size()));
  for (std::vector<double>* vector : {&at_w_, &zbar_, &half_, &mean_, &decoded_, &refreshed_})
    vector->resize(z_.size());
  is_made_.resize(own_at_w_.size());
  whole_ = settings_.whole_in_f32 ? codec_channel("raw", settings_.seed, "whole") : exact_channel();
}

bool Extragradient::has_reference() const {
  return settings_.variant == Variant::masha1 || settings_.variant == Variant::masha2;
}

void Extragradient::send_down(const Channel& channel, std::vector<double>& vector, std::uint64_t step) {
  channel.encode_into(vector, {step, UINT16_MAX}, down_message_);
  channel.decode(down_message_, vector);
  down_bytes_ += down_message_.size();
}

void Extragradient::evaluate_reference(const std::vector<double>& point, int worker,
                                       std::vector<double>& vector) const {
  if (settings_.reference_samples == 0) {
    oracle_.evaluate(point, worker, settings_.sampled ? all_samples : steps_, vector);
    return;
  }
  std::vector<double> one(vector.size());
  std::fill(vector.begin(), vector.end(), 0.0);
  for (std::int64_t i = 0; i < settings_.reference_samples; ++i) {
    oracle_.evaluate(point, worker, reference_sample(steps_, i), one);
    for (std::size_t j = 0; j < one.size(); ++j)
      vector[j] += one[j] / static_cast<double>(settings_.reference_samples);
  }
}

bool Extragradient::evaluate_whole(const std::vector<double>& point, std::vector<std::vector<double>>& own,
                                   std::vector<double>& mean) {
  messages_.resize(own.size());
  parallel_for(static_cast<std::int64_t>(own.size()), [&](std::int64_t i) {
    const auto index = static_cast<std::size_t>(i);
    thread_local std::vector<double> vector;
    vector.resize(z_.size());
    evaluate_reference(point, workers_.first_local() + static_cast<int>(i), vector);
    messages_[index].clear();
    if (all_finite(vector)) whole_->encode_into(vector, {}, messages_[index]);
  });
  messages_ = workers_.exchange(std::move(messages_));
  if (std::any_of(messages_.begin(), messages_.end(), [](const Bytes& message) { return message.empty(); }))
    return false;
  // A device goes on with what the others decode, so that F_m(w) is one number everywhere.
  std::fill(mean.begin(), mean.end(), 0.0);
  for (int worker = 0; worker < workers_.count(); ++worker) {
    const Bytes& message = messages_[static_cast<std::size_t>(worker)];
    whole_->decode(message, decoded_);
    up_bytes_ += message.size();
    for (std::size_t j = 0; j < mean.size(); ++j) mean[j] += decoded_[j] / workers_.count();
    const int index = worker - workers_.first_local();
    if (index >= 0 && index < workers_.local_count()) own[static_cast<std::size_t>(index)] = decoded_;
  }
  send_down(*whole_, mean, steps_);
  return true;
}

bool Extragradient::evaluate_compressed(const std::vector<double>& point, int round,
                                        std::vector<double>& mean) {
  const std::size_t d = z_.size();
  const double weight = settings_.variant == Variant::masha2 ? settings_.step : 1;
  const std::uint64_t key = 2 * steps_ + static_cast<std::uint64_t>(round);
  messages_.resize(memories_.size());
  parallel_for(static_cast<std::int64_t>(memories_.size()), [&](std::int64_t i) {
    const auto index = static_cast<std::size_t>(i);
    const int worker = workers_.first_local() + static_cast<int>(i);
    thread_local std::vector<double> vector, q;
    vector.resize(d);
    q.resize(d);
    messages_[index].clear();
    is_made_[index] = 0;
    oracle_.evaluate(point, worker, steps_, vector);
    if (has_reference()) {
      if (settings_.sampled) oracle_.evaluate(w_, worker, steps_, q);
      const std::vector<double>& reference = settings_.sampled ? q : own_at_w_[index];
      for (std::size_t j = 0; j < d; ++j) vector[j] -= reference[j];
    }
    if (!all_finite(vector)) return;
    memories_[index].make(vector, q, weight);
    is_made_[index] = 1;
    up_.encode_into(q, {key, static_cast<std::uint16_t>(worker)}, messages_[index]);
  });
  messages_ = workers_.exchange(std::move(messages_));
  if (std::any_of(messages_.begin(), messages_.end(), [](const Bytes& message) { return message.empty(); })) {
    for (std::size_t i = 0; i < memories_.size(); ++i) {
      if (is_made_[i] != 0) memories_[i].undo();
    }
    return false;
  }
  std::fill(mean.begin(), mean.end(), 0.0);
  for (int worker = 0; worker < workers_.count(); ++worker) {
    const Bytes& message = messages_[static_cast<std::size_t>(worker)];
    up_.decode(message, decoded_);
    up_bytes_ += message.size();
    for (std::size_t j = 0; j < d; ++j) mean[j] += decoded_[j] / workers_.count();
    const int index = worker - workers_.first_local();
    if (index >= 0 && index < workers_.local_count())
      memories_[static_cast<std::size_t>(index)].settle(decoded_);
  }
  if (down_ != nullptr) {
    server_memory_.make(mean, decoded_);
    mean.swap(decoded_);
    send_down(*down_, mean, key);
    server_memory_.settle(mean);
  } else {
    send_down(*whole_, mean, key);
  }
  return true;
}

bool Extragradient::step() {
  const std::size_t d = z_.size();
  const double gamma = settings_.step;
  const bool reference = has_reference();
  if (!begun_) {
    if (reference && !evaluate_whole(w_, own_at_w_, at_w_)) return false;
    begun_ = true;
  }
  ++steps_;
  // Without a reference point there are two rounds: F at z, and F at the half step.
  if (reference) {
    for (std::size_t j = 0; j < d; ++j) {
      zbar_[j] = settings_.tau * z_[j] + (1 - settings_.tau) * w_[j];
      half_[j] = zbar_[j] - gamma * at_w_[j];
    }
  } else {
    if (!evaluate_compressed(z_, 0, mean_)) return false;
    zbar_ = z_;
    for (std::size_t j = 0; j < d; ++j) half_[j] = z_[j] - gamma * mean_[j];
  }
  if (reach_ == 0) {
    double first = 0;
    for (std::size_t j = 0; j < d; ++j) first += (half_[j] - z_[j]) * (half_[j] - z_[j]);
    reach_ = 1e6 * std::max(length_of(start_), std::sqrt(first));
  }
  if (settings_.project) settings_.project(half_);
  if (!evaluate_compressed(half_, 1, mean_)) return false;
  for (std::size_t j = 0; j < d; ++j) {
    const double move = settings_.variant == Variant::masha2 ? mean_[j] : gamma * mean_[j];
    z_[j] = zbar_[j] - (reference ? gamma * at_w_[j] : 0) - move;
  }
  if (settings_.project) settings_.project(z_);
  if (settings_.halve_on_divergence) halve_if_far();
  if (!reference) return true;
  // The refresh takes the NEW z; errors stay.
  const RandomStream coin(settings_.seed, "extragradient", "refresh", steps_);
  if (static_cast<double>(coin.uniform_at(0)) >= settings_.tau) {
    if (evaluate_whole(z_, own_at_w_, refreshed_)) {
      w_ = z_;
      at_w_.swap(refreshed_);
      ++refreshes_;
    }
  }
  return true;
}

// All ranks hold the same z and do the same.
void Extragradient::halve_if_far() {
  if (length_of(z_) <= reach_ || reach_ == 0) return;
  ++halvings_;
  settings_.step /= 2;
  z_ = has_reference() ? w_ : start_;
  const FeedbackForm form = memory_of(settings_.variant);
  for (BasicFeedback<double>& memory : memories_) memory = BasicFeedback<double>(form, z_.size());
  server_memory_ = BasicFeedback<double>(form, z_.size());
}

std::string Extragradient::settings_text() const {
  return fmt::format(
      "extragradient {} step {} up {} down {} tau {} seed {} workers {} dimension {} halving {}{}{}{}\n",
      static_cast<int>(settings_.variant), std::ldexp(settings_.step, halvings_), up_.text(),
      down_ == nullptr ? std::string("f64") : down_->text(), settings_.tau, settings_.seed, workers_.count(),
      z_.size(), settings_.halve_on_divergence, settings_.sampled ? " sampled" : "",
      settings_.whole_in_f32 ? " f32" : "",
      settings_.reference_samples > 0 ? fmt::format(" reference {}", settings_.reference_samples) : "");
}

Bytes Extragradient::save() const {
  ByteWriter writer;
  writer.text(settings_text());
  writer.varint(static_cast<std::uint64_t>(workers_.first_local()));
  writer.varint(memories_.size());
  for (const std::uint64_t count : {steps_, refreshes_, up_bytes_, down_bytes_}) writer.varint(count);
  writer.varint(static_cast<std::uint64_t>(halvings_));
  writer.f64(settings_.step);
  writer.f64(reach_);
  writer.u8(begun_ ? 1 : 0);
  for (const std::vector<double>* vector : {&start_, &z_, &w_, &at_w_}) write_numbers(writer, *vector);
  for (const std::vector<double>& own : own_at_w_) write_numbers(writer, own);
  const auto append = [&](const BasicFeedback<double>& memory) {
    const Bytes saved = memory.save();
    writer.varint(saved.size());
    writer.append(saved);
  };
  for (const BasicFeedback<double>& memory : memories_) append(memory);
  append(server_memory_);
  return sealed(std::move(writer));
}

void Extragradient::restore(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  if (reader.text(1 << 20) != settings_text() ||
      reader.varint() != static_cast<std::uint64_t>(workers_.first_local()) ||
      reader.varint() != memories_.size()) {
    fail(ErrorKind::usage, "is the state of a run with other settings", where,
         "resume with the method, settings and number of workers that wrote it");
  }
  std::uint64_t counts[4];
  for (std::uint64_t& count : counts) count = reader.varint();
  const auto halvings = static_cast<int>(reader.length(1100));
  const double step = reader.f64(), reach = reader.f64();
  if (!(step > 0) || !std::isfinite(step) || !(reach >= 0)) reader.corrupt("a step size that is none");
  const bool begun = reader.u8() != 0;
  const std::size_t d = z_.size();
  std::vector<double> vectors[4];
  for (std::vector<double>& vector : vectors) vector = read_numbers<double>(reader, d);
  std::vector<std::vector<double>> own_at_w;
  for (std::size_t i = 0; i < memories_.size(); ++i) own_at_w.push_back(read_numbers<double>(reader, d));
  std::vector<BasicFeedback<double>> memories;
  for (std::size_t i = 0; i <= memories_.size(); ++i) {
    memories.emplace_back(memory_of(settings_.variant), d);
    memories.back().restore(reader.take(reader.length(reader.remaining())), where);
  }
  reader.expect_end();
  start_ = std::move(vectors[0]);
  z_ = std::move(vectors[1]);
  w_ = std::move(vectors[2]);
  at_w_ = std::move(vectors[3]);
  own_at_w_ = std::move(own_at_w);
  server_memory_ = std::move(memories.back());
  memories.pop_back();
  memories_ = std::move(memories);
  steps_ = counts[0], refreshes_ = counts[1], up_bytes_ = counts[2], down_bytes_ = counts[3];
  halvings_ = halvings;
  settings_.step = step;
  reach_ = reach;
  begun_ = begun;
}

}  // namespace laconic
