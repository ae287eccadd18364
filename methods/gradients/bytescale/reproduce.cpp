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
