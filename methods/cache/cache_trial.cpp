#include "methods/cache/cache_trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "runtime/documents.h"
#include "runtime/fingerprint.h"

namespace laconic {
namespace {

constexpr int cache_trial_version = 1;

const HeldOutText& text_named(const TrialSubject& subject, std::string_view name) {
  for (const HeldOutText& text : subject.held_out) {
    if (text.name == name) return text;
  }
  fail(ErrorKind::input, fmt::format("there is no text {} for {}", name, subject.name), "--data",
       "give the folder that holds models/ and text/");
}

// The documents in an order drawn from the seed.
std::string in_drawn_order(std::string_view text, std::uint64_t seed) {
  const std::vector<std::string_view> documents = split_documents(text);
  std::vector<std::size_t> order(documents.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  RandomStream random(seed, "cache trial", "documents");
  for (std::size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[random.below(static_cast<std::uint32_t>(i))]);
  std::string drawn;
  for (const std::size_t i : order) {
    drawn += documents[i];
    drawn += '\n';
    drawn += document_separator;
    drawn += '\n';
  }
  return drawn;
}

// One document is cut at paragraphs, so that each seed sees other windows of it.
std::string turned_document(std::string_view text, std::uint64_t seed) {
  RandomStream random(seed, "cache trial", "start");
  const std::size_t from = text.find('\n', random.below(static_cast<std::uint32_t>(text.size() / 2 + 1)));
  return std::string(from == std::string_view::npos ? text : text.substr(from + 1));
}

}  // namespace

CacheTrial::CacheTrial(const ReproduceRequest& request, TrialSubject subject, std::string_view text,
                       ArmCache& cache, CacheTrialOptions options)
    : subject_(std::move(subject)),
      text_name_(text),
      cache_(cache),
      options_(options),
      model_(Transformer::load(subject_.model)),
      tokenizer_(Tokenizer::load(subject_.model)) {
  if (options_.windows == 0) {
    const bool many_tokens = options_.prompt + options_.forced >= 1024;
    options_.windows = request.scale == ReproduceRequest::Scale::quick                     ? 8
                       : request.scale == ReproduceRequest::Scale::standard && many_tokens ? 24
                                                                                           : 64;
  }
  StreamingHash128 hash;
  hash.update(text_named(subject_, text).text);
  data_hash_ = to_hex(fingerprint(subject_.model)) + to_hex(hash.digest());
}

CacheTrial::Draw& CacheTrial::draw(std::uint64_t seed) {
  for (auto& [drawn, made] : draws_) {
    if (drawn == seed) return *made;
  }
  const std::string& text = text_named(subject_, text_name_).text;
  const std::string drawn =
      split_documents(text).size() > 1 ? in_drawn_order(text, seed) : turned_document(text, seed);
  auto made = std::make_unique<Draw>();
  made->windows = make_cache_windows(*tokenizer_, model_.config(), drawn, options_.prompt, options_.forced,
                                     options_.windows);
  draws_.emplace_back(seed, std::move(made));
  return *draws_.back().second;
}

const CacheWindows& CacheTrial::windows(std::uint64_t seed) { return draw(seed).windows; }

const DenseCacheRun& CacheTrial::dense(std::uint64_t seed) {
  Draw& drawn = draw(seed);
  if (!drawn.dense) drawn.dense = run_dense_cache(model_, drawn.windows);
  return *drawn.dense;
}

CacheFactory CacheTrial::factory(std::string_view pipeline, std::uint64_t seed,
                                 std::optional<std::int64_t> exact_window,
                                 const std::filesystem::path& bases) const {
  CacheRequest request{model_.kv_shape(), subject_.model, {}, seed, bases};
  const std::int64_t window = exact_window.value_or(options_.exact_window);
  if (window >= 0) request.window = window;
  return CacheFactory(pipeline, request);
}

ArmNumbers numbers_of(const CacheEvaluation& result) {
  ArmNumbers numbers = {{"ppl", result.perplexity},
                        {"dense_ppl", result.dense_perplexity},
                        {"change", result.change},
                        {"kl", result.kl},
                        {"kl_error", result.kl_error},
                        {"top1", result.top1_agreement},
                        {"tokens", static_cast<double>(result.tokens)},
                        {"bytes_per_token", result.bytes_per_token},
                        {"payload", static_cast<double>(result.bytes.payload)},
                        {"scales", static_cast<double>(result.bytes.scales)},
                        {"indices", static_cast<double>(result.bytes.indices)},
                        {"tables", static_cast<double>(result.bytes.tables)},
                        {"window", static_cast<double>(result.bytes.window)},
                        {"header", static_cast<double>(result.bytes.header)}};
  for (std::size_t i = 0; i < result.window_nats.size(); ++i) {
    numbers[fmt::format("nats.{}", i)] = result.window_nats[i];
    numbers[fmt::format("kl.{}", i)] = result.window_kl[i];
  }
  return numbers;
}

ArmNumbers CacheTrial::measure(const CacheMaker& make, std::uint64_t seed) {
  return numbers_of(evaluate_cache(model_, make, windows(seed), dense(seed)));
}

ArmNumbers CacheTrial::other_arm(std::string_view name, std::string_view what, std::uint64_t seed,
                                 const std::function<ArmNumbers()>& compute) {
  const std::string key =
      fmt::format("cache trial {}\n{}\n{} {} {} window {}\nseed {}\n{}\n", cache_trial_version, data_hash_,
                  options_.prompt, options_.forced, options_.windows, options_.exact_window, seed, what);
  return cache_.arm(fmt::format("{}, {}: {}, seed {}", subject_.name, text_name_, name, seed), key, compute);
}

ArmNumbers CacheTrial::arm(std::string_view pipeline, std::uint64_t seed,
                           std::optional<std::int64_t> exact_window) {
  const std::vector<CacheStageText> stages = parse_cache_pipeline(pipeline);
  std::string what = fmt::format("pipeline window {}", exact_window.value_or(options_.exact_window));
  for (const CacheStageText& stage : stages)
    what += "\n" + settings_text(stage.method->slug, stage.parameters);
  return other_arm(canonical_text(stages), what, seed, [&] {
    const CacheFactory made = factory(pipeline, seed, exact_window);
    return measure([&] { return made.make(); }, seed);
  });
}

std::vector<ArmNumbers> CacheTrial::arms(std::string_view pipeline, const std::vector<std::uint64_t>& seeds,
                                         std::optional<std::int64_t> exact_window) {
  std::vector<ArmNumbers> all;
  for (const std::uint64_t seed : seeds) all.push_back(arm(pipeline, seed, exact_window));
  return all;
}

std::vector<ArmNumbers> arms_between(const std::vector<ArmNumbers>& below,
                                     const std::vector<ArmNumbers>& above, double bytes) {
  const double low = mean_of(below, "bytes_per_token"), high = mean_of(above, "bytes_per_token");
  require(low <= bytes && bytes <= high && below.size() == above.size(), "bytes between those of two arms");
  const double share = low < high ? std::log(bytes / low) / std::log(high / low) : 0;
  std::vector<ArmNumbers> between = below;
  for (std::size_t seed = 0; seed < between.size(); ++seed) {
    for (auto& [name, value] : between[seed]) value += share * (number(above[seed], name) - value);
    between[seed]["bytes_per_token"] = bytes;
  }
  return between;
}

BootstrapInterval cache_nats_difference(const std::vector<ArmNumbers>& a, const std::vector<ArmNumbers>& b,
                                        int resamples) {
  require(!a.empty() && a.size() == b.size(), "a comparison needs arms on both sides");
  std::vector<double> differences;
  for (std::size_t i = 0; a.front().contains(fmt::format("nats.{}", i)); ++i) {
    const std::string nats = fmt::format("nats.{}", i);
    differences.push_back(mean_of(a, nats) - mean_of(b, nats));
  }
  // Windows score about the same number of tokens: a window's sum becomes nats per token.
  const double share = static_cast<double>(differences.size()) / number(a.front(), "tokens");
  for (double& difference : differences) difference *= share;
  return bootstrap_mean(differences, {}, resamples, 0);
}

}  // namespace laconic
