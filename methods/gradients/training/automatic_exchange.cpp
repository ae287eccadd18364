#include "methods/gradients/training/automatic_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/exchange/overlapped_exchange.h"
#include "engine/transport/collectives.h"
#include "engine/transport/reductions.h"
#include "methods/gradients/training/example_order.h"

namespace laconic {
namespace {

// The slowest rank's seconds, the same number everywhere.
double slowest(CommunicationThread& thread, double seconds) {
  double most = 0;
  thread.run("slowest", [&](Communicator& communicator) {
    const auto nanoseconds = static_cast<std::uint64_t>(std::max(seconds, 0.0) * 1e9);
    most = static_cast<double>(agree(communicator, nanoseconds).most) * 1e-9;
  });
  return most;
}

double all_reduce_seconds(CommunicationThread& thread, std::size_t numbers) {
  std::vector<float> values(numbers, 1.0f);
  double seconds = 0;
  thread.run("link", [&](Communicator& communicator) {
    barrier(communicator);
    const double begin = steady_seconds();
    all_reduce_sum(communicator, values);
    seconds = steady_seconds() - begin;
  });
  return slowest(thread, seconds);
}

// alpha and beta of one ring step: an all-reduce of n numbers is 2 (W - 1) of them, of 4 n / W bytes.
Link measure_link(CommunicationThread& thread) {
  const int ranks = thread.size();
  all_reduce_seconds(thread, 1024);  // connections are made
  double bytes[2], seconds[2];
  const std::size_t numbers[2] = {16'384, 262'144};
  for (int i = 0; i < 2; ++i) {
    seconds[i] = all_reduce_seconds(thread, numbers[i]) / (2.0 * (ranks - 1));
    bytes[i] = 4.0 * static_cast<double>(numbers[i]) / ranks;
  }
  Link link = fit_link(bytes, seconds, 2);
  link.alpha = std::max(link.alpha, 0.0);
  link.beta = std::max(link.beta, 1e-12);
  return link;
}

}  // namespace

void use_exchange(TrainingSettings& settings, const ExchangeCandidate& candidate) {
  settings.exchange_name = candidate.text;
  settings.exchange = candidate.exchange;
  settings.parameters = candidate.parameters;
  settings.local = candidate.local;
  settings.local_parameters = candidate.local_parameters;
}

AutomaticChoice choose_exchange(const TrainingTask& task, const TrainingSettings& settings,
                                const std::vector<ExchangeCandidate>& candidates,
                                CommunicationThread& thread) {
  require(!candidates.empty(), "there is a candidate");
  AutomaticChoice choice;
  if (thread.size() == 1) {
    choice.explanation = "one worker exchanges nothing: " + candidates.front().name;
    choice.seconds.assign(candidates.size(), 0.0);
    choice.bytes.assign(candidates.size(), 0);
    return choice;
  }
  choice.link = measure_link(thread);

  const std::vector<TensorSlice>& tensors = task.parameters();
  const std::vector<float> point = task.initial(settings.seed);
  std::vector<float> gradient(point.size()), own(point.size()), agreed(point.size());
  const std::unique_ptr<TrainingReplica> replica = task.replica();
  ExampleOrder order(task.examples(), thread.size(), thread.rank(), settings.batch, settings.seed);
  for (int pass = 0; pass < 2; ++pass) {  // the first one warms up
    const double begin = steady_seconds();
    replica->gradient(point, order.of_step(pass + 1), gradient);
    choice.compute = steady_seconds() - begin;
  }
  choice.compute = slowest(thread, choice.compute) * static_cast<double>(settings.accumulate);

  const double predicted_dense =
      ring_all_reduce_seconds(choice.link, thread.size(), 4.0 * static_cast<double>(point.size()));
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    // What is known to take long is not run: the dense sum of a large model over a slow link.
    if (i == 0 && predicted_dense > 10) {
      choice.seconds.push_back(predicted_dense);
      choice.bytes.push_back(static_cast<std::uint64_t>(8.0 * static_cast<double>(point.size()) *
                                                        (thread.size() - 1) / thread.size()));
      continue;
    }
    ExchangeRequest request;
    request.tensors = tensors;
    request.parameters = candidates[i].parameters;
    request.optimizer = settings.optimizer;
    request.ranks = thread.size();
    request.rank = thread.rank();
    request.seed = settings.seed;
    request.steps = static_cast<std::uint64_t>(settings.steps);
    request.steps_per_epoch = static_cast<std::uint64_t>(order.steps_per_epoch());
    request.bucket_bytes = settings.bucket_bytes;
    const TrainingExchange made = candidates[i].exchange(request);
    OverlappedExchange overlapped(*made.exchange, thread);
    double seconds = 0;
    std::uint64_t sent = 0;
    for (std::uint64_t step = 1; step <= 2; ++step) {
      own = gradient;
      const Traffic before = thread.traffic();
      const double begin = steady_seconds();
      overlapped.begin(step, own, agreed);
      overlapped.end();
      seconds = steady_seconds() - begin;
      sent = (thread.traffic() - before).sent_bytes;
    }
    choice.seconds.push_back(slowest(thread, seconds));
    choice.bytes.push_back(sent);
  }
  choice.dense = choice.seconds.front();
  choice.largest_speedup = largest_speedup(choice.compute, choice.dense);

  const auto step_of = [&](std::size_t i) { return choice.compute + choice.seconds[i]; };
  std::size_t fastest = 0;
  for (std::size_t i = 1; i < candidates.size(); ++i) {
    if (step_of(i) < step_of(fastest)) fastest = i;
  }
  // Ten per cent of a step are not worth a loss.
  while (step_of(choice.chosen) > 1.1 * step_of(fastest)) ++choice.chosen;
  const std::string link = fmt::format("link {:.3g} Mbit/s, {:.2g} ms a message", 8e-6 / choice.link.beta,
                                       1e3 * choice.link.alpha);
  if (choice.chosen == 0) {
    choice.explanation = fmt::format(
        "{}: compression will not help, a step computes {:.3g} s and exchanges {:.3g} s uncompressed (at "
        "best "
        "{:.2f} times faster): {}",
        link, choice.compute, choice.dense, choice.largest_speedup, candidates.front().name);
  } else {
    choice.explanation = fmt::format(
        "{}: a step computes {:.3g} s and exchanges {:.3g} s uncompressed (at best {:.2f} times faster), "
        "{:.3g} s "
        "with {}",
        link, choice.compute, choice.dense, choice.largest_speedup, choice.seconds[choice.chosen],
        candidates[choice.chosen].name);
  }
  return choice;
}

}  // namespace laconic
