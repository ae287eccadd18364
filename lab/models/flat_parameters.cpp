#include "lab/models/flat_parameters.h"

#include <torch/autograd.h>

#include <algorithm>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic::lab {

std::size_t ParameterPlan::add(std::string name, Shape shape, ParameterStart start) {
  const auto size = static_cast<std::size_t>(element_count(shape));
  tensors_.push_back({std::move(name), std::move(shape), size_, size});
  starts_.push_back(start);
  size_ += size;
  return tensors_.size() - 1;
}

std::vector<float> ParameterPlan::initial(std::uint64_t seed) const {
  std::vector<float> point(size_, 0.0f);
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    const auto values = slice_of(std::span<float>(point), tensors_[i]);
    if (starts_[i].kind == ParameterStart::Kind::ones) std::fill(values.begin(), values.end(), 1.0f);
    if (starts_[i].kind != ParameterStart::Kind::normal) continue;
    RandomStream random(seed, "initial weights", tensors_[i].name);
    const auto deviation = static_cast<float>(starts_[i].deviation);
    for (float& value : values) value = deviation * random.gaussian();
  }
  return point;
}

FlatParameters::FlatParameters(const std::vector<TensorSlice>& tensors) : slices_(tensors) {
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    at::Tensor tensor = at::zeros(slices_[i].shape, at::kFloat);
    tensor.set_requires_grad(true);
    // A leaf's hook hears the sum over all uses of the tensor, once per backward pass.
    tensor.register_hook([this, i](const at::Tensor& gradient) { deliver(i, gradient); });
    tensors_.push_back(std::move(tensor));
  }
}

void FlatParameters::set(std::span<const float> point) {
  require(point.size() == layout_size(slices_), "a point of the network's size");
  for (std::size_t i = 0; i < slices_.size(); ++i) {
    const auto values = slice_of(point, slices_[i]);
    if (!values.empty()) std::memcpy(tensors_[i].data_ptr<float>(), values.data(), values.size_bytes());
  }
}

void FlatParameters::deliver(std::size_t tensor, const at::Tensor& gradient) {
  const auto out = slice_of(gradient_, slices_[tensor]);
  if (gradient.defined()) {
    const at::Tensor dense = gradient.detach().contiguous();
    require(static_cast<std::size_t>(dense.numel()) == out.size(), "a gradient of its tensor's size");
    std::memcpy(out.data(), dense.data_ptr<float>(), out.size_bytes());
  } else {
    std::fill(out.begin(), out.end(), 0.0f);
  }
  told_[tensor] = true;
  if (on_ready_ != nullptr && *on_ready_) (*on_ready_)(tensor);
}

void FlatParameters::backward(const at::Tensor& loss, std::span<float> gradient,
                              const std::function<void(std::size_t)>& on_ready) {
  require(gradient.size() == layout_size(slices_), "a gradient of the network's size");
  gradient_ = gradient;
  on_ready_ = &on_ready;
  told_.assign(slices_.size(), false);
  // What LibTorch gathers beside us is dropped, that of a pass that failed included.
  for (at::Tensor& tensor : tensors_) tensor.mutable_grad().reset();
  loss.backward();
  for (std::size_t i = slices_.size(); i-- > 0;) {
    if (!told_[i]) deliver(i, {});
    tensors_[i].mutable_grad().reset();
  }
  on_ready_ = nullptr;
}

}  // namespace laconic::lab
