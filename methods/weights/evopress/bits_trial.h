// One database of widths for one reference model and calibration seed, and the assignments that card 23
// compares on it at equal bytes: uniform, fixed and random patterns, allocators on layer losses, and the
// search.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "methods/weights/evopress/level_search.h"
#include "methods/weights/evopress/model_search.h"
#include "methods/weights/trial.h"

namespace laconic::evopress {

// How an arm searches; the defaults are the card's small-scale settings with the last stage on the whole set.
struct BitsSearch {
  int generations = 60, offspring = 16;
  std::vector<int> survivors = {4, 2, 1};
  std::vector<std::int64_t> tokens = {512, 2048, 8128};
  MutationRule rule = MutationRule::none;
  bool fresh = true, planned = false;
  FitnessMeasure measure = FitnessMeasure::kl;
  std::string text() const;
};

class BitsTrial {
 public:
  // The database is kept under `folder` between runs.
  BitsTrial(Trial& trial, std::filesystem::path folder, std::uint64_t seed, std::int64_t group,
            std::int64_t calibration_tokens);

  // Numbers of Trial::measure, and bytes (frames), search_kl (on the calibration set), mean_kl (over held-out
  // texts), level.<unit>, and budget.
  ArmNumbers uniform(int bits);
  ArmNumbers pattern(const std::string& name, double width);  // "first half", "last half", "alternating"
  ArmNumbers median_of_random(int count, double width);       // by KL on the calibration set
  ArmNumbers planned(const std::string& solver,
                     double width);  // "dynamic programming", "greedy"; raw layer losses
  ArmNumbers searched(const std::string& name, const BitsSearch& settings, double width);

 private:
  void open();
  ArmNumbers arm(const std::string& name, const std::string& what, const std::function<Assignment()>& choose);
  EvolutionSpace space(double width, MutationRule rule) const;
  std::vector<std::size_t> random_order(int index) const;
  ModelSearch search(const SearchSettings& settings) const;

  Trial& trial_;
  std::filesystem::path folder_;
  std::uint64_t seed_;
  std::int64_t calibration_tokens_;
  BitLevels levels_;
  // Made on first need: a run whose arms are all cached touches none of it.
  std::unique_ptr<VariantDatabase> database_;
  std::optional<VariantSpace> variants_;
  std::optional<TeacherCache> teacher_;
};

}  // namespace laconic::evopress
