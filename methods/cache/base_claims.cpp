#include "methods/cache/base_claims.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "methods/method.h"
#include "runtime/documents.h"

namespace laconic {
namespace {

std::uint64_t whole_bytes(const CacheRow& row) {
  return static_cast<std::uint64_t>(std::llround(mean_of(row.arms, "bytes_per_token")));
}

double dense_cache_bytes(const KvShape& shape) {
  return static_cast<double>(2 * 2 * shape.layers * shape.kv_heads * shape.head_dim);
}

// Stories, and as many bytes of documents that only those who remember can continue.
std::string with_retrieval(std::string_view stories, std::uint64_t first_index, const Haystack& haystack) {
  constexpr std::size_t most_bytes = 400'000, document_bytes = 3'000;
  std::string text(stories.substr(0, most_bytes));
  const std::size_t bytes = text.size();
  for (std::uint64_t index = 0; index * document_bytes < bytes; ++index) {
    const auto task = static_cast<RetrievalTask>(index % 3);
    text += '\n';
    text += document_separator;
    text += '\n';
    for (const DocumentPart& part :
         make_retrieval_document(task, 4, first_index + index, document_bytes, haystack))
      text += part.text;
  }
  return text;
}

}  // namespace

std::vector<BaseSubject> base_subjects(const ReproduceRequest& request) {
  std::vector<BaseSubject> subjects;
  const bool data = !request.data.empty();
  for (TrialSubject& subject : trial_subjects(request)) {
    if (subject.name == (data ? "stories260K-hf" : "stories"))
      subjects.push_back({std::move(subject), data ? "tinystories" : "generated", {}, 128});
  }
  if (request.scale == ReproduceRequest::Scale::quick) return subjects;
  TrialSubject subject = long_context_subject(request);
  // Stories are told without a look far back: on them alone perplexity does not tell caches apart. The model
  // was trained on both kinds of documents, and both calibrate and judge here.
  subject.calibration = with_retrieval(subject.calibration, 0, Haystack(4));
  const std::string stories = data ? "tinystories" : "generated", judged = stories + " and retrieval";
  for (const HeldOutText& text : subject.held_out) {
    if (text.name != stories) continue;
    subject.held_out.push_back(
        {judged, with_retrieval(text.text, first_held_out_retrieval, Haystack(4, true))});
    break;
  }
  const CacheTrialOptions options = CacheTrialOptions::long_context();
  subjects.push_back({std::move(subject), judged, options, 64});
  return subjects;
}

BaseClaims::BaseClaims(const ReproduceRequest& request, TrialSubject subject, std::string text,
                       ArmCache& cache, CacheTrialOptions options, std::int64_t sequences,
                       Reproduction& result)
    : request_(request),
      trial_(request, std::move(subject), text, cache, options),
      bases_(request, trial_.subject()),
      seeds_(trial_seeds(request)),
      sequences_(sequences),
      text_(std::move(text)),
      result_(result) {
  constexpr std::int64_t needle_tokens = 1024;
  if (long_context() && trial_.model().config().max_positions >= needle_tokens) {
    RetrievalTrialOptions needles;
    needles.question_in_prompt = false;
    needles.tokens = needle_tokens;
    if (request.scale == ReproduceRequest::Scale::standard) needles.windows = 50;
    needles_.emplace(request, trial_, needles);
  }
}

TrialBases::Settings BaseClaims::complete(TrialBases::Settings base) const {
  if (std::none_of(base.begin(), base.end(),
                   [](const auto& s) { return s.first == "calibration-sequences"; }))
    base.emplace_back("calibration-sequences", std::to_string(sequences()));
  return base;
}

CacheRow BaseClaims::based(std::string name, std::string_view slug, TrialBases::Settings base,
                           const std::string& pipeline, std::optional<std::int64_t> window) {
  CacheRow row{std::move(name), {}};
  base = complete(std::move(base));
  for (const std::uint64_t seed : seeds_)
    row.arms.push_back(arm_with_base(trial_, bases_, slug, base, pipeline, seed, window));
  return row;
}

CacheRow BaseClaims::plain(std::string name, const std::string& pipeline) {
  return {std::move(name), trial_.arms(pipeline, seeds_)};
}

std::optional<CacheRow> BaseClaims::dropping(const std::string& policy, double bytes_per_token) {
  const auto& methods = method_registry();
  if (std::none_of(methods.begin(), methods.end(),
                   [&](const MethodDescription& m) { return m.slug == policy; }))
    return std::nullopt;
  const double tokens = static_cast<double>(trial_.options().prompt + trial_.options().forced);
  const auto slots = static_cast<std::int64_t>(
      std::floor(bytes_per_token / dense_cache_bytes(trial_.model().kv_shape()) * tokens));
  const std::string pipeline = fmt::format("{}(budget={})", policy, slots);
  return plain(pipeline, pipeline);
}

CacheRow BaseClaims::found(std::string name, std::string_view slug, const TrialBases::Settings& base,
                           const std::string& pipeline) {
  CacheRow row{std::move(name), {}};
  const TrialBases::Settings settings = complete(base);
  for (const std::uint64_t seed : seeds_) {
    std::string what = fmt::format("late needles of {} tokens, {} windows\n{}", needles_->options().tokens,
                                   needles_->options().windows, bases_.key(slug, settings, seed));
    for (const CacheStageText& stage : parse_cache_pipeline(pipeline))
      what += "\n" + settings_text(stage.method->slug, stage.parameters);
    row.arms.push_back(trial_.other_arm("late needles, " + row.name, what, seed, [&] {
      const CacheFactory factory = trial_.factory(pipeline, seed, {}, bases_.directory(slug, settings, seed));
      RetrievalOptions options;
      options.question_in_prompt = false;
      options.cache = [&] { return factory.make(); };
      const std::vector<Retrieval> results = retrieve(trial_.model(), needles_->windows(seed), options);
      ArmNumbers numbers = {{"found", found_share(results)}};
      double bytes = 0;
      for (const Retrieval& result : results) bytes += static_cast<double>(result.cache_bytes);
      numbers["bytes"] = bytes / static_cast<double>(results.size());
      return numbers;
    }));
  }
  return row;
}

CacheRow BaseClaims::found(std::string name, const std::string& pipeline) {
  return {std::move(name), needles_->arms(pipeline, seeds_)};
}

void BaseClaims::needle_table(const std::string& title, const std::vector<CacheRow>& rows) {
  ReproductionTable made;
  made.title = fmt::format("{}: {}", trial_.subject().name, title);
  made.rows.push_back({"cache", "bytes of a cache", "needles found", "per seed"});
  for (const CacheRow& row : rows) {
    std::string per_seed;
    for (const ArmNumbers& arm : row.arms) per_seed += fmt::format("{:.0f} % ", 100 * number(arm, "found"));
    made.rows.push_back({row.name, fmt::format("{:.0f}", mean_of(row.arms, "bytes")),
                         fmt::format("{:.1f} %", 100 * mean_of(row.arms, "found")), per_seed});
  }
  result_.tables.push_back(std::move(made));
}

void BaseClaims::table(const std::string& title, const std::vector<CacheRow>& rows) {
  ReproductionTable made;
  made.title = fmt::format("{}: {}", place(), title);
  made.rows.push_back(
      {"cache", "bytes per token", "perplexity", "change", "KL", "same top token", "change per seed"});
  for (const CacheRow& row : rows) {
    std::string per_seed;
    for (const ArmNumbers& arm : row.arms) per_seed += fmt::format("{:+.2f} % ", 100 * number(arm, "change"));
    made.rows.push_back({row.name, fmt::format("{:.1f}", mean_of(row.arms, "bytes_per_token")),
                         fmt::format("{:.4f}", mean_of(row.arms, "ppl")),
                         fmt::format("{:+.3f} %", 100 * mean_of(row.arms, "change")),
                         fmt::format("{:.5f}", mean_of(row.arms, "kl")),
                         fmt::format("{:.2f} %", 100 * mean_of(row.arms, "top1")), per_seed});
  }
  result_.tables.push_back(std::move(made));
}

Claim& BaseClaims::add_claim(const std::string& text, const std::string& paper, const CacheRow& measured,
                             const CacheRow& baseline, std::string_view figure,
                             const std::string& threshold) {
  Claim claim;
  claim.claim = fmt::format("{}: {}", place(), text);
  claim.paper = paper;
  claim.baseline_name = baseline.name;
  claim.baseline_value = mean_of(baseline.arms, figure);
  claim.baseline_bytes = whole_bytes(baseline);
  claim.measured_value = mean_of(measured.arms, figure);
  claim.measured_bytes = whole_bytes(measured);
  claim.threshold = threshold;
  result_.claims.push_back(std::move(claim));
  return result_.claims.back();
}

void BaseClaims::claim(const std::string& text, const std::string& paper, const CacheRow& better,
                       const CacheRow& worse, double factor) {
  Claim& made =
      add_claim(text, paper, better, worse, "change",
                factor == 1 ? std::string("perplexity increase below the baseline's")
                            : fmt::format("perplexity increase at most {} times the baseline's", factor));
  const BootstrapInterval interval = cache_nats_difference(better.arms, worse.arms, quick() ? 2000 : 10000);
  made.met = made.measured_value <= factor * made.baseline_value && interval.high < 0;
  made.note = fmt::format(
      "{} seeds; ratio {:.3f}; KL {:.5f} against {:.5f}; difference {:+.5f} [{:+.5f}, {:+.5f}] nats per "
      "token",
      seeds_.size(), made.measured_value / made.baseline_value, mean_of(better.arms, "kl"),
      mean_of(worse.arms, "kl"), interval.mean, interval.low, interval.high);
}

}  // namespace laconic
