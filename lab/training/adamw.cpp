#include "lab/training/adamw.h"

#include <c10/core/GradMode.h>

#include <cmath>

namespace laconic::lab {

AdamW::AdamW(const std::vector<NamedParameters>& replicas, AdamWOptions options) : options_(options) {
  std::int64_t total = 0;
  for (const auto& [name, tensor] : replicas.front()) total += tensor->numel();
  values_ = at::empty({total}, at::kFloat);
  first_ = at::zeros({total}, at::kFloat);
  second_ = at::zeros({total}, at::kFloat);
  decay_ = at::full({total}, options_.decoupled ? 0.0 : options_.weight_decay, at::kFloat);
  for (std::size_t replica = 0; replica < replicas.size(); ++replica) {
    gradients_.push_back(at::zeros({total}, at::kFloat));
    std::int64_t offset = 0;
    for (const auto& [name, tensor] : replicas[replica]) {
      const std::int64_t count = tensor->numel();
      const at::Tensor view = values_.narrow(0, offset, count).view(tensor->sizes());
      if (replica == 0) {
        view.copy_(tensor->detach());
        if (options_.decoupled && tensor->dim() == 2)
          decay_.narrow(0, offset, count).fill_(options_.weight_decay);
      }
      *tensor = view.detach().set_requires_grad(true);
      // Gradients are accumulated straight into their part of the flat buffer.
      tensor->mutable_grad() = gradients_.back().narrow(0, offset, count).view(tensor->sizes());
      offset += count;
    }
  }
}

double AdamW::step(double learning_rate, double clip) {
  const c10::NoGradGuard no_gradient;
  at::Tensor& sum = gradients_.front();
  for (std::size_t i = 1; i < gradients_.size(); ++i) {
    sum.add_(gradients_[i]);
    gradients_[i].zero_();
  }
  const double norm = sum.norm().item<double>();
  const float shrink = clip > 0 && norm > clip ? static_cast<float>(clip / norm) : 1.0f;
  ++steps_;
  const float beta1 = static_cast<float>(options_.beta1), beta2 = static_cast<float>(options_.beta2);
  const float correction1 = static_cast<float>(1 - std::pow(options_.beta1, static_cast<double>(steps_)));
  const float correction2 = static_cast<float>(1 - std::pow(options_.beta2, static_cast<double>(steps_)));
  const float rate = static_cast<float>(learning_rate), epsilon = static_cast<float>(options_.epsilon);
  float *w = values_.data_ptr<float>(), *g = sum.data_ptr<float>(), *m = first_.data_ptr<float>(),
        *v = second_.data_ptr<float>();
  const float* decay = decay_.data_ptr<float>();
  for (std::int64_t i = 0; i < values_.numel(); ++i) {
    const float gradient = g[i] * shrink + (options_.decoupled ? 0.0f : decay[i] * w[i]);
    m[i] = beta1 * m[i] + (1 - beta1) * gradient;
    v[i] = beta2 * v[i] + (1 - beta2) * gradient * gradient;
    const float update = (m[i] / correction1) / (std::sqrt(v[i] / correction2) + epsilon);
    w[i] -= rate * (update + (options_.decoupled ? decay[i] * w[i] : 0.0f));
    g[i] = 0;
  }
  return norm;
}

}  // namespace laconic::lab
