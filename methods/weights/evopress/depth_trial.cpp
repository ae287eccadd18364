#include "methods/weights/evopress/depth_trial.h"

#include <algorithm>
#include <numeric>

#include "engine/allocate/evolution_start.h"
#include "engine/base/error.h"

namespace laconic::evopress {
namespace {

constexpr std::size_t batch_of_states = 256;

}  // namespace

DepthTrial::DepthTrial(Trial& trial, std::int64_t calibration_tokens, std::uint64_t seed)
    : trial_(trial), tokens_(calibration_tokens), seed_(seed) {
  space_.layers = trial.dense().config().layers;
}

const TeacherCache& DepthTrial::teacher() {
  if (!teacher_) {
    const EvaluationWindows windows =
        fitness_windows(*Tokenizer::load(trial_.subject().model), trial_.dense().config(),
                        trial_.subject().calibration, tokens_, trial_window, seed_ + 1000);
    teacher_.emplace(TeacherCache::build(trial_.dense(), windows));
  }
  return *teacher_;
}

const std::map<Assignment, std::vector<double>>& DepthTrial::table(const std::vector<Assignment>& states) {
  std::vector<Assignment> unknown;
  for (const Assignment& state : states) {
    if (known_.find(state) == known_.end()) unknown.push_back(state);
  }
  for (std::size_t begin = 0; begin < unknown.size(); begin += batch_of_states) {
    const std::size_t end = std::min(unknown.size(), begin + batch_of_states);
    std::vector<Transformer> models;
    for (std::size_t i = begin; i < end; ++i) models.push_back(space_.assemble(trial_.dense(), unknown[i]));
    for (const std::int64_t window : teacher().all().windows) {
      TeacherBatch one;
      one.windows = {window};
      one.scored_tokens = trial_window - 1;
      const std::vector<double> kl = candidate_fitness(models, teacher(), one);
      for (std::size_t i = begin; i < end; ++i) known_[unknown[i]].push_back(kl[i - begin]);
    }
  }
  return known_;
}

double DepthTrial::mean_over(const Assignment& state, const std::vector<std::int64_t>& windows) const {
  double sum = 0;
  for (const std::int64_t window : windows) sum += known_.at(state).at(static_cast<std::size_t>(window));
  return sum / static_cast<double>(windows.size());
}

std::vector<Assignment> DepthTrial::states(int attention, int mlp) const {
  std::vector<Assignment> result;
  const std::size_t units = space_.units();
  require(units < 31, "few enough sub-blocks to try all");
  for (std::uint32_t mask = 0; mask < (std::uint32_t{1} << units); ++mask) {
    Assignment state(units, 1);
    int dropped[2] = {0, 0};
    for (std::size_t unit = 0; unit < units; ++unit) {
      if ((mask >> unit & 1) == 0) continue;
      state[unit] = 0;
      ++dropped[unit % 2];
    }
    if (dropped[0] == attention && dropped[1] == mlp) result.push_back(std::move(state));
  }
  return result;
}

DepthRank DepthTrial::search(int attention, int mlp, std::uint64_t seed, int offspring) {
  const std::vector<Assignment> all = states(attention, mlp);
  table(all);
  DepthSpace space = space_;
  space.dropped = {attention, mlp};
  EvolutionOptions options;
  options.generations = space.generations();
  options.offspring = std::min(offspring, static_cast<int>(all.size()) - 1);
  options.survivors = {2, 1};
  options.seed = seed;
  // A quarter of the calibration set, drawn afresh, then all of it.
  const std::vector<std::int64_t> whole = teacher().all().windows;
  const std::int64_t part = std::max<std::int64_t>(1, static_cast<std::int64_t>(whole.size()) / 4);
  const auto fitness = [&](const std::vector<Assignment>& candidates, int stage, int generation) {
    const std::vector<std::int64_t> windows =
        stage > 0 ? whole
                  : teacher()
                        .draw(part * (trial_window - 1), seed, static_cast<std::uint64_t>(generation) + 1)
                        .windows;
    std::vector<double> values;
    values.reserve(candidates.size());
    for (const Assignment& candidate : candidates) values.push_back(mean_over(candidate, windows));
    return values;
  };
  const Assignment start =
      best_start(random_drops(space.kinds(), space.dropped, 64, seed),
                 [&](const std::vector<Assignment>& candidates) { return fitness(candidates, 0, -1); });
  EvolutionState found = start_evolution(start);
  evolve(found, space.space(), options, fitness);
  DepthRank rank;
  rank.generations = options.generations;
  rank.states = static_cast<int>(all.size());
  rank.found = mean_over(found.best, whole);
  std::vector<double> values;
  values.reserve(all.size());
  for (const Assignment& state : all) values.push_back(mean_over(state, whole));
  std::sort(values.begin(), values.end());
  rank.rank = static_cast<int>(std::lower_bound(values.begin(), values.end(), rank.found) - values.begin());
  rank.best = values.front();
  rank.median = values[values.size() / 2];
  return rank;
}

double DepthTrial::held_out(const Assignment& levels) const {
  const ArmNumbers numbers = trial_.measure(space_.assemble(trial_.dense(), levels));
  double sum = 0;
  for (const HeldOutText& text : trial_.subject().held_out) sum += numbers.at("kl." + text.name);
  return sum / static_cast<double>(trial_.subject().held_out.size());
}

std::optional<Violation> DepthTrial::violation(int most) {
  std::vector<Assignment> all;
  for (int attention = 0; attention <= most; ++attention) {
    for (int mlp = 0; attention + mlp <= most; ++mlp) {
      for (Assignment& state : states(attention, mlp)) all.push_back(std::move(state));
    }
  }
  table(all);
  const std::vector<std::int64_t> whole = teacher().all().windows;
  std::map<Assignment, double> kl;
  for (const Assignment& state : all) kl[state] = mean_over(state, whole);
  std::optional<Violation> widest;
  for (const Assignment& fewer : all) {
    for (std::size_t unit = 0; unit < fewer.size(); ++unit) {
      if (fewer[unit] == 0) continue;
      Assignment more = fewer;
      more[unit] = 0;
      const auto found = kl.find(more);
      if (found == kl.end() || found->second >= kl.at(fewer)) continue;
      if (!widest || kl.at(fewer) - found->second > widest->fewer_kl - widest->more_kl) {
        widest = Violation{fewer, more, kl.at(fewer), found->second, 0, 0};
      }
    }
  }
  if (widest) {
    widest->fewer_held_out = held_out(widest->fewer);
    widest->more_held_out = held_out(widest->more);
  }
  return widest;
}

}  // namespace laconic::evopress
