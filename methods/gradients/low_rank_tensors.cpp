#include "methods/gradients/low_rank_tensors.h"

#include <algorithm>

#include "engine/exchange/low_rank_exchange.h"

namespace laconic {

std::vector<std::int64_t> worthwhile_ranks(const std::vector<TensorSlice>& tensors, std::int64_t rank,
                                           double least_saving) {
  std::vector<std::int64_t> ranks;
  for (const TensorSlice& tensor : tensors) {
    const auto matrix = matrix_shape(tensor.shape);
    if (!matrix) {
      ranks.push_back(0);
      continue;
    }
    const std::int64_t fitting = std::min({rank, matrix->rows, matrix->columns});
    const double factors = static_cast<double>((matrix->rows + matrix->columns) * fitting);
    const bool worthwhile = factors * least_saving < static_cast<double>(tensor.size);
    ranks.push_back(worthwhile ? fitting : 0);
  }
  return ranks;
}

}  // namespace laconic
