// What a method brings to a KV cache: stages on one of three axes. A pipeline such as
// 'cskv(rank=0.25) + zipcache(bits=4,2)' takes at most one method of each axis (runtime/cache/stages.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/progress.h"
#include "engine/codec/codec.h"
#include "runtime/cache/kv_cache.h"
#include "runtime/cache/stages.h"

namespace laconic {

enum class CacheAxis { tokens, features, bits };
std::string_view name_of(CacheAxis axis);

struct CacheRequest {
  KvShape shape;
  std::filesystem::path model;         // its directory; may be empty
  std::optional<std::int64_t> window;  // exact recent tokens; absent: the method's own number
  std::uint64_t seed = 0;
  std::filesystem::path bases = {};  // directory whose kv/ has the trained bases; empty: the model's
};

// Adds the method's stages for one layer. Made once for a model: it holds what all layers share.
using CacheStageMaker = std::function<void(std::int64_t layer, KvStages& stages)>;

// `parameters` with each of `values` in place of one of them, unless the user set it: then unchanged.
std::vector<Parameters> sizes_by(const Parameters& parameters, std::string_view name,
                                 const std::vector<std::string>& values);

// What `laconic kv train` asks of a method that learns a base of the model (methods/cache/trained_base.h).
struct CacheBaseRequest {
  std::filesystem::path model, directory;  // the base becomes directory/kv/<name>.safetensors
  std::string name;                        // empty: the method's slug
  Parameters parameters;                   // of CacheMethod::base_parameters
  std::string text;                        // to calibrate and train on
  std::uint64_t seed = 0;
  bool replace = false;
  int threads = 0;  // of training; 0: one per core
  ProgressListener progress;
  std::function<void(std::string_view)> message;  // one line that the user should see while work goes on
};
struct CacheBaseResult {
  std::filesystem::path file;
  std::uint64_t bytes = 0;
  std::vector<std::pair<std::string, std::string>>
      notes;  // what a user should know, e.g. errors before and after
};

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
  // The axes that these parameters take up, where that depends on them; null: `axes`.
  std::function<std::vector<CacheAxis>(const Parameters&)> axes_with = {};
  // Methods that need a base of the model: how it is made.
  std::vector<ParameterSpec> base_parameters = {};
  std::function<CacheBaseResult(const CacheBaseRequest&)> make_base = {};
  int base_version = 1;  // another one where the same request makes another base
  // bits: rows that were read back lose nothing when they are stored anew beside other rows, whatever the
  // parameters by default. Else methods that store kept tokens anew must leave them alone (later=kept).
  bool rows_stand_alone = false;
};

}  // namespace laconic
