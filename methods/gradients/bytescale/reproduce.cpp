#include "methods/gradients/bytescale/reproduce.h"

#include <fmt/format.h>

#include "methods/gradients/bytescale/study.h"

namespace laconic::bytescale {
namespace {

constexpr int study_version = 1;

}  // namespace

std::string Study::key(std::string_view what) const {
  return fmt::format("bytescale {}\n{}\nseed {}", study_version, what, request_.seed);
}

void Study::claim(std::string what, std::string paper, std::string baseline, double baseline_value,
                  double value, std::string threshold, bool met, std::string note) {
  Claim one;
  one.claim = std::move(what);
  one.paper = std::move(paper);
  one.baseline_name = std::move(baseline);
  one.baseline_value = baseline_value;
  one.measured_value = value;
  one.threshold = std::move(threshold);
  one.met = met;
  one.note = std::move(note);
  result_.claims.push_back(std::move(one));
}

Reproduction Study::finish() {
  result_.arms = cache_.records();
  return std::move(result_);
}

Reproduction reproduce(const ReproduceRequest& request) {
  Study study(request);
  simulated_claims(study);
  trained_claims(study);
  return study.finish();
}

}  // namespace laconic::bytescale
