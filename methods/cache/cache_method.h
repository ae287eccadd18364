// What a method brings to a KV cache: stages on one of three axes. A pipeline such as
// 'cskv(rank=0.25) + zipcache(bits=4,2)' takes at most one method of each axis (runtime/cache/stages.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/codec/codec.h"
#include "runtime/cache/kv_cache.h"
#include "runtime/cache/stages.h"

namespace laconic {

enum class CacheAxis { tokens, features, bits };
std::string_view name_of(CacheAxis axis);

struct CacheRequest {
  KvShape shape;
  std::filesystem::path model;         // directory with trained bases (kv/<method>.safetensors); may be empty
  std::optional<std::int64_t> window;  // exact recent tokens; absent: the method's own number
  std::uint64_t seed = 0;
};

// Adds the method's stages for one layer. Made once for a model: it holds what all layers share.
using CacheStageMaker = std::function<void(std::int64_t layer, KvStages& stages)>;

// `parameters` with each of `values` in place of one of them, unless the user set it: then unchanged.
std::vector<Parameters> sizes_by(const Parameters& parameters, std::string_view name,
                                 const std::vector<std::string>& values);

struct CacheMethod {
  std::vector<CacheAxis> axes;  // that the method takes up
  // Facts that decide what it can be combined with:
  bool rewrites_rows = false;    // merges or re-encodes rows that are compressed already
  bool keeps_no_grid = false;    // bits: works on any rows, latents included
  bool whole_rows_only = false;  // bits: works on keys and values as the model has them, not on latents
  std::function<CacheStageMaker(const Parameters&, const CacheRequest&)> make;
  // The same settings at every size the method offers, largest first; empty: one size. Parameters that the
  // user set stay.
  std::function<std::vector<Parameters>(const Parameters&)> sizes = {};
};

}  // namespace laconic
