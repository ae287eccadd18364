#include "apps/cli/eval_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "apps/cli/cache_options.h"
#include "apps/report/report.h"
#include "engine/base/error.h"
#include "engine/base/files.h"
#include "methods/cache/cache_size.h"
#include "runtime/evaluation/cache_evaluation.h"
#include "runtime/evaluation/cache_report.h"
#include "runtime/evaluation/retrieval.h"

namespace laconic::cli {
namespace {

nlohmann::json as_json(const KvBytes& bytes) {
  return {{"payload", bytes.payload}, {"scales", bytes.scales}, {"indices", bytes.indices},
          {"tables", bytes.tables},   {"window", bytes.window}, {"header", bytes.header},
          {"total", bytes.total()}};
}

nlohmann::json as_json(const CacheReport& report) {
  nlohmann::json value = {{"layers", nlohmann::json::array()}, {"heads", nlohmann::json::array()}};
  for (const CacheLayerReport& layer : report.layers) {
    value["layers"].push_back({{"layer", layer.layer},
                               {"tokens", layer.tokens},
                               {"blocks", layer.blocks},
                               {"bytes", as_json(layer.bytes)}});
  }
  for (const CacheHeadReport& head : report.heads) {
    value["heads"].push_back({{"layer", head.layer},
                              {"head", head.head},
                              {"compressed_rows", head.compressed_rows},
                              {"window_rows", head.window_rows},
                              {"key_error", head.key_error},
                              {"value_error", head.value_error}});
  }
  return value;
}

// The first window through both caches.
CacheReport report_of(const Transformer& model, const CacheFactory& factory, const CacheWindows& windows) {
  const std::span<const std::int32_t> tokens = windows.windows.front();
  const auto cache = factory.make(), exact = make_exact_cache(model.kv_shape(), DType::f16);
  for (KvCache* filled : {cache.get(), exact.get()}) {
    model.forward(tokens.first(static_cast<std::size_t>(windows.prompt)), filled, true);
    model.forward(tokens.subspan(static_cast<std::size_t>(windows.prompt)), filled, true);
  }
  return report_cache(*cache, exact.get());
}

// What one cache costs and saves.
struct Measured {
  std::string cache;
  CacheEvaluation quality;
  double ratio = 1;                                // to f16
  std::uint64_t base_bytes = 0;                    // of a trained base, once for all sequences
  double tokens_per_second = 0;                    // of decoding behind the prompt
  std::vector<double> needles_seen, needles_late;  // found by depth: question in the prompt, or after it
  CacheReport report;
};

constexpr double needle_depths[] = {0, 0.25, 0.5, 0.75, 1};

double mean_of(const std::vector<double>& values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

// Forced tokens one at a time behind the first window's prompt.
double decode_rate(const Transformer& model, const CacheFactory& factory, const CacheWindows& windows) {
  const std::span<const std::int32_t> tokens = windows.windows.front();
  const auto cache = factory.make();
  model.forward(tokens.first(static_cast<std::size_t>(windows.prompt)), cache.get(), true);
  const auto start = std::chrono::steady_clock::now();
  for (std::int64_t i = 0; i < windows.forced; ++i)
    model.forward(tokens.subspan(static_cast<std::size_t>(windows.prompt + i), 1), cache.get(), true);
  return static_cast<double>(windows.forced) /
         std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::vector<double> found_by_depth(const Transformer& model, const CacheFactory& factory,
                                   std::span<const RetrievalWindow> needles, bool question_in_prompt,
                                   const Session& session) {
  RetrievalOptions options;
  options.cache = [&] { return factory.make(); };
  options.question_in_prompt = question_in_prompt;
  options.progress = session.progress;
  const std::vector<Retrieval> found = retrieve(model, needles, options);
  const std::size_t each = found.size() / std::size(needle_depths);
  std::vector<double> shares;
  for (std::size_t d = 0; d < std::size(needle_depths); ++d)
    shares.push_back(found_share(std::span(found).subspan(d * each, each)));
  return shares;
}

nlohmann::json as_json(const Measured& measured) {
  const CacheEvaluation& quality = measured.quality;
  nlohmann::json positions = nlohmann::json::array();
  for (const CacheEvaluation::Bucket& bucket : quality.positions) {
    positions.push_back({{"first", bucket.first},
                         {"last", bucket.last},
                         {"perplexity", bucket.perplexity},
                         {"kl", bucket.kl}});
  }
  nlohmann::json value = {{"cache", measured.cache},
                          {"base_bytes", measured.base_bytes},
                          {"perplexity", quality.perplexity},
                          {"dense_perplexity", quality.dense_perplexity},
                          {"change", quality.change},
                          {"kl", quality.kl},
                          {"kl_standard_error", quality.kl_error},
                          {"top1_agreement", quality.top1_agreement},
                          {"tokens", quality.tokens},
                          {"bytes", as_json(quality.bytes)},
                          {"bytes_per_token", quality.bytes_per_token},
                          {"ratio", measured.ratio},
                          {"decode_tokens_per_second", measured.tokens_per_second},
                          {"positions", positions}};
  if (!measured.needles_seen.empty()) {
    value["needles"] = {{"depths", needle_depths},
                        {"question_in_prompt", measured.needles_seen},
                        {"question_after_compression", measured.needles_late}};
  }
  if (!measured.report.layers.empty()) value["report"] = as_json(measured.report);
  return value;
}

std::string percent(double share) { return fmt::format("{:.1f}", 100 * share); }

void print_one(const Measured& measured, const CacheWindows& windows, double dense_bytes) {
  const CacheEvaluation& quality = measured.quality;
  const KvBytes& b = quality.bytes;
  fmt::print("cache {}\n", measured.cache);
  fmt::print("perplexity {:.4f} over {} tokens, {:+.3f} % against {:.4f} with the f16 cache\n",
             quality.perplexity, quality.tokens, 100 * quality.change, quality.dense_perplexity);
  fmt::print("KL {:.6f} +- {:.6f} nats per token, same top token {:.2f} %\n", quality.kl, quality.kl_error,
             100 * quality.top1_agreement);
  fmt::print(
      "{:.1f} bytes per token, {:.2f} times smaller than f16 ({:.0f}): codes {}, scales {}, indices {}, "
      "tables {}, exact window {}, header {} bytes in a cache of {} tokens\n",
      quality.bytes_per_token, measured.ratio, dense_bytes, b.payload, b.scales, b.indices, b.tables,
      b.window, b.header, windows.prompt + windows.forced);
  if (measured.base_bytes > 0)
    fmt::print("trained base of the model: {} bytes, once for all sequences\n", measured.base_bytes);
  fmt::print("decoding {:.0f} tokens/s\n", measured.tokens_per_second);
  std::vector<std::vector<std::string>> rows = {{"positions", "perplexity", "KL"}};
  for (const CacheEvaluation::Bucket& bucket : quality.positions) {
    rows.push_back({fmt::format("{} to {}", bucket.first, bucket.last),
                    fmt::format("{:.4f}", bucket.perplexity), fmt::format("{:.6f}", bucket.kl)});
  }
  fmt::print("{} windows of {} prompt and {} forced tokens\n\n{}", windows.windows.size(), windows.prompt,
             windows.forced, format_table(rows));
  if (!measured.needles_seen.empty()) {
    rows = {{"needles found, %", "depth 0", "1/4", "1/2", "3/4", "1", "all"}};
    for (const bool late : {false, true}) {
      const std::vector<double>& shares = late ? measured.needles_late : measured.needles_seen;
      rows.push_back({late ? "question after compression" : "question in the prompt"});
      for (const double share : shares) rows.back().push_back(percent(share));
      rows.back().push_back(percent(mean_of(shares)));
    }
    fmt::print("\n{}", format_table(rows));
  }
  if (!measured.report.layers.empty()) fmt::print("\n{}", format_cache_report(measured.report));
}

std::vector<std::vector<std::string>> comparison_rows(const std::vector<Measured>& all) {
  std::vector<std::vector<std::string>> rows = {
      {"cache", "bytes/token", "times smaller", "perplexity", "change %", "KL", "top-1 %", "tokens/s"}};
  const bool needles = !all.front().needles_seen.empty();
  if (needles) rows.front().insert(rows.front().end(), {"needles %", "late needles %"});
  for (const Measured& measured : all) {
    const CacheEvaluation& quality = measured.quality;
    rows.push_back({measured.cache, fmt::format("{:.1f}", quality.bytes_per_token),
                    fmt::format("{:.2f}", measured.ratio), fmt::format("{:.4f}", quality.perplexity),
                    fmt::format("{:+.3f}", 100 * quality.change), fmt::format("{:.5f}", quality.kl),
                    percent(quality.top1_agreement), fmt::format("{:.0f}", measured.tokens_per_second)});
    if (!needles) continue;
    rows.back().push_back(percent(mean_of(measured.needles_seen)));
    rows.back().push_back(percent(mean_of(measured.needles_late)));
  }
  return rows;
}

// A method's points in the charts: what stands before its parameters.
std::string family_of(const std::string& cache) {
  std::string name;
  int depth = 0;
  for (const char c : cache) {
    depth += c == '(' ? 1 : 0;
    if (depth == 0) name += c;
    depth -= c == ')' ? 1 : 0;
  }
  return name;
}

Chart chart_of(const std::vector<Measured>& all, const std::string& title, const std::string& label,
               bool log_y, const std::function<double(const Measured&)>& value) {
  Chart chart{title, "bytes per token", label, true, log_y, {}};
  for (const Measured& measured : all) {
    const std::string name = family_of(measured.cache);
    auto series = std::find_if(chart.series.begin(), chart.series.end(),
                               [&](const ChartSeries& s) { return s.name == name; });
    if (series == chart.series.end()) series = chart.series.insert(series, {name, {}});
    series->points.emplace_back(measured.quality.bytes_per_token, value(measured));
  }
  return chart;
}

std::string comparison_page(const std::vector<Measured>& all, const std::string& model,
                            const std::string& text, const CacheWindows& windows) {
  HtmlReport page("KV caches of " + model);
  page.paragraph(
      fmt::format("{}: {} windows of {} prompt and {} forced tokens; bytes are exact, the window of recent "
                  "tokens included.",
                  text, windows.windows.size(), windows.prompt, windows.forced));
  page.table(comparison_rows(all));
  page.chart(chart_of(all, "Perplexity against bytes per token", "perplexity", false,
                      [](const Measured& m) { return m.quality.perplexity; }));
  page.chart(chart_of(all, "Divergence from the f16 cache against bytes per token", "KL, nats per token",
                      true, [](const Measured& m) { return m.quality.kl; }));
  if (!all.front().needles_seen.empty()) {
    page.chart(chart_of(all, "Needles found when the question comes after compression", "share", false,
                        [](const Measured& m) { return mean_of(m.needles_late); }));
    page.chart(chart_of(all, "Needles found when the question is in the prompt", "share", false,
                        [](const Measured& m) { return mean_of(m.needles_seen); }));
  }
  page.chart(chart_of(all, "Decoding against bytes per token", "tokens per second", false,
                      [](const Measured& m) { return m.tokens_per_second; }));
  return page.html();
}

}  // namespace

int eval_cache(const Arguments& arguments, const Session& session) {
  const std::filesystem::path directory = arguments.text("model");
  const Transformer model =
      Transformer::load(directory, {arguments.bytes("size"), print_notice, nullptr, {}});
  const auto tokenizer = Tokenizer::load(directory);
  const std::string text = read_text_file(arguments.text("text"));
  const std::int64_t context = model.config().max_positions, most = std::int64_t{1} << 24;
  // 3/4 prompt and 1/4 forced of up to 1,024 tokens; 256 and 160 where the model has 512.
  const std::int64_t length = std::min<std::int64_t>(context, context >= 1024 ? 1024 : 416);
  const std::int64_t prompt =
      arguments.integer("prompt-tokens", length >= 1024 ? 768 : length * 8 / 13, 1, most);
  const std::int64_t forced =
      arguments.integer("forced-tokens", std::max<std::int64_t>(2, length - prompt), 2, most);
  const CacheWindows windows = make_cache_windows(*tokenizer, model.config(), text, prompt, forced,
                                                  arguments.integer("windows", 64, 1, 1 << 20));
  std::vector<std::unique_ptr<CacheFactory>> factories;
  for (const std::string& pipeline : arguments.list("cache")) {
    factories.push_back(cache_from(arguments, pipeline, model, directory, [&](KvCache& cache) {
      const std::span<const std::int32_t> tokens = windows.windows.front();
      model.forward(tokens.first(static_cast<std::size_t>(prompt)), &cache, true);
      model.forward(tokens.subspan(static_cast<std::size_t>(prompt)), &cache, true);
    }));
  }
  std::vector<RetrievalWindow> needles;
  if (const std::int64_t count = arguments.integer("needles", 0, 0, 100000); count > 0) {
    const std::int64_t tokens =
        arguments.integer("needle-tokens", std::min<std::int64_t>(context, 1024), 64, context);
    needles = make_retrieval_windows(*tokenizer, model.config(), tokens, needle_depths, count, {}, 1,
                                     first_held_out_retrieval, Haystack(1, true));
  }
  const DenseCacheRun dense = run_dense_cache(model, windows, session.progress);
  const double dense_bytes = dense_bytes_per_token(model.kv_shape());
  std::vector<Measured> all;
  for (const auto& factory : factories) {
    Measured measured;
    measured.cache = factory->canonical();
    measured.quality = evaluate_cache(
        model, [&] { return factory->make(); }, windows, dense, session.progress);
    measured.base_bytes = factory->base_bytes();
    measured.ratio = dense_bytes / measured.quality.bytes_per_token;
    measured.tokens_per_second = decode_rate(model, *factory, windows);
    if (!needles.empty()) {
      measured.needles_seen = found_by_depth(model, *factory, needles, true, session);
      measured.needles_late = found_by_depth(model, *factory, needles, false, session);
    }
    if (arguments.flag("cache-report")) measured.report = report_of(model, *factory, windows);
    all.push_back(std::move(measured));
  }
  if (arguments.has("report")) {
    write_file(arguments.text("report"),
               std::string_view(comparison_page(all, directory.string(), arguments.text("text"), windows)));
  }
  if (session.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const Measured& measured : all) {
      list.push_back(as_json(measured));
      list.back().update(
          {{"windows", windows.windows.size()}, {"prompt_tokens", prompt}, {"forced_tokens", forced}});
    }
    fmt::print("{}\n", (list.size() == 1 ? list.front() : list).dump(2));
  } else if (all.size() == 1) {
    print_one(all.front(), windows, dense_bytes);
  } else {
    fmt::print("{}{} windows of {} prompt and {} forced tokens; f16 is {:.0f} bytes per token\n",
               format_table(comparison_rows(all)), windows.windows.size(), prompt, forced, dense_bytes);
    for (const Measured& measured : all) {
      if (!measured.report.layers.empty())
        fmt::print("\n{}\n{}", measured.cache, format_cache_report(measured.report));
    }
  }
  return 0;
}

}  // namespace laconic::cli
