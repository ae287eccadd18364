#include "apps/cli/overlap_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "methods/gradients/t3/measured_overlap.h"

namespace laconic::cli {
namespace {

constexpr double wanted_of_sgemm = 0.7;

}  // namespace

nlohmann::json overlap_speeds(const Arguments& arguments, const Session& session) {
  t3::OverlapTrial trial;
  trial.ranks = static_cast<int>(arguments.integer("workers", 2, 2, 64));
  trial.rounds = static_cast<int>(arguments.integer("rounds", 7, 1, 1000));
  trial.rows = arguments.integer("rows", 2048, 1, 1 << 20);
  trial.columns = arguments.integer("columns", 2048, 1, 1 << 20);
  trial.depth = arguments.integer("depth", 512, 1, 1 << 20);
  trial.exchange_over_product = arguments.number("exchange-time", 1, 0.01, 100);
  const t3::OverlapMeasurement measured = t3::measure_overlap(trial, session.progress);
  const OverlapModel& model = measured.model;
  const double sequential = measured.arm("sequential").seconds;
  std::vector<std::vector<std::string>> table = {
      {"form", "ms", "product ms", "speed-up", "over the model", "of the modelled gain"}};
  nlohmann::json arms = nlohmann::json::array();
  for (const t3::OverlapMeasurement::Arm& arm : measured.arms) {
    const double over = arm.seconds / model.overlapped(), share = measured.share_of_gain(arm.name);
    table.push_back({arm.name, fmt::format("{:.1f}", 1e3 * arm.seconds),
                     fmt::format("{:.1f}", 1e3 * arm.product),
                     fmt::format("{:.2f}", sequential / arm.seconds), fmt::format("{:.2f}", over),
                     fmt::format("{:.2f}", share)});
    arms.push_back({{"form", arm.name},
                    {"seconds", arm.seconds},
                    {"product_seconds", arm.product},
                    {"speedup", sequential / arm.seconds},
                    {"over_model", over},
                    {"of_modelled_gain", share},
                    {"same_bits", arm.same_bits}});
  }
  const bool fast = measured.of_gemm >= wanted_of_sgemm;
  if (!session.json) {
    fmt::print(
        "{} x {} with a depth of {} on each of {} ranks (threads, {}), links of {:.0f} MB/s\n"
        "G {:.1f} ms, s {:.1f} ms; model: G + (W - 1) s = {:.1f} ms, max(G, G / W + (W - 1) s) = {:.1f} ms\n"
        "our product reaches {:.2f} of OpenBLAS on one core (wanted {:.2f}: {})\n{}\n",
        trial.rows, trial.columns, trial.depth, trial.ranks, measured.pinned ? "pinned" : "not pinned",
        measured.link_bytes_per_second / 1e6, 1e3 * model.product, 1e3 * model.step, 1e3 * model.sequential(),
        1e3 * model.overlapped(), measured.of_gemm, wanted_of_sgemm, fast ? "met" : "not met",
        format_table(table));
  }
  return {{{"rows", trial.rows},
           {"columns", trial.columns},
           {"depth", trial.depth},
           {"ranks", trial.ranks},
           {"link_bytes_per_second", measured.link_bytes_per_second},
           {"product_seconds", model.product},
           {"step_seconds", model.step},
           {"sequential_model_seconds", model.sequential()},
           {"overlapped_model_seconds", model.overlapped()},
           {"of_gemm", measured.of_gemm},
           {"pinned", measured.pinned},
           {"forms", arms},
           {"met", fast}}};
}

}  // namespace laconic::cli
