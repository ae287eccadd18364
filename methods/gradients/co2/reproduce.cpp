#include "methods/gradients/co2/reproduce.h"

namespace laconic::co2 {

Reproduction reproduce(const ReproduceRequest& request) {
  Reproduction result;
  result.slug = "co2";
  result.seed = request.seed;
  return result;
}

}  // namespace laconic::co2
