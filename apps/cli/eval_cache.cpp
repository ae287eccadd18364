#include "apps/cli/eval_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/cli/cache_options.h"
#include "engine/base/error.h"
#include "engine/base/files.h"
#include "methods/cache/cache_size.h"
#include "runtime/evaluation/cache_evaluation.h"
#include "runtime/evaluation/cache_report.h"

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
  const auto factory = cache_from(arguments, model, directory, [&](KvCache& cache) {
    const std::span<const std::int32_t> tokens = windows.windows.front();
    model.forward(tokens.first(static_cast<std::size_t>(prompt)), &cache, true);
    model.forward(tokens.subspan(static_cast<std::size_t>(prompt)), &cache, true);
  });
  const DenseCacheRun dense = run_dense_cache(model, windows, session.progress);
  const CacheEvaluation result = evaluate_cache(
      model, [&] { return factory->make(); }, windows, dense, session.progress);
  const double dense_bytes = dense_bytes_per_token(model.kv_shape());
  CacheReport report;
  if (arguments.flag("cache-report")) report = report_of(model, *factory, windows);
  if (session.json) {
    nlohmann::json positions = nlohmann::json::array();
    for (const CacheEvaluation::Bucket& bucket : result.positions) {
      positions.push_back({{"first", bucket.first},
                           {"last", bucket.last},
                           {"perplexity", bucket.perplexity},
                           {"kl", bucket.kl}});
    }
    nlohmann::json value = {{"cache", factory->canonical()},
                            {"perplexity", result.perplexity},
                            {"dense_perplexity", result.dense_perplexity},
                            {"change", result.change},
                            {"kl", result.kl},
                            {"kl_standard_error", result.kl_error},
                            {"top1_agreement", result.top1_agreement},
                            {"tokens", result.tokens},
                            {"windows", windows.windows.size()},
                            {"prompt_tokens", prompt},
                            {"forced_tokens", forced},
                            {"bytes", as_json(result.bytes)},
                            {"bytes_per_token", result.bytes_per_token},
                            {"ratio", dense_bytes / result.bytes_per_token},
                            {"positions", positions}};
    if (arguments.flag("cache-report")) value["report"] = as_json(report);
    fmt::print("{}\n", value.dump(2));
    return 0;
  }
  fmt::print("cache {}\n", factory->canonical());
  fmt::print("perplexity {:.4f} over {} tokens, {:+.3f} % against {:.4f} with the f16 cache\n",
             result.perplexity, result.tokens, 100 * result.change, result.dense_perplexity);
  fmt::print("KL {:.6f} +- {:.6f} nats per token, same top token {:.2f} %\n", result.kl, result.kl_error,
             100 * result.top1_agreement);
  const KvBytes& b = result.bytes;
  fmt::print(
      "{:.1f} bytes per token, {:.2f} times smaller than f16 ({:.0f}): codes {}, scales {}, indices {}, "
      "tables {}, exact window {}, header {} bytes in a cache of {} tokens\n",
      result.bytes_per_token, dense_bytes / result.bytes_per_token, dense_bytes, b.payload, b.scales,
      b.indices, b.tables, b.window, b.header, prompt + forced);
  std::vector<std::vector<std::string>> rows = {{"positions", "perplexity", "KL"}};
  for (const CacheEvaluation::Bucket& bucket : result.positions) {
    rows.push_back({fmt::format("{} to {}", bucket.first, bucket.last),
                    fmt::format("{:.4f}", bucket.perplexity), fmt::format("{:.6f}", bucket.kl)});
  }
  fmt::print("{} windows of {} prompt and {} forced tokens\n\n{}", windows.windows.size(), prompt, forced,
             format_table(rows));
  if (arguments.flag("cache-report")) fmt::print("\n{}", format_cache_report(report));
  return 0;
}

}  // namespace laconic::cli
