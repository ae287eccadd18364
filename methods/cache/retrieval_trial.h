// Retrieval as arms of a trial of caches: what a model finds again in its context through a compressed cache.
// Needles are facts in running text, questions about them stand in the prompt or come when the cache has been
// compressed; lists are pairs of keys and values of which one is asked for (runtime/corpus/retrieval.h). All
// of them are held out from training.
//
// Numbers of an arm: found (share), nats (of the answers, per token), bytes (of the cache, mean), and of
// window i found.i and nats.i.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "methods/cache/cache_trial.h"
#include "runtime/evaluation/retrieval.h"

namespace laconic {

struct RetrievalTrialOptions {
  enum class Task { needle, list };
  Task task = Task::needle;
  bool question_in_prompt = true;
  std::int64_t tokens = 1024;  // of a window of needles, BOS included; lists have about as many or less
  std::int64_t shortest = 0;   // lists of fewer tokens than this are drawn again
  std::int64_t windows = 0;    // 0: 10 quick, 100 else; needles at depths 0, 1/4, 1/2, 3/4 and 1 in turn
};

class RetrievalTrial {
 public:
  RetrievalTrial(const ReproduceRequest& request, CacheTrial& trial, RetrievalTrialOptions options);

  const RetrievalTrialOptions& options() const { return options_; }
  const std::vector<RetrievalWindow>& windows(std::uint64_t seed);
  ArmNumbers arm(std::string_view pipeline, std::uint64_t seed,
                 std::optional<std::int64_t> exact_window = {});
  std::vector<ArmNumbers> arms(std::string_view pipeline, const std::vector<std::uint64_t>& seeds,
                               std::optional<std::int64_t> exact_window = {});

 private:
  CacheTrial& trial_;
  RetrievalTrialOptions options_;
  std::vector<std::pair<std::uint64_t, std::vector<RetrievalWindow>>> drawn_;
};

// Difference a - b of the shares found, windows as items, each averaged over seeds: paired bootstrap.
BootstrapInterval found_difference(const std::vector<ArmNumbers>& a, const std::vector<ArmNumbers>& b,
                                   int resamples = 10000);

}  // namespace laconic
