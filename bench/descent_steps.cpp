// A step of compressed descent and of MASHA beside a copy of the vectors that it works on: per worker the
// gradient, h and e, and what is sent. The oracle costs one copy.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "methods/gradients/compressed_descent.h"
#include "methods/gradients/exact_channels.h"
#include "methods/gradients/extragradient.h"

namespace laconic {
namespace {

constexpr int workers_of_bench = 4;  // on one thread, so that its time is all there is

// F_m(z) = z - b_m.
class Shifted : public Oracle {
 public:
  explicit Shifted(std::size_t dimension) : shifts_(workers_of_bench, std::vector<double>(dimension)) {
    for (std::size_t m = 0; m < shifts_.size(); ++m) {
      const RandomStream random(1, "bench", "shift", m);
      for (std::size_t j = 0; j < dimension; ++j) shifts_[m][j] = static_cast<double>(random.gaussian_at(j));
    }
  }
  std::size_t dimension() const override { return shifts_.front().size(); }
  int workers() const override { return workers_of_bench; }
  void evaluate(std::span<const double> point, int worker, std::uint64_t,
                std::span<double> out) const override {
    const std::vector<double>& shift = shifts_[static_cast<std::size_t>(worker)];
    for (std::size_t j = 0; j < out.size(); ++j) out[j] = point[j] - shift[j];
  }

 private:
  std::vector<std::vector<double>> shifts_;
};

void control_step(benchmark::State& state) {
  const Shifted problem(static_cast<std::size_t>(state.range(0)));
  const auto workers = local_workers(workers_of_bench);
  const auto channel = exact_top_k_channel(std::max<std::int64_t>(1, state.range(0) / 100));
  DescentSettings settings;
  settings.form.error = settings.form.estimator = true;
  settings.form.eta = 0.01;
  settings.step = 0.01;
  CompressedDescent descent(problem, *workers, *channel, settings, std::vector<double>(problem.dimension()));
  set_thread_count(1);
  descent.step();
  for (auto _ : state) descent.step();
  state.SetItemsProcessed(state.iterations() * state.range(0) * workers_of_bench);
}
BENCHMARK(control_step)->Arg(10)->Arg(200)->Arg(1 << 14)->Arg(1 << 20)->Unit(benchmark::kMicrosecond);

void masha_step(benchmark::State& state) {
  const Shifted problem(static_cast<std::size_t>(state.range(0)));
  const auto workers = local_workers(workers_of_bench);
  const auto channel = exact_top_k_channel(std::max<std::int64_t>(1, state.range(0) / 100));
  ExtragradientSettings settings;
  settings.variant = ExtragradientSettings::Variant::masha2;
  settings.step = 0.01;
  settings.tau = 0.99;
  Extragradient loop(problem, *workers, *channel, channel.get(), settings,
                     std::vector<double>(problem.dimension()));
  set_thread_count(1);
  loop.step();
  for (auto _ : state) loop.step();
  state.SetItemsProcessed(state.iterations() * state.range(0) * workers_of_bench);
}
BENCHMARK(masha_step)->Arg(10)->Arg(200)->Arg(1 << 14)->Arg(1 << 20)->Unit(benchmark::kMicrosecond);

// Of the four vectors of every worker.
void copy_of_vectors(benchmark::State& state) {
  const auto numbers = static_cast<std::size_t>(state.range(0)) * 4 * workers_of_bench;
  std::vector<double> from(numbers, 1.0), to(numbers);
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), numbers * sizeof(double));
    benchmark::DoNotOptimize(to.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * state.range(0) * workers_of_bench);
}
BENCHMARK(copy_of_vectors)->Arg(10)->Arg(200)->Arg(1 << 14)->Arg(1 << 20)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace laconic
