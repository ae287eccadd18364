#include "methods/gradients/federated/federated_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <mutex>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/hash.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/transport/communication_thread.h"
#include "methods/gradients/federated/federated_checkpoint.h"
#include "methods/gradients/training/paced_progress.h"
#include "methods/gradients/training/resumable_run.h"
#include "methods/gradients/training/worker_examples.h"

namespace laconic {
namespace {

constexpr std::size_t most_clients = 65535;  // what keys the random numbers of a sender

void check_federated(const FederatedSettings& settings, std::size_t population) {
  const auto refuse = [](std::string_view what, std::string_view where, std::string_view advice = {}) {
    fail(ErrorKind::usage, what, where, advice);
  };
  const auto positive = [](double rate) { return rate > 0 && std::isfinite(rate); };
  if (!settings.algorithm) refuse("no federated method was chosen", "--exchange");
  if (settings.examples_of.size() > most_clients) refuse("there are at most 65535 clients", "--clients");
  if (population == 0) refuse("no client has training examples", "--clients");
  if (settings.participants < 1) refuse("a round has at least one client", "--participation");
  if (static_cast<std::size_t>(settings.participants) > population) {
    refuse(fmt::format("{} clients a round, of {} that have examples", settings.participants, population),
           "--participation", "draw fewer, or deal the examples otherwise");
  }
  if (settings.rounds < 1) refuse("a run has at least one round", "--rounds");
  if (settings.local_steps < 1) refuse("a client takes at least one local step", "--local-steps");
  if (settings.batch < 1) refuse("a batch has at least one example", "--batch");
  if (!positive(settings.local_rate)) refuse("the local rate is positive", "--local-rate");
  if (!positive(settings.server_rate)) refuse("the server's rate is positive", "--server-rate");
  if (settings.resume && settings.checkpoint.empty()) refuse("there is no checkpoint to resume", "--resume");
}

// Replicas are made as threads need them: any of them gives the same numbers.
class ReplicaPool {
 public:
  explicit ReplicaPool(const TrainingTask& task) : task_(task) {}
  std::unique_ptr<TrainingReplica> take() {
    {
      const std::lock_guard lock(mutex_);
      if (!free_.empty()) {
        std::unique_ptr<TrainingReplica> replica = std::move(free_.back());
        free_.pop_back();
        return replica;
      }
    }
    return task_.replica();
  }
  void put(std::unique_ptr<TrainingReplica> replica) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(replica));
  }

 private:
  const TrainingTask& task_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<TrainingReplica>> free_;
};

// Minibatches of one client and round: its examples in a random order, in another one once all were seen.
class LocalBatches {
 public:
  LocalBatches(const std::vector<std::int64_t>& own, std::int64_t batch, std::uint64_t seed,
               std::uint64_t round, int client)
      : order_(own),
        random_(seed, "local examples", "client", round, static_cast<std::uint16_t>(client)),
        batch_(std::min(static_cast<std::size_t>(batch), own.size())) {}

  const std::vector<std::int64_t>& next() {
    chosen_.clear();
    while (chosen_.size() < batch_) {
      if (used_ == order_.size()) used_ = 0;
      const auto left = static_cast<std::uint32_t>(order_.size() - used_);
      std::swap(order_[used_], order_[used_ + random_.below(left)]);
      chosen_.push_back(order_[used_++]);
    }
    return chosen_;
  }

 private:
  std::vector<std::int64_t> order_, chosen_;
  RandomStream random_;
  std::size_t batch_, used_ = 0;
};

class LocalSteps final : public LocalTraining {
 public:
  LocalSteps(TrainingReplica& replica, const FederatedSettings& settings,
             const std::vector<TensorSlice>& tensors, std::uint64_t round, int client)
      : replica_(replica),
        settings_(settings),
        own_(settings.examples_of[static_cast<std::size_t>(client)]),
        batches_(own_, settings.batch, settings.seed, round, client) {
    if (settings.local_optimizer) optimizer_ = make_optimizer(*settings.local_optimizer, tensors);
  }

  std::int64_t examples() const override { return static_cast<std::int64_t>(own_.size()); }

