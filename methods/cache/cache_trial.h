// What every reproduction of a cache method needs: one model and text, protocol P2 with the f16 cache as the
// dense one, and arms = one pipeline measured on it, kept under everything their numbers depend on.
//
// Numbers of an arm:
//   ppl, dense_ppl, change      perplexity, that of the f16 cache, ppl / dense_ppl - 1
//   kl, kl_error, top1          against the f16 cache
//   bytes_per_token, payload, scales, indices, tables, window, header   exact, at the end of a window
//   nats.i, kl.i                sums of window i, tokens all scored ones: for paired intervals
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/metrics/bootstrap.h"
#include "methods/arm_numbers.h"
#include "methods/cache/pipeline.h"
#include "methods/equal_bytes.h"
#include "methods/trial_seeds.h"
#include "methods/trial_subjects.h"
#include "runtime/evaluation/cache_evaluation.h"

namespace laconic {

struct CacheTrialOptions {
  std::int64_t prompt = 256, forced = 160;  // T0 and T1: 768 and 256 on the model with a long context
  // 0: 8 quick, 64 else; standard scale takes 24 of 1,024 tokens or more
  std::int64_t windows = 0;
  std::int64_t exact_window = 32;  // recent tokens that stay exact, the same for every method

  static CacheTrialOptions long_context() { return {.prompt = 768, .forced = 256}; }
};

class CacheTrial {
 public:
  // `text`: name of one of the subject's held-out texts. Documents come in an order drawn from each seed.
  CacheTrial(const ReproduceRequest& request, TrialSubject subject, std::string_view text, ArmCache& cache,
             CacheTrialOptions options);

  const TrialSubject& subject() const { return subject_; }
  const Transformer& model() const { return model_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }
  const CacheTrialOptions& options() const { return options_; }
  const CacheWindows& windows(std::uint64_t seed);
  const DenseCacheRun& dense(std::uint64_t seed);  // measured on first need

  // Makers of caches of a pipeline for this model. `exact_window`: absent takes that of the options, -1 the
  // method's own.
  CacheFactory factory(std::string_view pipeline, std::uint64_t seed,
                       std::optional<std::int64_t> exact_window = {},
                       const std::filesystem::path& bases = {}) const;
  ArmNumbers measure(const CacheMaker& make, std::uint64_t seed);
  // The pipeline's numbers for one seed, or for each of several.
  ArmNumbers arm(std::string_view pipeline, std::uint64_t seed,
                 std::optional<std::int64_t> exact_window = {});
  std::vector<ArmNumbers> arms(std::string_view pipeline, const std::vector<std::uint64_t>& seeds,
                               std::optional<std::int64_t> exact_window = {});
  // Any other arm of this trial: `what` is everything it depends on besides model, text, protocol and seed.
  ArmNumbers other_arm(std::string_view name, std::string_view what, std::uint64_t seed,
                       const std::function<ArmNumbers()>& compute);

 private:
  struct Draw {
    CacheWindows windows;
    std::optional<DenseCacheRun> dense;
  };
  Draw& draw(std::uint64_t seed);

  TrialSubject subject_;
  std::string text_name_;
  ArmCache& cache_;
  CacheTrialOptions options_;
  Transformer model_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::string data_hash_;
  std::vector<std::pair<std::uint64_t, std::unique_ptr<Draw>>> draws_;
};

// The numbers of an arm, of windows that are not the trial's own as well.
ArmNumbers numbers_of(const CacheEvaluation& result);

// Arms of several seeds at `bytes` per token between those of two others: every number linear in the
// logarithm of the bytes (convention C13). `bytes` lies between theirs.
std::vector<ArmNumbers> arms_between(const std::vector<ArmNumbers>& below,
                                     const std::vector<ArmNumbers>& above, double bytes);

// Difference a - b in nats per token, windows as items, each averaged over seeds: paired bootstrap.
BootstrapInterval cache_nats_difference(const std::vector<ArmNumbers>& a, const std::vector<ArmNumbers>& b,
                                        int resamples = 10000);

}  // namespace laconic
