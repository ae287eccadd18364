#include "methods/cache/retrieval_trial.h"

#include <fmt/format.h>

#include "engine/base/error.h"

namespace laconic {
namespace {

constexpr int retrieval_trial_version = 1;
constexpr double needle_depths[] = {0, 0.25, 0.5, 0.75, 1};
constexpr std::int64_t bytes_per_token = 3;  // of a list, roughly
constexpr std::uint64_t most_draws = 1 << 16;

// Where the held-out random streams of a seed begin.
std::uint64_t first_index(std::uint64_t seed) {
  return first_held_out_retrieval + (seed % (std::uint64_t{1} << 19) << 20);
}

// A list, and the first of its questions.
RetrievalSample make_list(std::uint64_t index, std::int64_t tokens, const Haystack& haystack) {
  RetrievalSample sample;
  // A document asks as long as it lists.
  const auto bytes = static_cast<std::size_t>(2 * bytes_per_token * tokens);
  bool listed = false;
  for (const DocumentPart& part : make_retrieval_document(RetrievalTask::recall, 0, index, bytes, haystack)) {
    if (part.role == PartRole::answer) {
      sample.answer = part.text;
      break;
    }
    (listed ? sample.question : sample.context) += part.text;
    listed = listed || part.text.find("Recall:") != std::string::npos;
  }
  return sample;
}

}  // namespace

RetrievalTrial::RetrievalTrial(const ReproduceRequest& request, CacheTrial& trial,
                               RetrievalTrialOptions options)
    : trial_(trial), options_(options) {
  if (options_.windows == 0) options_.windows = request.scale == ReproduceRequest::Scale::quick ? 10 : 100;
}

const std::vector<RetrievalWindow>& RetrievalTrial::windows(std::uint64_t seed) {
  for (const auto& [drawn, made] : drawn_) {
    if (drawn == seed) return made;
  }
  const Haystack haystack(seed, true);
  const ModelConfig& config = trial_.model().config();
  std::vector<RetrievalWindow> made;
  if (options_.task == RetrievalTrialOptions::Task::needle) {
    made = make_retrieval_windows(trial_.tokenizer(), config, options_.tokens, needle_depths,
                                  options_.windows / static_cast<std::int64_t>(std::size(needle_depths)),
                                  NeedleOptions{}, seed, first_index(seed), haystack);
  } else {
    for (std::uint64_t i = 0; static_cast<std::int64_t>(made.size()) < options_.windows; ++i) {
      if (i > most_draws)
        fail(ErrorKind::usage, fmt::format("no lists of {} tokens are drawn", options_.shortest));
      RetrievalWindow window = make_retrieval_window(
          trial_.tokenizer(), config, make_list(first_index(seed) + i, options_.tokens, haystack));
      if (static_cast<std::int64_t>(window.context.size()) >= options_.shortest)
        made.push_back(std::move(window));
    }
  }
  drawn_.emplace_back(seed, std::move(made));
  return drawn_.back().second;
}

ArmNumbers RetrievalTrial::arm(std::string_view pipeline, std::uint64_t seed,
                               std::optional<std::int64_t> exact_window) {
  const std::vector<CacheStageText> stages = parse_cache_pipeline(pipeline);
  const bool needle = options_.task == RetrievalTrialOptions::Task::needle;
  const std::string task = fmt::format("{} {}", needle ? "needles" : "lists",
                                       options_.question_in_prompt ? "with their question" : "asked later");
  std::string what = fmt::format("retrieval {} {} {} tokens {} windows {} pipeline window {}",
                                 retrieval_trial_version, retrieval_generator_version, task, options_.tokens,
                                 options_.windows, exact_window.value_or(trial_.options().exact_window));
  if (options_.shortest > 0) what += fmt::format(" shortest {}", options_.shortest);
  for (const CacheStageText& stage : stages)
    what += "\n" + settings_text(stage.method->slug, stage.parameters);
  return trial_.other_arm(fmt::format("{}, {}", task, canonical_text(stages)), what, seed, [&] {
    const CacheFactory factory = trial_.factory(pipeline, seed, exact_window);
    RetrievalOptions options;
    options.cache = [&] { return factory.make(); };
    options.question_in_prompt = options_.question_in_prompt;
    const std::vector<Retrieval> results = retrieve(trial_.model(), windows(seed), options);
    ArmNumbers numbers = {{"found", found_share(results)}};
    const auto count = static_cast<double>(results.size());
    for (std::size_t i = 0; i < results.size(); ++i) {
      numbers[fmt::format("found.{}", i)] = results[i].found ? 1 : 0;
      numbers[fmt::format("nats.{}", i)] = results[i].nats;
      numbers["nats"] += results[i].nats / count;
      numbers["bytes"] += static_cast<double>(results[i].cache_bytes) / count;
    }
    return numbers;
  });
}

std::vector<ArmNumbers> RetrievalTrial::arms(std::string_view pipeline,
                                             const std::vector<std::uint64_t>& seeds,
                                             std::optional<std::int64_t> exact_window) {
  std::vector<ArmNumbers> all;
  for (const std::uint64_t seed : seeds) all.push_back(arm(pipeline, seed, exact_window));
  return all;
}

BootstrapInterval found_difference(const std::vector<ArmNumbers>& a, const std::vector<ArmNumbers>& b,
                                   int resamples) {
  require(!a.empty() && a.size() == b.size(), "a comparison needs arms on both sides");
  std::vector<double> differences;
  for (std::size_t i = 0; a.front().contains(fmt::format("found.{}", i)); ++i) {
    const std::string found = fmt::format("found.{}", i);
    differences.push_back(mean_of(a, found) - mean_of(b, found));
  }
  return bootstrap_mean(differences, {}, resamples, 0);
}

}  // namespace laconic
