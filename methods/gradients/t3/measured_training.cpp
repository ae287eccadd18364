#include <algorithm>
#include <barrier>
#include <cmath>
#include <string>

#include "engine/base/affinity.h"
#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/math/random_fill.h"
#include "engine/transport/thread_world.h"
#include "methods/gradients/t3/tensor_parallel_model.h"
#include "runtime/benchmark/measure.h"

namespace laconic::t3 {
namespace {

OverlapPlan training_plan(OverlapForm form) {
  OverlapPlan plan;
  plan.form = form;
  return plan;
}

// Seconds of the four products of a layer whose sums are exchanged, made by all ranks at once: medians of the
// slowest rank.
double exchanged_products(const TrainingTrial& trial) {
  const std::int64_t own = trial.shape.hidden / trial.ranks, tokens = trial.shape.tokens();
  std::barrier<> meeting(trial.ranks);
  std::vector<double> rounds;
  std::vector<double> ends(static_cast<std::size_t>(trial.ranks));
  run_rank_threads(trial.ranks, [&](int rank) {
    pin_thread(rank);
    std::vector<float> a(static_cast<std::size_t>(tokens * 4 * own)),
        b(static_cast<std::size_t>(4 * own * trial.shape.hidden));
    random_gaussians(RandomStream(trial.seed, "t3", "activations"), a);
    random_gaussians(RandomStream(trial.seed, "t3", "weights"), b);
    GemmReduceScatter product(rank, trial.ranks, tokens, trial.shape.hidden,
                              training_plan(OverlapForm::sequential));
    PackedColumns packed;
    for (int round = 0; round < 4; ++round) {
      double seconds = 0;
      for (const std::int64_t times : {1, 4, 4, 3}) {
        packed.pack(b.data(), trial.shape.hidden, times * own, trial.shape.hidden);
        meeting.arrive_and_wait();
        const double begin = steady_seconds();
        product.product_seconds(a.data(), times * own, packed);
        ends[static_cast<std::size_t>(rank)] = steady_seconds() - begin;
        meeting.arrive_and_wait();
        seconds += *std::max_element(ends.begin(), ends.end());
        meeting.arrive_and_wait();
      }
      if (rank == 0 && round > 0) rounds.push_back(seconds);
    }
  });
  return median(rounds);
}

// Sequences of the text that a step sees, context + 1 bytes each.
std::vector<unsigned char> text_of_step(const TrainingTrial& trial, std::string_view text, int step) {
  const std::int64_t length = trial.shape.context + 1;
  RandomStream random(trial.seed, "t3", "text", static_cast<std::uint64_t>(step));
  std::vector<unsigned char> bytes;
  for (std::int64_t i = 0; i < trial.shape.sequences; ++i) {
    const std::size_t at =
        random.below(static_cast<std::uint32_t>(text.size() - static_cast<std::size_t>(length)));
    for (std::int64_t j = 0; j < length; ++j)
      bytes.push_back(static_cast<unsigned char>(text[at + static_cast<std::size_t>(j)]));
  }
  return bytes;
}

}  // namespace

TrainingMeasurement measure_training(const TrainingTrial& trial, std::string_view text) {
  if (text.size() < static_cast<std::size_t>(2 * trial.shape.context + 2) || text.size() >> 31 != 0)
    fail(ErrorKind::usage, "a training text is longer than two sequences and shorter than 2 GiB", "overlap");
  if (trial.ranks < 2 || trial.steps < 2 || !(trial.exchange_over_product > 0))
    fail(ErrorKind::usage, "training is measured with two ranks or more, steps, and a link", "overlap");
  // What does not fit is refused before threads wait for one another.
  TensorParallelModel(trial.shape, 0, trial.ranks, trial.seed, training_plan(OverlapForm::triggered));
  TrainingMeasurement result;
  const double exchange = trial.exchange_over_product * exchanged_products(trial) / 4;
  const double chunk_bytes =
      static_cast<double>(trial.shape.tokens() * trial.shape.hidden) * sizeof(float) / trial.ranks;
  result.link_bytes_per_second = (trial.ranks - 1) * chunk_bytes / exchange;
  ThreadWorld world(trial.ranks, {result.link_bytes_per_second, 0});
  std::barrier<> meeting(trial.ranks);
  std::vector<double> ends(static_cast<std::size_t>(trial.ranks)), seconds[2], losses[2];
  run_rank_threads(trial.ranks, [&](int rank) {
    pin_thread(rank);
    CommunicationThread thread([&] {
      pin_thread(rank);
      return world.communicator(rank);
    });
    TensorParallelModel sequential(trial.shape, rank, trial.ranks, trial.seed,
                                   training_plan(OverlapForm::sequential)),
        triggered(trial.shape, rank, trial.ranks, trial.seed, training_plan(OverlapForm::triggered));
    TensorParallelModel* forms[] = {&sequential, &triggered};
    for (int step = 0; step < trial.steps; ++step) {
      const std::vector<unsigned char> bytes = text_of_step(trial, text, step);
      for (int turn = 0; turn < 2; ++turn) {
        const int form = (turn + step) % 2;  // they take turns in being first
        meeting.arrive_and_wait();
        const double begin = steady_seconds();
        const double loss = forms[form]->step(bytes, trial.rate, thread);
        ends[static_cast<std::size_t>(rank)] = steady_seconds() - begin;
        meeting.arrive_and_wait();
        if (rank == 0) {
          losses[form].push_back(loss);
          if (step > 0) seconds[form].push_back(*std::max_element(ends.begin(), ends.end()));
        }
        meeting.arrive_and_wait();
      }
    }
  });
  result.sequential_seconds = median(seconds[0]);
  result.triggered_seconds = median(seconds[1]);
  result.sequential_losses = losses[0];
  result.triggered_losses = losses[1];
  return result;
}

}  // namespace laconic::t3
