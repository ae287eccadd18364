#include "methods/gradients/federated/comparison_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "methods/gradients/training/training_trial.h"

namespace laconic {
namespace {

std::uint64_t row_bytes(const ComparisonRow& row) {
  return static_cast<std::uint64_t>(std::llround(mean_of(row, "bytes_up")));
}

std::string gap_per_seed(const ComparisonRow& row) {
  std::string text;
  for (const ArmNumbers& arm : row.arms) text += (text.empty() ? "" : " ") + gap_text(arm.at("tail"));
  return text;
}

double byte_ratio(const Claim& claim) {
  return static_cast<double>(claim.measured_bytes) / static_cast<double>(claim.baseline_bytes);
}

Claim claim_between(const ComparisonRow& own, const ComparisonRow& baseline, const std::string& number) {
  Claim claim;
  claim.baseline_name = baseline.name;
  claim.baseline_value = mean_of(baseline, number);
  claim.baseline_bytes = row_bytes(baseline);
  claim.measured_value = mean_of(own, number);
  claim.measured_bytes = row_bytes(own);
  return claim;
}

// "0.021 and 0.0012": whether a curve still falls.
std::string half_and_end(const ComparisonRow& row, const std::string& number) {
  const std::vector<std::pair<double, double>> curve = curve_of(row.arms, number);
  if (curve.empty()) return "nothing";
  return fmt::format("{:.2g} and {:.2g}", curve[(curve.size() - 1) / 2].second, curve.back().second);
}

// "diverged for 2 of 3 seeds", or nothing.
std::string diverged_text(const ComparisonRow& row) {
  const auto lost = std::count_if(row.arms.begin(), row.arms.end(), [](const ArmNumbers& arm) {
    const auto found = arm.find("diverged");
    return found != arm.end() && found->second > 0;
  });
  return lost == 0 ? "" : fmt::format("diverged for {} of {} seeds", lost, row.arms.size());
}

// Of an arm that diverged there is none.
double accuracy_of(const ArmNumbers& arm) {
  const auto found = arm.find("accuracy");
  return found == arm.end() ? 0 : found->second;
}

}  // namespace

ComparisonRow tuned_row(FederatedTrial& trial, const FederatedArm& arm, const FederatedGrid& grid,
                        const std::vector<std::uint64_t>& seeds, const std::string& card) {
  ComparisonRow row{arm.name, card, trial.tuned(arm, grid, seeds), {}};
  const ArmNumbers& first = row.arms.front();
  row.choice = fmt::format("{} x {}", first.at("local_rate"), first.at("server_rate"));
  for (const auto& [name, value] : grid.variants[static_cast<std::size_t>(first.at("variant"))])
    row.choice += fmt::format(", {} {}", name, value);
  return row;
}

std::vector<FederatedParameters> variants_of(const std::string& name,
                                             const std::vector<std::string>& values) {
  std::vector<FederatedParameters> variants;
  for (const std::string& value : values) variants.push_back({{name, value}});
  return variants;
}

double mean_of(const ComparisonRow& row, const std::string& number) {
  double sum = 0;
  for (const ArmNumbers& arm : row.arms) sum += number == "accuracy" ? accuracy_of(arm) : arm.at(number);
  return sum / static_cast<double>(row.arms.size());
}

std::string gap_text(double gap) { return gap >= 1e29 ? "diverged" : fmt::format("{:.2g}", gap); }

Claim gap_claim(const ComparisonRow& own, const ComparisonRow& baseline, const std::string& what,
                const std::string& paper) {
  Claim claim = claim_between(own, baseline, "tail");
  claim.claim = what + ": relative gap at equal uplink";
  claim.paper = paper;
  claim.threshold = "at most a tenth of the baseline's, at equal bytes (1 %)";
  bool every = true;
  for (std::size_t i = 0; i < own.arms.size(); ++i)
    every = every && own.arms[i].at("tail") < baseline.arms[i].at("tail");
  const double bytes = byte_ratio(claim);
  claim.met = claim.measured_value <= 0.1 * claim.baseline_value && every && std::abs(bytes - 1) <= 0.01;
  claim.note = fmt::format("{} seeds: {} against {}; bytes {:.4f} of the baseline's; rates {} against {}",
                           own.arms.size(), gap_per_seed(own), gap_per_seed(baseline), bytes, own.choice,
                           baseline.choice);
  if (!claim.met) {
    claim.note += fmt::format("; half way and in the end {} against {}", half_and_end(own, "loss"),
                              half_and_end(baseline, "loss"));
  }
  return claim;
}

Claim accuracy_claim(const ComparisonRow& own, const ComparisonRow& baseline, const std::string& what,
                     double least, const std::string& threshold, double heard) {
  Claim claim = claim_between(own, baseline, "accuracy");
  claim.claim = what + ", accuracy";
  claim.paper = "matches full precision at 10 to 100 times less uplink, beats Fed-EF and FedPAQ (curves)";
  claim.threshold = threshold;
  bool every = true;
  std::string differences;
  for (std::size_t i = 0; i < own.arms.size(); ++i) {
    const double difference = accuracy_of(own.arms[i]) - accuracy_of(baseline.arms[i]);
    every = every && difference > 0;
    differences += fmt::format("{}{:+.2f}", i == 0 ? "" : " ", 100 * difference);
  }
  const double difference = claim.measured_value - claim.baseline_value, bytes = byte_ratio(claim);
  claim.met = least < 0 ? difference >= least : difference > 0 && every && std::abs(bytes - 1) <= 0.01;
  claim.note = fmt::format("points per seed {}; bytes up {:.4f} of the baseline's; rates {} against {}",
                           differences, bytes, own.choice, baseline.choice);
  if (const std::string lost = diverged_text(own); !lost.empty()) claim.note += "; " + lost;
  if (const std::string lost = diverged_text(baseline); !lost.empty()) claim.note += "; the baseline " + lost;
  const std::vector<std::pair<double, double>> curve = curve_of(own.arms, "accuracy");
  if (!claim.met && !curve.empty()) {
    claim.note += fmt::format(
        "; a client is heard {:.0f} times in the run; accuracy {:.4f} half way, {:.4f} in the end", heard,
        curve[curve.size() / 2 - (curve.size() > 1 ? 1 : 0)].second, curve.back().second);
  }
  return claim;
}

ReproductionTable gap_table(const std::string& title, const std::vector<ComparisonRow>& rows) {
  ReproductionTable table;
  table.title = title;
  table.rows.push_back({"method", "gap", "per seed", "card", "bytes up", "rates"});
  for (const ComparisonRow& row : rows) {
    table.rows.push_back({row.name, gap_text(mean_of(row, "tail")), gap_per_seed(row), row.card,
                          std::to_string(row_bytes(row)), row.choice});
  }
  return table;
}

ReproductionTable accuracy_table(const std::string& title, const std::vector<ComparisonRow>& rows) {
  ReproductionTable table;
  table.title = title + ": accuracy against uplink";
  table.rows.push_back({"method", "accuracy", "per seed", "loss", "MB up", "MB down", "rates"});
  for (const ComparisonRow& row : rows) {
    std::string each;
    for (const ArmNumbers& arm : row.arms) each += fmt::format("{:.4f} ", accuracy_of(arm));
    const bool all = std::all_of(row.arms.begin(), row.arms.end(),
                                 [](const ArmNumbers& arm) { return arm.count("accuracy") > 0; });
    const std::string mean =
        all ? spread_text(spread_of(row.arms, "accuracy"), row.arms.size(), 4) : std::string("diverged");
    table.rows.push_back({row.name, mean, each, fmt::format("{:.4f}", mean_of(row, "loss")),
                          fmt::format("{:.4g}", mean_of(row, "bytes_up") / 1e6),
                          fmt::format("{:.4g}", mean_of(row, "bytes_down") / 1e6), row.choice});
  }
  return table;
}

std::vector<ReproductionCurve> curves_of(const std::string& chart, const std::vector<ComparisonRow>& rows,
                                         const std::string& number, const std::string& label) {
  std::vector<ReproductionCurve> curves;
  for (const ComparisonRow& row : rows)
    curves.push_back({chart, row.name, curve_of(row.arms, number), "bytes up", label});
  return curves;
}

}  // namespace laconic
