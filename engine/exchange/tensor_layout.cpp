#include "engine/exchange/tensor_layout.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "engine/base/error.h"

namespace laconic {

std::string layout_text(const std::vector<TensorSlice>& tensors) {
  std::string text;
  for (const TensorSlice& tensor : tensors) {
    text += fmt::format("{} [{}] {}\n", tensor.name, fmt::join(tensor.shape, ", "), tensor.size);
  }
  return text;
}

std::size_t layout_size(const std::vector<TensorSlice>& tensors) {
  std::size_t size = 0;
  for (const TensorSlice& tensor : tensors) {
    require(tensor.offset == size && element_count(tensor.shape) == static_cast<std::int64_t>(tensor.size),
            "tensors follow each other, and their sizes are those of their shapes");
    size += tensor.size;
  }
  return size;
}

std::vector<Bucket> buckets_of(const std::vector<TensorSlice>& tensors, std::size_t bytes) {
  std::vector<Bucket> buckets;
  for (std::size_t i = tensors.size(); i-- > 0;) {
    const TensorSlice& tensor = tensors[i];
    const bool joins = !buckets.empty() && (buckets.back().size + tensor.size) * sizeof(float) <= bytes;
    if (!joins) buckets.push_back({i + 1, i + 1, tensor.offset + tensor.size, 0});
    Bucket& bucket = buckets.back();
    bucket.first = i;
    bucket.offset = tensor.offset;
    bucket.size += tensor.size;
  }
  return buckets;
}

}  // namespace laconic
