// Where the tensors of a model lie in one flat vector of f32 numbers, and the buckets they travel in.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor/tensor.h"

namespace laconic {

struct TensorSlice {
  std::string name;
  Shape shape;
  std::size_t offset = 0, size = 0;  // in numbers; size is the product of the shape
};

// Name, shape and size of every tensor, one line each: what ranks compare before they exchange anything.
std::string layout_text(const std::vector<TensorSlice>& tensors);
// Sizes added up. Throws Error(internal) unless the slices follow each other without gaps.
std::size_t layout_size(const std::vector<TensorSlice>& tensors);

template <class Number>
std::span<Number> slice_of(std::span<Number> vector, const TensorSlice& tensor) {
  return vector.subspan(tensor.offset, tensor.size);
}

// Consecutive tensors that are exchanged together. Backward passes finish the last tensor first, so buckets
// are filled, and listed, from the end of the vector.
struct Bucket {
  std::size_t first = 0, last = 0;   // tensors [first, last)
  std::size_t offset = 0, size = 0;  // of their numbers in the flat vector
};
// Buckets of at most `bytes` as f32, or of one tensor that is larger.
std::vector<Bucket> buckets_of(const std::vector<TensorSlice>& tensors, std::size_t bytes = 25'000'000);

}  // namespace laconic
