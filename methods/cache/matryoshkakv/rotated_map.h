// Keys (turned by their positions) and values in a learned orthonormal basis U of each KV head, its first r
// columns kept:
//   k~ = (k - mu_K) U_K[:, :r_K],  v~ = (v - mu_V) U_V[:, :r_V]
//   q . k  =  (q U_K[:, :r_K]) . k~ + q . mu_K
//   sum_t p_t v_t  =  (sum_t p_t v~_t) U_V[:, :r_V]^T + (sum_t p_t) mu_V
// Attention turns a query once, whatever the number of tokens. The terms with means matter because the exact
// window takes part in the same softmax.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "methods/cache/matryoshkakv/rank_table.h"
#include "methods/cache/trained_base.h"
#include "runtime/cache/kv_cache.h"
#include "runtime/cache/stages.h"

namespace laconic::matryoshkakv {

// All columns of one head's basis: rows of `columns` [d, d] are the columns of U, and `mean` [d].
struct HeadBasis {
  std::vector<float> columns, mean;
};

// By RankTable::index.
struct ModelBases {
  std::vector<HeadBasis> heads;
  std::uint64_t bytes = 0, identity = 0;
};

// Stored names: layers.<i>.<keys|values>.<free|mean>: f16 X below the diagonal [kv_heads, d (d - 1) / 2], and
// means [kv_heads, d].
std::string rotation_name(std::int64_t layer, KvSide side, std::string_view part);
std::shared_ptr<const ModelBases> read_bases(const KvShape& shape, const TrainedBase& base);
// From X (packed below the diagonal) and means, by RankTable::index.
std::shared_ptr<const ModelBases> make_bases(const KvShape& shape,
                                             const std::vector<std::vector<float>>& free,
                                             const std::vector<std::vector<float>>& means);

class RotatedMap : public FeatureMap {
 public:
  virtual const RankTable& ranks() const = 0;
  // The block with fewer columns, as it would be if it had been made by this map: bit by bit. Error(usage)
  // where this map keeps more, Error(unsupported) where columns cannot be taken from the stored form (grids
  // over the columns of a token).
  virtual std::shared_ptr<const KvBlock> narrowed(std::int64_t layer, const KvBlock& block) const = 0;
};

std::shared_ptr<const RotatedMap> rotated_map(const KvShape& shape, std::shared_ptr<const ModelBases> bases,
                                              RankTable ranks);

// A cache of this method with f16 latents, cut to fewer columns without a look at the model.
std::unique_ptr<KvCache> shrunk(const KvCache& cache, const std::shared_ptr<const RotatedMap>& map,
                                std::string_view canonical);

}  // namespace laconic::matryoshkakv
