// The axes along which a cache is made smaller. A method is one stage or a few; a pipeline takes at most one
// stage of each axis, in this order:
//   tokens    which tokens are kept, merged or told apart (TokenEviction, TokenSplit)
//   features  fewer numbers per token (FeatureMap)
//   bits      fewer bits per number (RowCodec)
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "runtime/cache/kv_codec.h"
#include "runtime/cache/token_eviction.h"

namespace laconic {

// Sorts tokens into classes that the stages behind it treat differently. Nothing is dropped.
class TokenSplit {
 public:
  virtual ~TokenSplit() = default;
  virtual KvNeeds needs() const = 0;
  // Whether blocks that are there already are decoded and encoded anew together with every new one; tokens
  // stay in their classes. Works on keys and values only, not on features.
  virtual bool rewrites() const { return false; }
  // Per KV head (or one list for all of them when `joint`), per class: rows of `rows`, ascending. All heads
  // get classes of the same sizes.
  virtual std::vector<std::vector<TokenIndex::Positions>> split(const ExactRows& rows,
                                                                const KvLayerState& state,
                                                                bool joint) const = 0;
};

// Maps the rows of a token to fewer numbers and attends over what is left of them.
class FeatureMap {
 public:
  virtual ~FeatureMap() = default;
  virtual bool joint() const = 0;  // one latent for all heads of a layer; else one per head
  virtual bool needs_hidden() const { return false; }
  virtual std::int64_t side_width(std::int64_t /*layer*/) const { return 0; }
  virtual void side_rows(const LayerRows& /*rows*/, std::int64_t /*layer*/, float* /*side*/) const {}
  // Widths of the latents of a layer, per part.
  virtual std::vector<std::int64_t> widths(std::int64_t layer, KvSide side) const = 0;
  // Latents of all rows, one matrix per part.
  virtual HeadMatrices project(const ExactRows& rows, KvSide side) const = 0;
  // A block over stored latents. `keys` and `values` have the parts of widths().
  virtual std::shared_ptr<const KvBlock> block(std::int64_t layer, TokenIndex index,
                                               std::unique_ptr<const RowStore> keys,
                                               std::unique_ptr<const RowStore> values) const = 0;
  // Bytes of the map itself, kept with the model and shared by all sequences.
  virtual std::uint64_t model_bytes() const = 0;
  // What tells this map from others of the same name: blocks that another one made mean something else.
  virtual std::uint64_t identity() const = 0;
};

struct KvStages {
  std::string canonical;  // "cskv(rank=0.25) + zipcache(bits=4,2)"
  std::shared_ptr<const TokenSplit> split;
  std::shared_ptr<const TokenEviction> eviction;
  std::shared_ptr<const FeatureMap> features;
  std::shared_ptr<const RowCodec> bits;  // null: f16
  WindowPolicy window;
  std::uint64_t seed = 0;
};

// The codec of one layer that runs rows through the stages. Refuses (Error(usage)) stages that do not go
// together, with the reason.
std::shared_ptr<const KvCodec> make_stage_codec(const KvShape& shape, std::int64_t layer, KvStages stages);

}  // namespace laconic
