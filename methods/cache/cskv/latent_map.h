// The channel-shrunk branch of CSKV: latents c = down x of a layer's input x, shared by its KV heads. Keys
// are made anew, up_K c, a tile of rows at a time, and turned by their positions (the rotation stands between
// up_K and the query, so it cannot be absorbed). Values are mixed as latents and expanded once per query:
//   P (C up_V^T) = (P C) up_V^T
// Biases of the projections and the norm of keys (Qwen 3) are applied exactly.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "methods/cache/trained_base.h"
#include "runtime/cache/stages.h"

namespace laconic::cskv {

// Numbers per token that a density gives: floor(density head_dim) for each KV head, together. Error(usage)
// when that is none.
std::int64_t latent_width(const KvShape& shape, double density);

// Stored names: layers.<i>.<keys|values>.<down|up|bias>, layers.<i>.key_norm.
std::string latent_name(std::int64_t layer, KvSide side, std::string_view part);

// Densities of 0: as the base has them. Error(input) where the base has fewer columns, or was trained at
// another rank and so cannot be cut.
std::shared_ptr<const FeatureMap> latent_map(const KvShape& shape, const TrainedBase& base,
                                             double key_density, double value_density);

}  // namespace laconic::cskv
