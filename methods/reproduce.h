// Reproduction of a paper's claims at small scale. A claim is a set of arms; each arm's result is cached
// under (method version, parameters, data hash, seed), so a killed run resumes, and is printed as fresh or
// cached. Thresholds come from the card, never from the result.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/progress.h"

namespace laconic {

// An arm as it was met in one run.
struct ArmRecord {
  std::string name;
  bool cached = false;
  double seconds = 0;  // that computing it took, now or earlier
};

struct ReproduceRequest {
  enum class Scale { quick, standard, full };
  Scale scale = Scale::standard;
  std::uint64_t seed = 0;
  std::filesystem::path data;   // the data directory; empty: only what the project carries
  std::filesystem::path cache;  // where arms are kept
  // The command laconic, for claims on what it does as a program; empty: those are not measured.
  std::filesystem::path program;
  ProgressListener progress;
  std::function<void(const ArmRecord&)> on_arm;  // may be empty
};

struct Claim {
  std::string claim;  // one sentence
  std::string paper;  // the paper's figure, as text
  std::string baseline_name;
  double baseline_value = 0;
  std::uint64_t baseline_bytes = 0;
  double measured_value = 0;
  std::uint64_t measured_bytes = 0;
  std::string threshold;  // as the card states it
  bool met = false;
  std::string note;  // explanation when not met; corpus, window and seeds
};

// Numbers beyond the claims: curves, ablations, rows per model.
struct ReproductionTable {
  std::string title;
  std::vector<std::vector<std::string>> rows;  // the first row is the head
};

// A curve of values against bytes, for reports.
struct ReproductionCurve {
  std::string chart, name;  // curves of one chart are drawn together
  std::vector<std::pair<double, double>> points;
  std::string x_label = "bytes", y_label = "perplexity";
};

struct Reproduction {
  std::string slug;
  std::uint64_t seed = 0;
  double seconds = 0;
  std::vector<Claim> claims;
  std::vector<ReproductionTable> tables;
  std::vector<ReproductionCurve> curves;
  std::vector<std::string> notes;  // what a reader must know: data, windows, departures
  std::vector<ArmRecord> arms;
  bool met() const;  // every claim; false when there is none
  // One claim more, of numbers without bytes.
  Claim& judge(std::string claim, std::string paper, std::string baseline_name, double baseline,
               double measured, std::string threshold, bool met, std::string note = {});
};

using ArmNumbers = std::map<std::string, double>;

// Named numbers of one arm, computed once and kept: `name` is for people, `key` is the text of everything the
// numbers depend on (method version, parameters, data hash, seed). Each arm is one JSON file, written whole
// or not at all, so a killed run loses at most the arm it was in; a damaged or foreign file is computed anew.
class ArmCache {
 public:
  // `listener` hears of every arm once its numbers are known.
  explicit ArmCache(std::filesystem::path directory, std::function<void(const ArmRecord&)> listener = {});
  ArmNumbers arm(std::string_view name, std::string_view key, const std::function<ArmNumbers()>& compute);
  bool contains(std::string_view key) const;
  // Text that belongs to an arm (a sample that its model wrote); nothing when there is none.
  void put_text(std::string_view key, std::string_view text) const;
  std::optional<std::string> text(std::string_view key) const;
  // A directory for what an arm makes on the way, removed when the arm is done; a killed run finds it again.
  std::filesystem::path work_directory(std::string_view key) const;
  int fresh() const { return fresh_; }
  int cached() const { return cached_; }
  const std::vector<ArmRecord>& records() const { return records_; }

 private:
  std::filesystem::path file_of(std::string_view key) const;
  std::filesystem::path directory_;
  std::function<void(const ArmRecord&)> listener_;
  int fresh_ = 0, cached_ = 0;
  std::vector<ArmRecord> records_;
};

// XDG_CACHE_HOME/laconic/arms, else ~/.cache/laconic/arms, else a directory of the system's temporary files.
std::filesystem::path default_arm_cache();

}  // namespace laconic
