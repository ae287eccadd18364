#include "methods/cache/ems/repeated_text.h"

#include <fmt/format.h>

namespace laconic::ems {
namespace {

constexpr int repeated_text_version = 2;

}  // namespace

const RepeatedText::Draw& RepeatedText::draw(std::uint64_t seed) {
  for (const auto& [drawn, made] : draws_) {
    if (drawn == seed) return *made;
  }
  auto made = std::make_unique<Draw>();
  made->windows = trial_.windows(seed);
  const std::vector<std::int32_t> first = trial_.tokenizer().encode("Text:\n", false),
                                  again = trial_.tokenizer().encode("\nAgain:\n", false);
  for (std::vector<std::int32_t>& window : made->windows.windows) {
    const std::vector<std::int32_t> from = window;
    std::vector<std::int32_t> passage;
    for (const std::int32_t token : from) {
      if (token == made->windows.bos || static_cast<std::int64_t>(passage.size()) == passage_) continue;
      passage.push_back(token);
    }
    window.assign(1, made->windows.bos);
    window.insert(window.end(), first.begin(), first.end());
    while (window.size() < from.size()) {
      window.insert(window.end(), passage.begin(), passage.end());
      window.insert(window.end(), again.begin(), again.end());
    }
    window.resize(from.size());
  }
  made->dense = run_dense_cache(trial_.model(), made->windows);
  draws_.emplace_back(seed, std::move(made));
  return *draws_.back().second;
}

ArmNumbers RepeatedText::arm(std::string_view pipeline, std::uint64_t seed) {
  const std::vector<CacheStageText> stages = parse_cache_pipeline(pipeline);
  std::string what = fmt::format("repeated text {} passage {}", repeated_text_version, passage_);
  for (const CacheStageText& stage : stages)
    what += "\n" + settings_text(stage.method->slug, stage.parameters);
  return trial_.other_arm("repeated text, " + canonical_text(stages), what, seed, [&] {
    const Draw& drawn = draw(seed);
    const CacheFactory factory = trial_.factory(pipeline, seed, -1);
    return numbers_of(evaluate_cache(
        trial_.model(), [&] { return factory.make(); }, drawn.windows, drawn.dense));
  });
}

std::vector<ArmNumbers> RepeatedText::arms(std::string_view pipeline,
                                           const std::vector<std::uint64_t>& seeds) {
  std::vector<ArmNumbers> all;
  for (const std::uint64_t seed : seeds) all.push_back(arm(pipeline, seed));
  return all;
}

}  // namespace laconic::ems