  double run(std::span<float> point, std::span<const float> correction,
             std::span<float> mean_gradient) override {
    require((correction.empty() || correction.size() == point.size()) &&
                (mean_gradient.empty() || mean_gradient.size() == point.size()),
            "vectors of local training have the length of the model");
    if (optimizer_ && !(correction.empty() && mean_gradient.empty())) {
      fail(ErrorKind::usage, "control variates are made for plain local SGD", "--local-optimizer",
           "leave it out, or take a method of federated averaging");
    }
    const auto rate = static_cast<float>(settings_.local_rate);
    std::vector<float> gradient(point.size());
    std::fill(mean_gradient.begin(), mean_gradient.end(), 0.0f);
    double loss = 0;
    for (std::int64_t step = 0; step < settings_.local_steps; ++step) {
      loss += replica_.gradient(point, batches_.next(), gradient);
      for (std::size_t j = 0; j < mean_gradient.size(); ++j) mean_gradient[j] += gradient[j];
      if (optimizer_) {
        optimizer_->apply(gradient, point, settings_.local_rate);
      } else if (correction.empty()) {
        for (std::size_t j = 0; j < point.size(); ++j) point[j] -= rate * gradient[j];
      } else {
        for (std::size_t j = 0; j < point.size(); ++j) point[j] -= rate * (gradient[j] + correction[j]);
      }
    }
    const auto steps = static_cast<float>(settings_.local_steps);
    for (float& value : mean_gradient) value /= steps;
    return loss / static_cast<double>(settings_.local_steps);
  }

 private:
  TrainingReplica& replica_;
  const FederatedSettings& settings_;
  const std::vector<std::int64_t>& own_;
  LocalBatches batches_;
  std::unique_ptr<Optimizer> optimizer_;
};

class ClientTraining {
 public:
  ClientTraining(const TrainingTask& task, const FederatedSettings& settings,
                 const FederatedListener& listener)
      : settings_(settings), listener_(listener), replicas_(task), progress_(listener.progress) {
    for (std::size_t client = 0; client < settings.examples_of.size(); ++client) {
      if (!settings.examples_of[client].empty()) population_.push_back(static_cast<int>(client));
    }
    check_federated(settings, population_.size());
    FederatedRequest request;
    request.tensors = task.parameters();
    request.initial = task.initial(settings.seed);
    request.parameters = settings.parameters;
    request.clients = static_cast<int>(settings.examples_of.size());
    request.population = static_cast<int>(population_.size());
    request.local_steps = settings.local_steps;
    request.local_rate = settings.local_rate;
    request.server_rate = settings.server_rate;
    request.seed = settings.seed;
    algorithm_ = settings.algorithm(request);
    tensors_ = std::move(request.tensors);
    text_ = settings_text(task);
  }

  FederatedResult run() {
    for (const std::string& note : algorithm_->notes()) say(note);
    if (const std::size_t empty = settings_.examples_of.size() - population_.size(); empty > 0)
      say(fmt::format("{} of {} clients have no examples and are never drawn", empty,
                      settings_.examples_of.size()));
    if (settings_.resume) resume();
    if (listener_.on_begin) listener_.on_begin(state_.round);
    progress_.begin();
    for (std::int64_t round = state_.round + 1; round <= settings_.rounds; ++round) {
      one_round(round);
      const bool last = round == settings_.rounds, stop = interrupt_requested();
      if (!settings_.checkpoint.empty() &&
          (last || stop || (settings_.checkpoint_every > 0 && round % settings_.checkpoint_every == 0))) {
        state_.algorithm = algorithm_->save();
        save_federated(settings_.checkpoint, text_, state_);
        state_.algorithm = {};
      }
      if (stop && !last) fail_stopped(fmt::format("round {}", round), settings_.checkpoint);
    }
    // A run that is complete may be resumed with fewer rounds than it has.
    if (state_.evaluations.empty() || state_.evaluations.back().round != state_.round) {
      RoundRecord record;
      record.round = state_.round;
      evaluate(record);
    }
    return finish();
  }

 private:
  std::string settings_text(const TrainingTask& task) const {
    return fmt::format("task {}\nalgorithm {}\nclients {}, {} a round\nbatch {}{}\nseed {}\npartition {}\n{}",
                       task.text(), algorithm_->text(), settings_.examples_of.size(), settings_.participants,
                       settings_.batch,
                       settings_.local_optimizer ? "\nlocal steps " + settings_.local_optimizer->text() : "",
                       settings_.seed, partition_hash(settings_.examples_of), layout_text(tensors_));
  }

  void say(const std::string& line) const {
    if (listener_.message) listener_.message(line);
  }

  void resume() {
    state_ = load_federated(settings_.checkpoint, text_);
    algorithm_->restore(state_.algorithm, settings_.checkpoint.string());
    state_.algorithm = {};
    result_.resumed_from = state_.round;
    say(fmt::format("goes on after round {}", state_.round));
  }

