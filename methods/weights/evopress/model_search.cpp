#include "methods/weights/evopress/model_search.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "engine/allocate/evolution_start.h"
#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/hash.h"
#include "runtime/calibration/calibration.h"

namespace laconic::evopress {
namespace {

constexpr std::size_t key_bytes = 16;

Hash128 hash_of(const std::string& key) { return xxh3_128(as_byte_span(key)); }

void save(const std::filesystem::path& path, const std::string& key, const EvolutionState& state) {
  ByteWriter writer;
  for (const std::uint8_t byte : hash_of(key)) writer.u8(byte);
  writer.append(save_evolution(state));
  write_file(path, writer.span());
}

// Nothing when there is no state, when it belongs to another search, or when it is damaged: the search begins
// anew.
std::optional<EvolutionState> load(const std::filesystem::path& path, const std::string& key) {
  if (path.empty() || !std::filesystem::exists(path)) return std::nullopt;
  const Bytes bytes = read_file(path);
  const Hash128 wanted = hash_of(key);
  if (bytes.size() < key_bytes) return std::nullopt;
  for (std::size_t i = 0; i < key_bytes; ++i) {
    if (static_cast<std::uint8_t>(bytes[i]) != wanted[i]) return std::nullopt;
  }
  try {
    return load_evolution(ByteSpan(bytes).subspan(key_bytes), path.string());
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) throw;
    return std::nullopt;
  }
}

}  // namespace

EvaluationWindows fitness_windows(const Tokenizer& tokenizer, const ModelConfig& config,
                                  std::string_view text, std::int64_t tokens, std::int64_t window_tokens,
                                  std::uint64_t seed) {
  if (window_tokens < 2 || window_tokens > config.max_positions) {
    fail(ErrorKind::usage,
         fmt::format("a window of {} tokens does not fit the model's context of {}", window_tokens,
                     config.max_positions),
         "search-window");
  }
  const std::int64_t scored = window_tokens - 1;
  CalibrationOptions options;
  options.sequences = (tokens + scored - 1) / scored;
  options.window_tokens = window_tokens;
  options.seed = seed;
  EvaluationWindows result;
  result.windows = draw_calibration_windows(tokenizer, config, text, options);
  result.window_tokens = window_tokens;
  result.scored_tokens = static_cast<std::int64_t>(result.windows.size()) * scored;
  if (result.scored_tokens < tokens) {
    fail(ErrorKind::usage,
         fmt::format("the calibration text has {} tokens for the search, which wants {}",
                     result.scored_tokens, tokens),
         "--calibration", "give a longer text, or lower -p search-tokens");
  }
  return result;
}

ModelSearch::ModelSearch(const TeacherCache& teacher, Assemble assemble, SearchSettings settings)
    : teacher_(teacher), assemble_(std::move(assemble)), settings_(std::move(settings)) {
  if (settings_.tokens.size() != settings_.survivors.size()) {
    fail(ErrorKind::usage,
         fmt::format("{} stages of tokens and {} of survivors", settings_.tokens.size(),
                     settings_.survivors.size()),
         "stage-tokens", "give one number per stage to both");
  }
  const std::int64_t all = teacher_.windows().scored_tokens;
  for (const std::int64_t tokens : settings_.tokens) {
    if (tokens < 1 || tokens > all) {
      fail(ErrorKind::usage,
           fmt::format("a selection stage of {} tokens; the calibration set has {}", tokens, all),
           "stage-tokens", "give a longer calibration text, or fewer tokens per stage");
    }
  }
}

std::vector<double> ModelSearch::fitness(const std::vector<Assignment>& candidates,
                                         const TeacherBatch& batch) const {
  std::vector<Transformer> models;
  models.reserve(candidates.size());
  for (const Assignment& candidate : candidates) models.push_back(assemble_(candidate));
  return candidate_fitness(models, teacher_, batch, settings_.measure);
}

std::vector<double> ModelSearch::fitness(const std::vector<Assignment>& candidates) const {
  std::vector<Assignment> unknown;
  for (const Assignment& candidate : candidates) {
    if (whole_set_.emplace(candidate, 0).second) unknown.push_back(candidate);
  }
  const std::vector<double> values = fitness(unknown, teacher_.all());
  for (std::size_t i = 0; i < unknown.size(); ++i) whole_set_[unknown[i]] = values[i];
  std::vector<double> result;
  for (const Assignment& candidate : candidates) result.push_back(whole_set_.at(candidate));
  return result;
}

std::vector<double> ModelSearch::stage_fitness(const std::vector<Assignment>& candidates, int stage,
                                               int generation) const {
  const std::int64_t tokens = settings_.tokens[static_cast<std::size_t>(stage)];
  // A stage on the whole set is the same every time, so that the parent never gets worse on it.
  if (tokens >= teacher_.windows().scored_tokens) return fitness(candidates);
  const auto stages = settings_.tokens.size();
  const auto generations_before = static_cast<std::uint64_t>(settings_.fresh ? generation + 1 : 0);
  const auto step = generations_before * stages + static_cast<std::uint64_t>(stage);
  return fitness(candidates, teacher_.draw(tokens, settings_.seed, step));
}

EvolutionState ModelSearch::run(const EvolutionSpace& space, const std::vector<Assignment>& starts,
                                const std::filesystem::path& state_file, const std::string& key) const {
  EvolutionOptions options;
  options.generations = settings_.generations;
  options.offspring = settings_.offspring;
  options.survivors = settings_.survivors;
  options.seed = settings_.seed;
  options.progress = settings_.progress;
  const CommonFitness common = [this](const Assignment& candidate) { return fitness({candidate}).front(); };
  std::optional<EvolutionState> state = load(state_file, key);
  if (!state || state->parent.size() != space.levels.size()) {
    state = start_evolution(starts.size() == 1 ? starts.front()
                                               : best_start(starts,
                                                            [&](const std::vector<Assignment>& all) {
                                                              return stage_fitness(all, 0, -1);
                                                            }),
                            common);
  }
  evolve(
      *state, space, options,
      [this](const std::vector<Assignment>& candidates, int stage, int generation) {
        return stage_fitness(candidates, stage, generation);
      },
      common,
      [&](const EvolutionState& now) {
        if (!state_file.empty()) save(state_file, key, now);
      });
  return *state;
}

}  // namespace laconic::evopress
