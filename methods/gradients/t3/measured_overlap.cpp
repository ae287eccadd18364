#include "methods/gradients/t3/measured_overlap.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cstring>
#include <memory>

#include "engine/base/affinity.h"
#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/math/blas.h"
#include "engine/math/random_fill.h"
#include "engine/transport/thread_world.h"
#include "runtime/benchmark/measure.h"

namespace laconic::t3 {
namespace {

struct ArmPlan {
  const char* name;
  OverlapForm form;
  ReduceScatterRoute route;
  bool staggered, compute_first;
};
constexpr ArmPlan arm_plans[] = {
    {"sequential", OverlapForm::sequential, ReduceScatterRoute::ring, true, true},
    {"whole chunks", OverlapForm::whole_chunks, ReduceScatterRoute::ring, true, true},
    {"triggered", OverlapForm::triggered, ReduceScatterRoute::ring, true, true},
    {"triggered, first come", OverlapForm::triggered, ReduceScatterRoute::ring, true, false},
    {"not staggered", OverlapForm::triggered, ReduceScatterRoute::ring, false, false},
    {"direct", OverlapForm::triggered, ReduceScatterRoute::direct, true, true}};
constexpr std::size_t arm_count = std::size(arm_plans);

OverlapPlan plan_of(const ArmPlan& arm) {
  OverlapPlan plan;
  plan.form = arm.form;
  plan.route = arm.route;
  plan.staggered = arm.staggered;
  plan.options.compute_first.enabled = arm.compute_first;
  return plan;
}

// One rank's factors; its numbers depend on the seed and the rank.
struct Factors {
  std::vector<float> a, b;
  PackedColumns packed;

  Factors(const OverlapTrial& trial, int rank)
      : a(static_cast<std::size_t>(trial.rows * trial.depth)),
        b(static_cast<std::size_t>(trial.depth * trial.columns)) {
    const auto peer = static_cast<std::uint16_t>(rank);
    random_gaussians(RandomStream(trial.seed, "t3", "a", 0, peer), a);
    random_gaussians(RandomStream(trial.seed, "t3", "b", 0, peer), b);
    packed.pack(b.data(), trial.columns, trial.depth, trial.columns);
  }
};

// Ranks that begin each piece of work together. A failed rank would leave the others waiting, so what a rank
// does between two meetings is kept from throwing.
class MeetingRanks {
 public:
  explicit MeetingRanks(int ranks) : meeting_(ranks), ends_(static_cast<std::size_t>(ranks)) {}

  // Seconds from the common beginning until the slowest rank was done; the same on every rank.
  template <class Work>
  double seconds_of(int rank, const Work& work) {
    meeting_.arrive_and_wait();
    if (rank == 0) begin_ = steady_seconds();
    meeting_.arrive_and_wait();
    work();
    ends_[static_cast<std::size_t>(rank)] = steady_seconds();
    meeting_.arrive_and_wait();
    return *std::max_element(ends_.begin(), ends_.end()) - begin_;
  }

