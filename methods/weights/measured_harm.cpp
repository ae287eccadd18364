#include "methods/weights/measured_harm.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "engine/base/error.h"
#include "runtime/evaluation/teacher_cache.h"

namespace laconic {
namespace {

constexpr std::int64_t least_tokens = 128, most_tokens = 2048;
// Beyond so large a vocabulary only the most probable tokens of the dense model are compared.
constexpr std::int64_t whole_vocabulary = 8192, probable_tokens = 512;

// Where the tensor of a unit stands in the model.
std::pair<std::int64_t, LinearSlot> place_of(const UnitVariants& unit) {
  return {unit.order / linear_slots, static_cast<LinearSlot>(unit.order % linear_slots)};
}

double multiply_adds_per_token(const ModelConfig& config) {
  double sum = static_cast<double>(config.vocabulary * config.hidden);
  for (int slot = 0; slot < linear_slots; ++slot) {
    const LinearShape shape = linear_shape(config, static_cast<LinearSlot>(slot));
    sum += static_cast<double>(config.layers) * static_cast<double>(shape.in * shape.out);
  }
  return sum;
}

}  // namespace

std::vector<std::vector<double>> measured_harm(const VariantDatabase& database, const Transformer& dense,
                                               const EvaluationWindows& windows,
                                               const std::vector<std::size_t>& probes,
                                               const ProgressListener& listener) {
  require(!probes.empty() && !windows.windows.empty(), "harm is measured somewhere");
  const TeacherCache teacher =
      TeacherCache::build(dense, windows, dense.config().vocabulary > whole_vocabulary ? probable_tokens : 0);
  const std::vector<std::string> units = database.units();
  Progress progress(listener, "measuring layers", static_cast<std::int64_t>(units.size() * probes.size()));
  std::vector<std::vector<double>> harm;
  for (const std::string& name : units) {
    const UnitVariants& unit = database.unit(name);
    const auto [layer, slot] = place_of(unit);
    std::vector<double> measured;
    for (const std::size_t level : probes) {
      Transformer changed = dense;
      changed.set_linear(layer, slot, make_linear(database.payload(name, level)));
      measured.push_back(std::max(0.0, teacher.kl(changed)));
      progress.advance();
    }
    std::vector<double>& row = harm.emplace_back();
    for (std::size_t level = 0; level < unit.levels.size(); ++level) {
      std::size_t nearest = 0;
      const auto distance = [&](std::size_t probe) {
        return std::abs(static_cast<std::int64_t>(probes[probe]) - static_cast<std::int64_t>(level));
      };
      for (std::size_t probe = 1; probe < probes.size(); ++probe) {
        if (distance(probe) < distance(nearest)) nearest = probe;
      }
      const double loss = unit.levels[probes[nearest]].loss;
      row.push_back(loss > 0 ? measured[nearest] * unit.levels[level].loss / loss : 0);
    }
  }
  return harm;
}

EvaluationWindows probe_windows(const std::vector<std::vector<std::int32_t>>& calibration,
                                const ModelConfig& config, std::size_t runs, double operations) {
  const double per_run = operations / static_cast<double>(std::max<std::size_t>(1, runs));
  const auto affordable = static_cast<std::int64_t>(
      std::min<double>(most_tokens, per_run / std::max(1.0, multiply_adds_per_token(config))));
  EvaluationWindows windows;
  if (affordable < least_tokens) return windows;
  // Many short windows see more of the text than few long ones.
  for (const auto& window : calibration) {
    const std::int64_t left = affordable - windows.scored_tokens;
    const auto tokens = std::min<std::int64_t>({static_cast<std::int64_t>(window.size()), 129, left + 1});
    if (tokens < 2) break;
    windows.windows.emplace_back(window.begin(), window.begin() + tokens);
    windows.scored_tokens += tokens - 1;
    windows.window_tokens = std::max(windows.window_tokens, tokens);
  }
  return windows;
}

}  // namespace laconic