  void one_round(std::int64_t round) {
    const double begin = steady_seconds();
    const auto number = static_cast<std::uint64_t>(round);
    RoundRecord record;
    record.round = round;
    const std::vector<int> participants =
        round_participants(population_, settings_.participants, settings_.seed, number);
    const Bytes down = algorithm_->broadcast(number);
    record.bytes_down = down.size() * participants.size();

    std::vector<ClientUpdate> updates(participants.size());
    parallel_for(static_cast<std::int64_t>(participants.size()), [&](std::int64_t i) {
      const int client = participants[static_cast<std::size_t>(i)];
      std::unique_ptr<TrainingReplica> replica = replicas_.take();
      LocalSteps local(*replica, settings_, tensors_, number, client);
      updates[static_cast<std::size_t>(i)] = algorithm_->client_round(number, client, down, local);
      replicas_.put(std::move(replica));
    });

    std::vector<Bytes> messages;
    for (std::size_t i = 0; i < updates.size(); ++i) {
      if (updates[i].message.empty()) {
        say(fmt::format("client {} is left out of round {}: {}", participants[i], round, updates[i].refusal));
        continue;
      }
      record.loss += updates[i].loss;
      record.bytes_up += updates[i].message.size();
      messages.push_back(std::move(updates[i].message));
    }
    if (!messages.empty()) record.loss /= static_cast<double>(messages.size());
    const RoundOutcome outcome = algorithm_->server_round(number, messages);
    for (const std::string& line : outcome.rejected) say(line);
    record.clients = static_cast<int>(messages.size() - outcome.rejected.size());
    record.accepted = outcome.accepted;
    record.seconds = steady_seconds() - begin;

    state_.round = round;
    state_.bytes_up += record.bytes_up;
    state_.bytes_down += record.bytes_down;
    state_.seconds += record.seconds;
    record.total_bytes_up = state_.bytes_up;
    record.total_bytes_down = state_.bytes_down;
    if (!record.accepted) {
      ++state_.refused;
      say(fmt::format("round {} changes nothing: {}", round,
                      record.clients == 0 ? "no message is left" : "the sum is not finite"));
    }
    refused_in_a_row_ = record.accepted ? 0 : refused_in_a_row_ + 1;
    if (round == settings_.rounds ||
        (settings_.evaluate_every > 0 && round % settings_.evaluate_every == 0)) {
      evaluate(record);
    }
    if (listener_.on_round) listener_.on_round(record);
    report(record);
    if (refused_in_a_row_ >= settings_.refused_in_a_row) {
      fail(ErrorKind::input, fmt::format("{} rounds in a row had no finite update", refused_in_a_row_),
           fmt::format("round {}", round), "use smaller rates");
    }
  }

  void evaluate(RoundRecord& record) {
    std::unique_ptr<TrainingReplica> replica = replicas_.take();
    record.held_out = replica->evaluate(algorithm_->point(), settings_.evaluate_limit);
    replicas_.put(std::move(replica));
    record.total_bytes_up = state_.bytes_up;
    record.total_bytes_down = state_.bytes_down;
    state_.evaluations.push_back(record);
  }

  void report(const RoundRecord& record) {
    progress_.report(record.round, settings_.rounds, [&] {
      return fmt::format("loss {:.4f}  {:.4g} MB up, {:.4g} MB down", record.loss,
                         static_cast<double>(state_.bytes_up) / 1e6,
                         static_cast<double>(state_.bytes_down) / 1e6);
    });
  }

  FederatedResult finish() {
    result_.rounds = state_.round;
    result_.refused = state_.refused;
    result_.clients = static_cast<int>(settings_.examples_of.size());
    result_.population = static_cast<int>(population_.size());
    result_.algorithm = algorithm_->text();
    result_.bytes_up = state_.bytes_up;
    result_.bytes_down = state_.bytes_down;
    result_.seconds = state_.seconds;
    result_.evaluations = std::move(state_.evaluations);
    result_.final_parameters = algorithm_->point();
    result_.parameters = result_.final_parameters.size();
    result_.hash = to_hex(xxh3_128(std::as_bytes(std::span<const float>(result_.final_parameters))));
    return std::move(result_);
  }

  const FederatedSettings& settings_;
  const FederatedListener& listener_;
  ReplicaPool replicas_;
  std::vector<int> population_;
  std::vector<TensorSlice> tensors_;
  std::unique_ptr<FederatedAlgorithm> algorithm_;
  std::string text_;
  FederatedState state_;
  FederatedResult result_;
  int refused_in_a_row_ = 0;
  PacedProgress progress_;
};

}  // namespace

std::vector<int> round_participants(const std::vector<int>& among, int count, std::uint64_t seed,
                                    std::uint64_t round) {
  require(count >= 0 && static_cast<std::size_t>(count) <= among.size(), "a round draws from who is there");
  std::vector<int> drawn = among;
  RandomStream random(seed, "participants", "round", round);
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
    std::swap(drawn[i], drawn[i + random.below(static_cast<std::uint32_t>(drawn.size() - i))]);
  drawn.resize(static_cast<std::size_t>(count));
  std::sort(drawn.begin(), drawn.end());
  return drawn;
}

FederatedResult train_clients(const TrainingTask& task, const FederatedSettings& settings,
                              const FederatedListener& listener) {
  return ClientTraining(task, settings, listener).run();
}

}  // namespace laconic
