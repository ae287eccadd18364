#include "methods/trial_seeds.h"

namespace laconic {

std::vector<std::uint64_t> trial_seeds(const ReproduceRequest& request) {
  if (request.scale == ReproduceRequest::Scale::quick) return {request.seed};
  return {request.seed, request.seed + 1, request.seed + 2};
}

}  // namespace laconic
