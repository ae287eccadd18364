#include "methods/weights/evopress/bits_trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "runtime/fingerprint.h"

namespace laconic::evopress {
std::string BitsSearch::text() const {
  return fmt::format("{} generations, {} offspring, survivors {}, tokens {}, rule {}{}{}{}", generations,
                     offspring, fmt::join(survivors, "-"), fmt::join(tokens, "-"),
                     rule == MutationRule::none ? "none" : "size", fresh ? "" : ", fixed minibatch",
                     planned ? ", from dynamic programming" : "",
                     measure == FitnessMeasure::kl ? "" : ", perplexity");
}

BitsTrial::BitsTrial(Trial& trial, std::filesystem::path folder, std::uint64_t seed, std::int64_t group,
                     std::int64_t calibration_tokens)
    : trial_(trial), folder_(std::move(folder)), seed_(seed), calibration_tokens_(calibration_tokens) {
  levels_.group = group;
}

void BitsTrial::open() {
  if (database_) return;
  const LeveledMethod method = bits_method(levels_);
  const std::string key =
      fmt::format("{} group {} seed {} {}", to_hex(fingerprint(trial_.subject().model)), levels_.group, seed_,
                  to_hex(xxh3_128(as_byte_span(trial_.subject().calibration))));
  database_ = std::make_unique<VariantDatabase>(
      folder_ / fmt::format("{}-g{}-{}", trial_.subject().name, levels_.group, seed_), key, method.levels);
  const SafetensorsDirectory source(trial_.subject().model);
  build_variants(trial_.dense(), source, method, {trial_.calibration_windows(seed_), nullptr}, seed_,
                 *database_);
  variants_.emplace(*database_, trial_.dense());
  const EvaluationWindows windows =
      fitness_windows(*Tokenizer::load(trial_.subject().model), trial_.dense().config(),
                      trial_.subject().calibration, calibration_tokens_, trial_window, seed_ + 1000);
  teacher_.emplace(TeacherCache::build(trial_.dense(), windows));
}

ArmNumbers BitsTrial::arm(const std::string& name, const std::string& what,
                          const std::function<Assignment()>& choose) {
  const std::string key = fmt::format("evopress bits 1\ngroup {} seed {} calibration {}\n{}", levels_.group,
                                      seed_, calibration_tokens_, what);
  return trial_.arm(fmt::format("{} seed {}", name, seed_), key, [&] {
    open();
    const Assignment levels = choose();
    const Transformer model = variants_->assemble(levels);
    ArmNumbers numbers = trial_.measure(model);
    double kl = 0;
    for (const HeldOutText& text : trial_.subject().held_out) kl += numbers.at("kl." + text.name);
    numbers["mean_kl"] = kl / static_cast<double>(trial_.subject().held_out.size());
    numbers["bytes"] = static_cast<double>(variants_->frame_bytes(levels));
    numbers["search_kl"] = teacher_->kl(model);
    for (std::size_t u = 0; u < levels.size(); ++u) numbers[fmt::format("level.{}", u)] = levels[u];
    return numbers;
  });
}

EvolutionSpace BitsTrial::space(double width, MutationRule rule) const {
  EvolutionSpace space = bits_space(*variants_, ByteBudget::Counts::payloads, 0, rule);
  space.budget = bytes_at_width(*variants_, space.cost, levels_.bits, width);
  return space;
}

ModelSearch BitsTrial::search(const SearchSettings& settings) const {
  return {*teacher_, [this](const Assignment& levels) { return variants_->assemble(levels); }, settings};
}

ArmNumbers BitsTrial::uniform(int bits) {
  return arm(fmt::format("uniform {} bits", bits), fmt::format("uniform {}", bits), [&] {
    const auto level = std::find(levels_.bits.begin(), levels_.bits.end(), bits) - levels_.bits.begin();
    return variants_->uniform(static_cast<int>(level));
  });
}

std::vector<std::size_t> BitsTrial::random_order(int index) const {
  std::vector<std::size_t> order(variants_->units());
  std::iota(order.begin(), order.end(), std::size_t{0});
  RandomStream random(seed_, "evopress", "random assignment", static_cast<std::uint64_t>(index));
  for (std::size_t i = order.size(); i > 1; --i) {
    std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i))]);
  }
  return order;
}

ArmNumbers BitsTrial::pattern(const std::string& name, double width) {
  return arm(fmt::format("{} at {} bits", name, width), fmt::format("pattern {} {}", name, width), [&] {
    return raised_start(space(width, MutationRule::none), pattern_order(name, variants_->units()));
  });
}

ArmNumbers BitsTrial::median_of_random(int count, double width) {
  return arm(fmt::format("median of {} random at {} bits", count, width),
             fmt::format("random {} {}", count, width), [&] {
               const EvolutionSpace all = space(width, MutationRule::none);
               std::vector<Assignment> candidates;
               candidates.reserve(static_cast<std::size_t>(count));
               for (int i = 0; i < count; ++i) candidates.push_back(raised_start(all, random_order(i)));
               SearchSettings whole;
               whole.survivors = {1};
               whole.tokens = {teacher_->windows().scored_tokens};
               const std::vector<double> kl = search(whole).fitness(candidates);
               std::vector<std::size_t> order(candidates.size());
               std::iota(order.begin(), order.end(), std::size_t{0});
               std::stable_sort(order.begin(), order.end(),
                                [&](std::size_t a, std::size_t b) { return kl[a] < kl[b]; });
               return candidates[order[(order.size() - 1) / 2]];
             });
}

ArmNumbers BitsTrial::planned(const std::string& solver, double width) {
  return arm(fmt::format("{} at {} bits", solver, width), fmt::format("planned {} {}", solver, width), [&] {
    const EvolutionSpace all = space(width, MutationRule::none);
    if (solver != "greedy") return planned_start(all, variants_->layer_losses());
    return allocate_greedy({all.cost, variants_->layer_losses(), all.budget}).levels;
  });
}

ArmNumbers BitsTrial::searched(const std::string& name, const BitsSearch& settings, double width) {
  return arm(fmt::format("{} at {} bits", name, width), fmt::format("search 2 {} {}", settings.text(), width),
             [&] {
               const EvolutionSpace all = space(width, settings.rule);
               SearchSettings search_settings;
               search_settings.generations = settings.generations;
               search_settings.offspring = settings.offspring;
               search_settings.survivors = settings.survivors;
               search_settings.tokens = settings.tokens;
               for (std::int64_t& tokens : search_settings.tokens) {
                 tokens = std::min(tokens, teacher_->windows().scored_tokens);
               }
               search_settings.fresh = settings.fresh;
               search_settings.measure = settings.measure;
               search_settings.seed = seed_;
               const std::vector<Assignment> starts =
                   settings.planned ? std::vector<Assignment>{planned_start(all, variants_->layer_losses())}
                                    : level_starts(all, 16, seed_);
               return search(search_settings).run(all, starts).best;
             });
}

}  // namespace laconic::evopress
