#include "apps/cli/cache_options.h"

#include <fmt/format.h>

#include "engine/base/error.h"
#include "methods/cache/cache_size.h"

namespace laconic::cli {

std::vector<OptionSpec> cache_option_specs() {
  using Kind = OptionSpec::Kind;
  return {
      {"--cache", Kind::text, "a KV cache: a method or a pipeline such as 'kivi(bits=2)'", false,
       "exact f32"},
      {"--cache-window", Kind::integer, "recent tokens that stay exact", false, "the method's own"},
      {"--cache-bases", Kind::text, "a directory whose kv/ has the bases that laconic kv train made", false,
       "the model's"},
      {"--cache-budget", Kind::number, "bytes per token that the cache may take, window and scales included"},
      {"--cache-ratio", Kind::number, "the same as a ratio to the f16 cache, e.g. 8"},
      {"--cache-report", Kind::flag, "what each layer and head of the cache holds"}};
}

std::unique_ptr<CacheFactory> cache_from(const Arguments& arguments, const std::string& pipeline,
                                         const Transformer& model, const std::filesystem::path& directory,
                                         const std::function<void(KvCache&)>& fill) {
  const bool sized = arguments.has("cache-budget") || arguments.has("cache-ratio");
  if (pipeline.empty()) {
    for (const char* option :
         {"cache-window", "cache-bases", "cache-budget", "cache-ratio", "cache-report"}) {
      if (arguments.has(option))
        fail(ErrorKind::usage, "needs --cache", fmt::format("--{}", option),
             "name a method, e.g. --cache kivi");
    }
    return nullptr;
  }
  if (arguments.has("cache-budget") && arguments.has("cache-ratio"))
    fail(ErrorKind::usage, "both a budget and a ratio", "--cache-ratio", "give one of them");
  CacheRequest request{model.kv_shape(), directory, {}, 0, arguments.text("cache-bases")};
  if (arguments.has("cache-window"))
    request.window = arguments.integer("cache-window", 0, 0, std::int64_t{1} << 24);
  std::vector<CacheStageText> stages = parse_cache_pipeline(pipeline);
  if (sized) {
    const double dense = dense_bytes_per_token(request.shape);
    const double budget = arguments.has("cache-budget") ? arguments.number("cache-budget", 0, 1e-3, 1e12)
                                                        : dense / arguments.number("cache-ratio", 1, 1, 1e6);
    stages = fit_cache(stages, request, budget, [&](const CacheFactory& factory) {
               const auto cache = factory.make();
               fill(*cache);
               return static_cast<double>(cache->bytes().total()) / static_cast<double>(cache->length());
             }).stages;
  }
  return std::make_unique<CacheFactory>(stages, request);
}

std::string format_cache_report(const CacheReport& report) {
  std::vector<std::vector<std::string>> rows = {
      {"layer", "tokens", "blocks", "bytes", "payload", "scales", "indices", "tables", "window", "header"}};
  for (const CacheLayerReport& layer : report.layers) {
    const KvBytes& b = layer.bytes;
    std::vector<std::string> row = {std::to_string(layer.layer), std::to_string(layer.tokens),
                                    std::to_string(layer.blocks)};
    for (const std::uint64_t part : {b.total(), b.payload, b.scales, b.indices, b.tables, b.window, b.header})
      row.push_back(std::to_string(part));
    rows.push_back(std::move(row));
  }
  std::string text = format_table(rows) + "\n";
  rows = {{"layer", "head", "compressed rows", "exact rows", "key error", "value error"}};
  for (const CacheHeadReport& head : report.heads) {
    rows.push_back({std::to_string(head.layer), std::to_string(head.head),
                    std::to_string(head.compressed_rows), std::to_string(head.window_rows),
                    fmt::format("{:.5f}", head.key_error), fmt::format("{:.5f}", head.value_error)});
  }
  return text + format_table(rows) + "errors: |x - x'|^2 / |x|^2 over compressed rows\n";
}

std::string cache_table(const KvCache& cache) { return format_cache_report(report_cache(cache, nullptr)); }

}  // namespace laconic::cli
