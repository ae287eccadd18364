// What liblaconic_lab.so exports.
#include "methods/lab_plugin.h"

#include <c10/core/GradMode.h>

#include "lab/guarded.h"
#include "lab/language_model.h"
#include "lab/methods/bytescale/mixed_length_training.h"
#include "lab/methods/cskv/latent_training.h"
#include "lab/methods/decoupleq/block_reconstruction.h"
#include "lab/methods/matryoshkakv/projection_training.h"
#include "lab/models/training_tasks.h"
#include "lab/output_gradients.h"
#include "lab/training/language_model_trainer.h"
#include "lab/training/workers.h"

namespace laconic::lab {
namespace {

class Plugin final : public LabPlugin {
 public:
  TrainLanguageModelResult train_language_model(const TrainLanguageModelRequest& request) const override {
    return guarded([&] { return lab::train_language_model(request); });
  }
  OutputGradients output_gradients(const std::filesystem::path& model,
                                   const std::vector<std::vector<std::int32_t>>& windows,
                                   const ProgressListener& progress) const override {
    return guarded([&] { return lab::output_gradients(model, windows, progress); });
  }
  BlockReconstructionResult block_reconstruction(const BlockReconstructionRequest& request) const override {
    return guarded([&] { return lab::block_reconstruction(request); });
  }
  LatentTrainingResult latent_training(const LatentTrainingRequest& request) const override {
    return guarded([&] { return lab::latent_training(request); });
  }
  ProjectionTrainingResult projection_training(const ProjectionTrainingRequest& request) const override {
    return guarded([&] { return lab::projection_training(request); });
  }
  std::unique_ptr<TrainingTask> training_task(const TaskRequest& request) const override {
    return guarded([&] { return lab::training_task(request); });
  }
  bytescale::MixedLengthResult mixed_length_training(
      const bytescale::MixedLengthRequest& request) const override {
    return guarded([&] { return lab::mixed_length_training(request); });
  }
  bytescale::StepCosts profile_lengths(const bytescale::LengthProfileRequest& request) const override {
    return guarded([&] { return lab::profile_lengths(request); });
  }
  std::vector<float> logits(const std::filesystem::path& model,
                            std::span<const std::int32_t> tokens) const override {
    return guarded([&] {
      prepare_libtorch();
      const c10::NoGradGuard no_gradient;
      const LanguageModel copy = LanguageModel::load(model);
      const at::Tensor all = copy.logits(token_tensor(copy.config(), tokens)).contiguous();
      return std::vector<float>(all.data_ptr<float>(), all.data_ptr<float>() + all.numel());
    });
  }
};

}  // namespace
}  // namespace laconic::lab

extern "C" {
__attribute__((visibility("default"))) int laconic_lab_version() { return laconic::lab_plugin_version; }
__attribute__((visibility("default"))) laconic::LabPlugin* laconic_lab() {
  static laconic::lab::Plugin plugin;
  return &plugin;
}
}
