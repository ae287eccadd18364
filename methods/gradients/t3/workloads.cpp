#include "methods/gradients/t3/workloads.h"

#include <fmt/format.h>

namespace laconic::t3 {

std::string_view name_of(SubLayer sub_layer) {
  switch (sub_layer) {
    case SubLayer::op:
      return "OP";
    case SubLayer::fc2:
      return "FC-2";
    case SubLayer::fc1_backward:
      return "FC-1 backward";
    default:
      return "IP backward";
  }
}

const std::vector<TransformerModel>& small_models() {
  static const std::vector<TransformerModel> models = {{"Mega-GPT-2", 3072, 74, 16384},
                                                       {"T-NLG", 4256, 78, 8192}};
  return models;
}

const std::vector<TransformerModel>& large_models() {
  static const std::vector<TransformerModel> models = {
      {"GPT-3", 12288, 96, 8192}, {"PALM", 18432, 118, 8192}, {"MT-NLG", 20480, 105, 8192}};
  return models;
}

std::int64_t Workload::depth() const {
  const std::int64_t times = sub_layer == SubLayer::op ? 1 : sub_layer == SubLayer::ip_backward ? 3 : 4;
  return times * model.hidden / devices;
}
double Workload::operations() const {
  return 2.0 * static_cast<double>(model.tokens) * static_cast<double>(model.hidden) *
         static_cast<double>(depth());
}
double Workload::output_bytes() const {
  return 2.0 * static_cast<double>(model.tokens) * static_cast<double>(model.hidden);
}
std::string Workload::name() const {
  return fmt::format("{}, {} devices, {}", model.name, devices, name_of(sub_layer));
}

std::vector<Workload> workloads_of(const std::vector<TransformerModel>& models,
                                   const std::vector<int>& devices) {
  std::vector<Workload> all;
  for (const TransformerModel& model : models) {
    for (const int count : devices) {
      for (const SubLayer sub_layer : sub_layers) all.push_back({model, count, sub_layer});
    }
  }
  return all;
}

}  // namespace laconic::t3