 private:
  std::barrier<> meeting_;
  double begin_ = 0;
  std::vector<double> ends_;
};

// The median over some rounds of the product that all ranks make at once.
double product_together(const OverlapTrial& trial, const std::vector<Factors>& factors) {
  MeetingRanks meeting(trial.ranks);
  std::vector<double> seconds;
  run_rank_threads(trial.ranks, [&](int rank) {
    pin_thread(rank);
    GemmReduceScatter product(rank, trial.ranks, trial.rows, trial.columns, plan_of(arm_plans[0]));
    const Factors& own = factors[static_cast<std::size_t>(rank)];
    for (int round = 0; round <= 9; ++round) {
      const double time =
          meeting.seconds_of(rank, [&] { product.product_seconds(own.a.data(), trial.depth, own.packed); });
      if (rank == 0 && round > 0) seconds.push_back(time);
    }
  });
  return median(seconds);
}

// Our product over OpenBLAS's, one thread, by processor time.
double speed_of_gemm(const OverlapTrial& trial, const Factors& factors) {
  std::vector<float> c(static_cast<std::size_t>(trial.rows * trial.columns));
  std::vector<double> ratios;
  for (int round = 0; round <= 5; ++round) {
    const Seconds ours = time_of([&] {
      tiled_gemm(factors.a.data(), trial.depth, factors.packed, trial.rows, c.data(), trial.columns);
    });
    const Seconds theirs = time_of([&] {
      gemm(Transpose::no, Transpose::no, trial.rows, trial.columns, trial.depth, 1.0f, factors.a.data(),
           trial.depth, factors.b.data(), trial.columns, 0.0f, c.data(), trial.columns);
    });
    if (round > 0) ratios.push_back(theirs.processor / ours.processor);
  }
  return median(ratios);
}

}  // namespace

const OverlapMeasurement::Arm& OverlapMeasurement::arm(std::string_view name) const {
  for (const Arm& one : arms) {
    if (one.name == name) return one;
  }
  fail(ErrorKind::internal, "there is no such arm");
}

double OverlapMeasurement::share_of_gain(std::string_view name) const {
  return (arm("sequential").seconds - arm(name).seconds) / (model.sequential() - model.overlapped());
}

OverlapMeasurement measure_overlap(const OverlapTrial& trial, const ProgressListener& progress) {
  if (trial.ranks < 2 || trial.rounds < 1 || !(trial.exchange_over_product > 0) || !(trial.latency >= 0))
    fail(ErrorKind::usage, "an overlap is measured with two ranks or more, rounds, and a link", "overlap");
  // What cannot be cut is refused before threads wait for one another.
  const ChunkLayout layout(trial.rows, trial.columns, trial.ranks);
  std::vector<Factors> factors;
  for (int rank = 0; rank < trial.ranks; ++rank) factors.emplace_back(trial, rank);

  OverlapMeasurement result;
  result.trial = trial;
  result.of_gemm = speed_of_gemm(trial, factors[0]);
  const double product = product_together(trial, factors);
  const double step = trial.exchange_over_product * product / (trial.ranks - 1);
  const double chunk_bytes = static_cast<double>(trial.rows * trial.columns) * sizeof(float) / trial.ranks;
  result.link_bytes_per_second = chunk_bytes / std::max(step - trial.latency, 1e-9);

  ThreadWorld world(trial.ranks, {result.link_bytes_per_second, trial.latency});
  MeetingRanks meeting(trial.ranks);
  Progress reported(progress, "overlap", trial.rounds);
  std::vector<double> products;
  std::vector<double> totals[arm_count], made[arm_count];
  std::atomic<bool> pinned{true};
  std::vector<std::vector<float>> wanted(static_cast<std::size_t>(trial.ranks));
  std::atomic<bool> different[arm_count] = {};
  run_rank_threads(trial.ranks, [&](int rank) {
    if (!pin_thread(rank)) pinned = false;
    CommunicationThread thread([&] {
      pin_thread(rank);
      return world.communicator(rank);
    });
    const Factors& own = factors[static_cast<std::size_t>(rank)];
    std::vector<std::unique_ptr<GemmReduceScatter>> forms;
    for (const ArmPlan& arm : arm_plans)
      forms.push_back(
          std::make_unique<GemmReduceScatter>(rank, trial.ranks, trial.rows, trial.columns, plan_of(arm)));
    for (int round = 0; round <= trial.rounds; ++round) {  // the first one warms up
      const double alone =
          meeting.seconds_of(rank, [&] { forms[0]->product_seconds(own.a.data(), trial.depth, own.packed); });
      if (rank == 0 && round > 0) products.push_back(alone);
      for (std::size_t i = 0; i < arm_count; ++i) {
        // Arms take turns in being first.
        const std::size_t arm = (i + static_cast<std::size_t>(round)) % arm_count;
        OverlapTimes times;
        const double seconds = meeting.seconds_of(
            rank, [&] { times = forms[arm]->run(own.a.data(), trial.depth, own.packed, thread); });
        if (rank == 0 && round > 0) {
          totals[arm].push_back(seconds);
          made[arm].push_back(times.product);
        }
        const std::span<const float> rows = forms[arm]->own_rows();
        std::vector<float>& reference = wanted[static_cast<std::size_t>(rank)];
        if (reference.empty()) reference.assign(rows.begin(), rows.end());
        if (std::memcmp(reference.data(), rows.data(), rows.size_bytes()) != 0) different[arm] = true;
      }
      if (rank == 0) reported.advance();
    }
  });
  result.model = {trial.ranks, median(products), step};
  for (std::size_t arm = 0; arm < arm_count; ++arm)
    result.arms.push_back({arm_plans[arm].name, median(totals[arm]), median(made[arm]), !different[arm]});
  result.pinned = pinned;
  return result;
}

}  // namespace laconic::t3
