// What every reproduction of a weight method needs: reference models with text that calibrates and text that
// reports (convention C15), one arm = compress in process, read the directory back, and measure it (protocol
// P1, KL from the dense model, bytes as written), seeds, and comparisons at equal bytes (convention C13).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/metrics/bootstrap.h"
#include "methods/arm_numbers.h"
#include "methods/equal_bytes.h"
#include "methods/method.h"
#include "methods/trial_seeds.h"
#include "methods/trial_subjects.h"
#include "runtime/calibration/calibration.h"
#include "runtime/evaluation/perplexity.h"
#include "runtime/transformer.h"

namespace laconic {

struct TrialOptions {
  std::int64_t calibration_sequences = 64, calibration_window = 128;  // of card 50; the same for every arm
  std::int64_t tokens_per_text = 0;  // scored; 0: 2,000 quick, 6,000 standard, 40,000 full
  std::string sample_prompt;  // not empty: every compressed model goes on from it, most probable token first
};

using ParameterValues = std::vector<std::pair<std::string, std::string>>;

// One subject, loaded once.
//
// Numbers of an arm, T a held-out text:
//   ppl.T  kl.T  top1.T     over all scored tokens; kl and top1 against the dense model
//   nats.T.i  kl.T.i        sums over window i, tokens.T.i its scored tokens: for paired intervals
//   linear_bytes            payloads of the linear layers with all side information
//   linear_bits             8 * linear_bytes / weights in them
//   stored_bytes            sum of the .safetensors files
//   layer_loss              sum over linear layers of tr(dW H dW^T), H the dense model's input second moment
//   compress_seconds
class Trial {
 public:
  Trial(const ReproduceRequest& request, TrialSubject subject, ArmCache& cache, TrialOptions options = {});

  const TrialSubject& subject() const { return subject_; }
  const Transformer& dense() const { return dense_; }
  const TrialOptions& options() const { return options_; }

  // Compresses with a method of the registry. Parameters named calibration-sequences and calibration-window
  // are set from the options where the method has them and the caller did not.
  ArmNumbers compressed(std::string_view slug, const ParameterValues& parameters, std::uint64_t seed,
                        const SizeTarget& target = {});
  // The same for every seed.
  std::vector<ArmNumbers> compressed(std::string_view slug, const ParameterValues& parameters,
                                     const std::vector<std::uint64_t>& seeds, const SizeTarget& target = {});
  // What that model wrote after the sample prompt; empty without one.
  std::string sample(std::string_view slug, const ParameterValues& parameters, std::uint64_t seed,
                     const SizeTarget& target = {}) const;
  // The same of the model as it is.
  std::string original_sample() const;
  // Numbers of the model as it is (kl 0; linear_bytes in its stored dtype).
  ArmNumbers original();
  // Any other arm of this subject: `what` is everything it depends on besides model, texts and options.
  ArmNumbers arm(std::string_view name, std::string_view what, const std::function<ArmNumbers()>& compute);

  // What `compressed` reports about quality, for a model made in another way.
  ArmNumbers measure(const Transformer& model) const;
  // The dense model's statistics of every block for one calibration draw; measured on first need.
  const std::vector<BlockStatistics>& statistics(std::uint64_t seed);
  std::vector<std::vector<std::int32_t>> calibration_windows(std::uint64_t seed) const;

 private:
  // A request, and everything its numbers depend on.
  struct Plan {
    CompressionRequest request;
    std::string name, key_part;
  };
  Plan plan(const MethodDescription& method, const ParameterValues& parameters, std::uint64_t seed,
            const SizeTarget& target) const;
  ArmNumbers run(const MethodDescription& method, const CompressionRequest& request, const std::string& key);
  std::string written_by(const Transformer& model) const;
  std::string arm_key(std::string_view what) const;
  double layer_loss(const std::filesystem::path& compressed_directory, std::uint64_t seed);

  const ReproduceRequest& request_;
  TrialSubject subject_;
  ArmCache& cache_;
  TrialOptions options_;
  Transformer dense_;
  std::vector<EvaluationWindows> windows_;  // by held-out text
  std::string data_hash_;
  std::vector<std::pair<std::uint64_t, std::vector<BlockStatistics>>> statistics_;
};

// Of the input of one linear layer; null when the block has none. q, k and v share one, gate and up another.
const LinearStatistics* observed_statistics(const BlockStatistics& block, LinearSlot slot);

// Difference a - b in nats per token on text T: windows are the items, each averaged over seeds.
BootstrapInterval nats_difference(const std::vector<ArmNumbers>& a, const std::vector<ArmNumbers>& b,
                                  std::string_view text, int resamples = 10000);

}  // namespace laconic
