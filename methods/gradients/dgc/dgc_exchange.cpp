#include "methods/gradients/dgc/dgc_exchange.h"

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/codec/composition.h"
#include "engine/math/top_k.h"

namespace laconic::dgc {
namespace {

std::string_view values_name(const SparseSettings& sparse) {
  return sparse.values == DType::f16 ? "f16" : "f32";
}

std::shared_ptr<const TensorCodec> codec_at(double ratio, const SparseSettings& sparse) {
  return parse_codec(fmt::format("outliers(fraction={},count=ceil,select={},dtype={})", ratio,
                                 sparse.sampled ? "sampled" : "exact", values_name(sparse)));
}

std::vector<TensorTravel> travel_of(const std::vector<TensorSlice>& tensors, const SparseSettings& sparse) {
  const auto codec = codec_at(sparse.schedule.at(0), sparse);
  std::vector<TensorTravel> travel(tensors.size());
  const std::vector<bool> sparsely = is_sparse(tensors);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (sparsely[i]) travel[i] = {codec, sparse.feedback};
  }
  return travel;
}

}  // namespace

std::vector<bool> is_sparse(const std::vector<TensorSlice>& tensors) {
  std::vector<bool> sparsely;
  for (const TensorSlice& tensor : tensors) sparsely.push_back(tensor.shape.size() >= 2 && tensor.size > 0);
  return sparsely;
}

DgcExchange::DgcExchange(std::vector<TensorSlice> tensors, const SparseSettings& sparse,
                         const GatheredSettings& settings)
    : GatheredExchange(tensors, travel_of(tensors, sparse), settings),
      sparse_(sparse),
      ratio_(sparse.schedule.at(0)) {
  require(sparse.steps_per_epoch >= 1, "an epoch has a step");
  std::int64_t sent = 0, all = 0;
  const std::vector<bool> sparsely = is_sparse(tensors);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (!sparsely[i]) continue;
    const auto size = static_cast<std::int64_t>(tensors[i].size);
    sent += count_of(size, sparse.schedule.ratio, CountRule::ceil);
    all += size;
  }
  if (all > 0) effective_ratio_ = static_cast<double>(sent) / static_cast<double>(all);
  text_ = fmt::format("sparse, {}, effectively {:.4g}; {} steps an epoch; {} values, {} selection; {}",
                      sparse.schedule.text(), effective_ratio_, sparse.steps_per_epoch, values_name(sparse),
                      sparse.sampled ? "sampled" : "exact",
                      sparse.feedback ? sparse.feedback->text() : std::string("no memory"));
}

void DgcExchange::begin_step(Communicator& communicator, std::uint64_t step) {
  const double ratio = sparse_.schedule.at((step - 1) / sparse_.steps_per_epoch);
  if (ratio != ratio_) {
    const auto codec = codec_at(ratio, sparse_);
    for (std::size_t i = 0; i < tensors().size(); ++i) {
      if (travel(i).codec) set_codec(i, codec);
    }
    ratio_ = ratio;
  }
  GatheredExchange::begin_step(communicator, step);
}

}  // namespace laconic::dgc
