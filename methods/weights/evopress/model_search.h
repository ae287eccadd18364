// The evolutionary search of engine/allocate over variants of one language model: candidates are assembled
// from the dense model, judged by their divergence from it on minibatches of calibration text, in stages of
// growing effort.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/allocate/evolution.h"
#include "runtime/evaluation/candidate_fitness.h"

namespace laconic::evopress {

// What a stage of the card's table needs, and the variations of its ablations.
struct SearchSettings {
  int generations = 60;
  int offspring = 16;                                     // lambda
  std::vector<int> survivors = {4, 2, 1};                 // per stage
  std::vector<std::int64_t> tokens = {512, 2048, 16384};  // scored tokens per stage
  bool fresh = true;  // a new minibatch for every stage of every generation
  FitnessMeasure measure = FitnessMeasure::kl;
  std::uint64_t seed = 0;
  ProgressListener progress;
};

constexpr std::int64_t trial_window = 128;  // tokens of a window in the small-scale trials of card 23

// Windows of a calibration text for the fitness: BOS and `window_tokens` - 1 tokens each, together at least
// `tokens` scored ones. Throws Error(usage) when the text has fewer.
EvaluationWindows fitness_windows(const Tokenizer& tokenizer, const ModelConfig& config,
                                  std::string_view text, std::int64_t tokens, std::int64_t window_tokens,
                                  std::uint64_t seed);

// What a search that can be resumed is kept as, in the run's folder of unfinished work.
inline constexpr const char* search_file = "search";

class ModelSearch {
 public:
  using Assemble = std::function<Transformer(const Assignment&)>;

  // Borrows the teacher. Refuses stages with more tokens than it has, and a last stage that keeps more than
  // one.
  ModelSearch(const TeacherCache& teacher, Assemble assemble, SearchSettings settings);

  std::vector<double> fitness(const std::vector<Assignment>& candidates, const TeacherBatch& batch) const;
  // On the whole calibration set: what the archive of the best goes by. Values are remembered.
  std::vector<double> fitness(const std::vector<Assignment>& candidates) const;

  // From the best of `starts` (judged on the tokens of the first stage, when there are several) to the best
  // of the archive. A search that was saved under `state_file` with the same `key` goes on; empty: nothing is
  // saved.
  EvolutionState run(const EvolutionSpace& space, const std::vector<Assignment>& starts,
                     const std::filesystem::path& state_file = {}, const std::string& key = {}) const;

 private:
  std::vector<double> stage_fitness(const std::vector<Assignment>& candidates, int stage,
                                    int generation) const;
  const TeacherCache& teacher_;
  Assemble assemble_;
  SearchSettings settings_;
  mutable std::map<Assignment, double> whole_set_;
};

}  // namespace laconic::evopress
