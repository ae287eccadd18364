// Bases (methods/cache/trained_base.h) that reproductions measure: each is made once for a model, its
// settings and a seed, and kept beside the arms.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "methods/cache/cache_trial.h"

namespace laconic {

class TrialBases {
 public:
  TrialBases(const ReproduceRequest& request, const TrialSubject& subject);

  using Settings = std::vector<std::pair<std::string, std::string>>;
  // Everything the base depends on: for the key of an arm.
  std::string key(std::string_view slug, const Settings& settings, std::uint64_t seed) const;
  // The directory whose kv/<slug>.safetensors it is; made on first need from the subject's calibration text.
  std::filesystem::path directory(std::string_view slug, const Settings& settings, std::uint64_t seed) const;

 private:
  const ReproduceRequest& request_;
  const TrialSubject& subject_;
  std::string data_hash_;
};

// The arm of a pipeline that uses such a base, for one seed.
ArmNumbers arm_with_base(CacheTrial& trial, const TrialBases& bases, std::string_view slug,
                         const TrialBases::Settings& settings, std::string_view pipeline, std::uint64_t seed,
                         std::optional<std::int64_t> exact_window = {});

}  // namespace laconic
