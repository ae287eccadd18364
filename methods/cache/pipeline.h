// Pipelines of cache methods as text: 'cskv(rank=0.25) + zipcache(bits=4,2)'. Each stage is a method with
// parameters; at most one for each axis. Printing is canonical and a fixed point of parsing.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "methods/cache/cache_method.h"
#include "methods/method.h"

namespace laconic {

struct CacheStageText {
  const MethodDescription* method = nullptr;
  Parameters parameters;
};

// What the stage decides about, with these parameters.
std::vector<CacheAxis> axes_of(const CacheStageText& stage);

// Throws Error(usage) that names the place, the nearest known method or parameter, and for stages that do
// not go together the reason.
std::vector<CacheStageText> parse_cache_pipeline(std::string_view text);
std::string canonical_text(const std::vector<CacheStageText>& stages);

// Why two methods cannot be stages of one pipeline; empty when they can.
std::string incompatible(const MethodDescription& first, const MethodDescription& second);
// What two methods that can be stages of one pipeline need for it, "with later=kept" say; empty: nothing.
std::string composition_condition(const MethodDescription& first, const MethodDescription& second);
// The methods that have a cache, and for each pair of them "yes", "yes" with its condition, or the reason why
// not: docs and tests.
std::vector<std::vector<std::string>> cache_composition_table();

// Makes any number of caches of one pipeline for one model.
class CacheFactory {
 public:
  CacheFactory(std::string_view pipeline, const CacheRequest& request);
  CacheFactory(const std::vector<CacheStageText>& stages, const CacheRequest& request);
  std::unique_ptr<KvCache> make() const { return std::make_unique<KvCache>(shape_, codecs_); }
  const std::string& canonical() const { return canonical_; }
  // Of the trained base, if there is one: the model's, not the cache's.
  std::uint64_t base_bytes() const { return codecs_.empty() ? 0 : codecs_.front()->model_bytes(); }

 private:
  KvShape shape_;
  std::string canonical_;
  std::vector<std::shared_ptr<const KvCodec>> codecs_;
};

}  // namespace laconic
