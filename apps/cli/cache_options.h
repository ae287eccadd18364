// The options about KV caches that verbs share.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "apps/cli/verb.h"
#include "methods/cache/pipeline.h"
#include "runtime/evaluation/cache_report.h"
#include "runtime/transformer.h"

namespace laconic::cli {

// --cache, --cache-window, --cache-bases, --cache-budget, --cache-ratio, --cache-report.
std::vector<OptionSpec> cache_option_specs();

// The caches of a pipeline as the options want them; null for an empty one, which the other options then
// must not go with. `fill` runs the tokens that a budget is measured on through a cache.
std::unique_ptr<CacheFactory> cache_from(const Arguments& arguments, const std::string& pipeline,
                                         const Transformer& model, const std::filesystem::path& directory,
                                         const std::function<void(KvCache&)>& fill);

// --cache-report as text; of a cache without exact rows beside it, errors are zero.
std::string format_cache_report(const CacheReport& report);
std::string cache_table(const KvCache& cache);

}  // namespace laconic::cli
