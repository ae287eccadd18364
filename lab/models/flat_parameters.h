// One flat vector of numbers as the tensors of a LibTorch computation, and the way back: gradients are
// written into a flat vector as the backward pass finishes them.
#pragma once

#include <torch/types.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/exchange/tensor_layout.h"

namespace laconic::lab {

// How a tensor starts. Every tensor has a random stream of its own, named after it.
struct ParameterStart {
  enum class Kind { zeros, ones, normal } kind = Kind::zeros;
  double deviation = 0;  // normal
};

// The tensors of a network in the order in which the forward pass uses them, so that the backward pass
// finishes them from the end.
class ParameterPlan {
 public:
  // The place of the tensor in the list.
  std::size_t add(std::string name, Shape shape, ParameterStart start);
  std::size_t zeros(std::string name, Shape shape) { return add(std::move(name), std::move(shape), {}); }
  std::size_t ones(std::string name, Shape shape) {
    return add(std::move(name), std::move(shape), {ParameterStart::Kind::ones, 0});
  }
  std::size_t normal(std::string name, Shape shape, double deviation) {
    return add(std::move(name), std::move(shape), {ParameterStart::Kind::normal, deviation});
  }
  const std::vector<TensorSlice>& tensors() const { return tensors_; }
  std::vector<float> initial(std::uint64_t seed) const;

 private:
  std::vector<TensorSlice> tensors_;
  std::vector<ParameterStart> starts_;
  std::size_t size_ = 0;
};

class FlatParameters {
 public:
  explicit FlatParameters(const std::vector<TensorSlice>& tensors);
  FlatParameters(const FlatParameters&) = delete;  // hooks point here
  FlatParameters& operator=(const FlatParameters&) = delete;

  const std::vector<at::Tensor>& tensors() const { return tensors_; }
  void set(std::span<const float> point);
  // The gradient of `loss` with respect to every tensor, zeros where it does not depend on one. `on_ready` is
  // told each tensor once, during the backward pass for those that it reaches.
  void backward(const at::Tensor& loss, std::span<float> gradient,
                const std::function<void(std::size_t tensor)>& on_ready);

 private:
  void deliver(std::size_t tensor, const at::Tensor& gradient);

  std::vector<TensorSlice> slices_;
  std::vector<at::Tensor> tensors_;
  // Of the backward pass that runs.
  std::span<float> gradient_;
  const std::function<void(std::size_t)>* on_ready_ = nullptr;
  std::vector<bool> told_;
};

}  // namespace laconic::lab
