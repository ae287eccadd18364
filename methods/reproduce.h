// Reproduction of a paper's claims at small scale. A claim is a set of arms; each arm's result is cached under (method
// version, parameters, data hash, seed), so a killed run resumes, and is printed as fresh or cached. Thresholds come
// from the card, never from the result.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/progress.h"

namespace laconic {

struct ReproduceRequest {
  enum class Scale { quick, standard, full };
  Scale scale = Scale::standard;
  std::uint64_t seed = 0;
  std::filesystem::path data;         // the data directory; empty: only what the project carries
  std::filesystem::path cache;        // where arms are kept
  ProgressListener progress;
};

struct Claim {
  std::string claim;          // one sentence
  std::string paper;          // the paper's figure, as text
  std::string baseline_name;
  double baseline_value = 0;
  std::uint64_t baseline_bytes = 0;
  double measured_value = 0;
  std::uint64_t measured_bytes = 0;
  std::string threshold;      // as the card states it
  bool met = false;
  std::string note;           // explanation when not met; corpus, window and seeds
};

struct Reproduction {
  std::string slug;
  std::uint64_t seed = 0;
  double seconds = 0;
  std::vector<Claim> claims;
  std::vector<std::vector<std::string>> tables;  // rows of extra tables, first row is the head
  bool met() const;
};

// Named numbers of one arm, computed once and kept: `name` and `key` identify it (key: everything it depends on).
class ArmCache {
 public:
  explicit ArmCache(std::filesystem::path directory);
  std::map<std::string, double> arm(std::string_view name, std::string_view key,
                                    const std::function<std::map<std::string, double>()>& compute);
  int fresh() const { return fresh_; }
  int cached() const { return cached_; }

 private:
  std::filesystem::path directory_;
  int fresh_ = 0, cached_ = 0;
};

}  // namespace laconic
