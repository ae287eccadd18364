#include "methods/gradients/t3/hardware_study.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/overlap/overlap_model.h"

namespace laconic::t3 {
namespace {

constexpr double paper_share_of_calibration = 0.43;

// Products of a layer whose outputs are not summed over devices, in squares of the hidden size: forwards
// those of the input projection (3) and of the first feed-forward matrix (4). Backwards those that give the
// gradients of the inputs of output projection (1) and second feed-forward matrix (4), and of all weights
// (12).
double other_products(const Workload& workload, const Device& device, bool training) {
  const auto hidden = static_cast<double>(workload.model.hidden);
  const double squares = training ? 7 + 5 + 12 : 7;
  return 2 * static_cast<double>(workload.model.tokens) * hidden * hidden * squares / workload.devices /
         (device.peak() * device.efficiency);
}

bool is_forward(SubLayer sub_layer) { return sub_layer == SubLayer::op || sub_layer == SubLayer::fc2; }

}  // namespace

double geometric_mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += std::log(value);
  return values.empty() ? 0 : std::exp(sum / static_cast<double>(values.size()));
}

double SubLayerResult::ideal_speedup() const {
  return sequential_seconds() / (std::max(product, reduce_scatter) + all_gather);
}

SubLayerResult study_sub_layer(const Workload& workload, const Device& device) {
  SubLayerResult result;
  result.workload = workload;
  const SimulatedProduct cached = simulated_product(workload, device, true),
                         uncached = simulated_product(workload, device, false);
  const SimulatedRun alone = simulate_product(cached, device);
  const SimulatedRun first_come = simulate_triggered(uncached, device, MemoryPolicy::first_come);
  const SimulatedRun compute_first = simulate_triggered(uncached, device, MemoryPolicy::compute_first);
  const double chunk = cached.chunk_bytes();
  const int ranks = workload.devices;
  const double steps = (ranks - 1) * (chunk / device.link_bandwidth + device.link_latency);
  result.product = alone.seconds;
  // Memory is faster than the link, so the steps hide it but for the last sum: two reads and a write.
  result.reduce_scatter = steps + 3 * chunk / device.memory_bandwidth;
  // Updates near memory are done when the last request has been.
  result.memory_reduce_scatter = steps + device.update_cost * cached.block_bytes / device.memory_bandwidth;
  result.all_gather = steps;
  result.first_come = first_come.seconds;
  result.compute_first = compute_first.seconds;
  result.longest_wait = compute_first.longest_wait;
  result.tracker_peak = compute_first.tracker_peak;
  result.tracker_stalls = compute_first.tracker_stalls;

  const auto at = [](const SimulatedRun& run, Purpose purpose) {
    return run.bytes[static_cast<std::size_t>(purpose)];
  };
  // In bytes of one chunk; the all-gather reads and writes W - 1 of them either way.
  const RingMemory sequential = sequential_memory(ranks, 1);
  const double all_gather = 2 * (ranks - 1) * chunk;
  result.sequential_gemm_reads = at(alone, Purpose::gemm_read);
  result.sequential_exchange_reads = static_cast<double>(sequential.reads) * chunk;
  result.sequential_writes = at(alone, Purpose::gemm_write) + static_cast<double>(sequential.updates) * chunk;
  result.sequential_bytes =
      result.sequential_gemm_reads + result.sequential_exchange_reads + result.sequential_writes + all_gather;
  result.triggered_gemm_reads = at(compute_first, Purpose::gemm_read);
  result.triggered_exchange_reads = at(compute_first, Purpose::exchange_read);
  result.triggered_writes =
      at(compute_first, Purpose::gemm_write) + at(compute_first, Purpose::exchange_update);
  result.triggered_bytes = compute_first.memory_bytes() + all_gather;
  return result;
}

Device calibrated_device() {
  const Workload workload{small_models()[1], 8, SubLayer::fc2};
  Device device;
  double nearest = std::numeric_limits<double>::infinity();
  for (const double efficiency : {0.5, 0.55, 0.6, 0.65, 0.7}) {
    Device tried;
    tried.efficiency = efficiency;
    const double distance =
        std::abs(study_sub_layer(workload, tried).exchange_share() - paper_share_of_calibration);
    if (distance >= nearest) continue;
    nearest = distance;
    device.efficiency = efficiency;
  }
  double least = std::numeric_limits<double>::infinity();
  const Device chosen = device;
  for (const int threshold : {5, 10, 30}) {
    Device tried = chosen;
    tried.mca_threshold = threshold;
    const double seconds = study_sub_layer(workload, tried).compute_first;
    if (seconds >= least) continue;
    least = seconds;
    device.mca_threshold = threshold;
  }
  return device;
}

LayerTimes layer_times(const std::vector<SubLayerResult>& results, const Device& device, double rest,
                       bool training) {
  require(rest >= 0 && rest < 1 && !results.empty(), "a layer has sub-layers and a rest below all of it");
  LayerTimes times;
  for (const SubLayerResult& result : results) {
    if (!training && !is_forward(result.workload.sub_layer)) continue;
    times.sequential += result.sequential_seconds();
    times.first_come += result.first_come + result.all_gather;
    times.compute_first += result.compute_first + result.all_gather;
  }
  const double products = other_products(results.front().workload, device, training);
  const double others = products + (times.sequential + products) * rest / (1 - rest);
  times.sequential += others;
  times.first_come += others;
  times.compute_first += others;
  return times;
}

double exchange_share_of_layer(const std::vector<SubLayerResult>& results, const Device& device,
                               bool training) {
  double exchange = 0, all = 0;
  for (const SubLayerResult& result : results) {
    if (!training && !is_forward(result.workload.sub_layer)) continue;
    exchange += result.reduce_scatter + result.all_gather;
    all += result.sequential_seconds();
  }
  return exchange / (all + other_products(results.front().workload, device, training));
}

SharedUnits share_units(const SubLayerResult& result) {
  const double product = result.product, exchange = result.reduce_scatter + result.all_gather;
  const double both = product + exchange;
  return {both / std::max(product, exchange), both / std::max(product * 80 / 72, exchange * 1.41),
          both / std::max(product * 1.21, exchange * 1.07)};
}

}  // namespace laconic::t3
