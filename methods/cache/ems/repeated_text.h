// Prompts that say the same again and again: a passage of held-out text, repeated until prompt and forced
// tokens are full, in the form that copies have in training ("Text: ... Again: ...", runtime/corpus). What is
// forced can be copied from any of the repetitions, so that most of them need no room.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "methods/cache/cache_trial.h"

namespace laconic::ems {

class RepeatedText {
 public:
  // Passages of `passage` tokens from the windows of the trial, one for each.
  RepeatedText(CacheTrial& trial, std::int64_t passage) : trial_(trial), passage_(passage) {}

  // Numbers as those of a CacheTrial.
  ArmNumbers arm(std::string_view pipeline, std::uint64_t seed);
  std::vector<ArmNumbers> arms(std::string_view pipeline, const std::vector<std::uint64_t>& seeds);

 private:
  struct Draw {
    CacheWindows windows;
    DenseCacheRun dense;
  };
  const Draw& draw(std::uint64_t seed);

  CacheTrial& trial_;
  std::int64_t passage_;
  std::vector<std::pair<std::uint64_t, std::unique_ptr<Draw>>> draws_;
};

}  // namespace laconic::ems
