#include "lab/models/image_task.h"

#include <c10/core/GradMode.h>
#include <torch/autograd.h>

#include <algorithm>
#include <utility>

#include "lab/models/tensor_replica.h"
#include "lab/training/workers.h"
#include "methods/gradients/tasks/classified_rows.h"

namespace laconic::lab {
namespace {

class ImageTask final : public TrainingTask {
 public:
  ImageTask(const ImageData& data, std::unique_ptr<ImageNetwork> network, std::string text,
            const AttackSettings& attack)
      : by_(normalisation_of(data.train)),
        shape_{data.train.channels, data.train.height, data.train.width},
        train_(data.train, by_),
        test_(data.test, by_),
        network_(std::move(network)),
        text_(std::move(text)),
        attack_(attack) {}

  std::string text() const override { return text_; }
  const std::vector<TensorSlice>& parameters() const override { return network_->plan().tensors(); }
  std::vector<float> initial(std::uint64_t seed) const override { return network_->plan().initial(seed); }
  std::int64_t examples() const override { return train_.count(); }
  const std::vector<std::int32_t>& labels() const override { return train_.labels(); }
  std::unique_ptr<TrainingReplica> replica() const override { return std::make_unique<Replica>(*this); }

 private:
  class Replica final : public TensorReplica {
   public:
    explicit Replica(const ImageTask& task)
        : TensorReplica(task.parameters(), task.test_.count(), 128),
          task_(task),
          attack_(task.attack_, task.train_) {}

   private:
    at::Tensor mean_loss(std::span<const std::int64_t> examples) override {
      const Batch batch = gather(task_.train_, examples);
      attack(batch);
      return at::cross_entropy_loss(task_.network_->logits(tensors(), batch.pictures), batch.classes);
    }

    HeldOutSums held_out_sums(std::span<const std::int64_t> examples) override {
      const Batch batch = gather(task_.test_, examples);
      const auto right_of = [&](const at::Tensor& logits) {
        return logits.argmax(1).eq(batch.classes).sum().item<std::int64_t>();
      };
      HeldOutSums sums;
      if (attack_.is_on())
        sums.right_without_attack = right_of(task_.network_->logits(tensors(), batch.pictures));
      attack(batch);
      const at::Tensor logits = task_.network_->logits(tensors(), batch.pictures);
      sums.loss = at::cross_entropy_loss(logits, batch.classes, {}, at::Reduction::Sum).item<double>();
      sums.count = static_cast<std::int64_t>(examples.size());
      sums.right = right_of(logits);
      return sums;
    }

    struct Batch {
      at::Tensor pictures, classes;
    };
    Batch gather(const PictureRows& rows, std::span<const std::int64_t> examples) const {
      const auto count = static_cast<std::int64_t>(examples.size());
      Batch batch{
          at::empty({count, task_.shape_.channels, task_.shape_.height, task_.shape_.width}, at::kFloat),
          at::empty({count}, at::kLong)};
      const std::span<float> all(batch.pictures.data_ptr<float>(), examples.size() * rows.width());
      for (std::size_t i = 0; i < examples.size(); ++i) {
        rows.gather(examples[i], all.subspan(i * rows.width(), rows.width()));
        batch.classes.data_ptr<std::int64_t>()[i] = rows.labels()[static_cast<std::size_t>(examples[i])];
      }
      return batch;
    }

    // Moves the pictures to where they hurt.
    void attack(const Batch& batch) {
      if (!attack_.is_on()) return;
      const at::AutoGradMode with_gradient(true);
      // The tensors' gradients are not asked for: copies that need none save half of the backward pass.
      std::vector<at::Tensor> fixed;
      for (const at::Tensor& tensor : tensors()) fixed.push_back(tensor.detach());
      const auto size = static_cast<std::size_t>(batch.pictures.numel());
      attack_.find(std::span(batch.pictures.data_ptr<float>(), size),
                   [&](std::span<const float>, std::span<float> by_inputs) {
                     const at::Tensor pictures = batch.pictures.detach().clone().set_requires_grad(true);
                     const at::Tensor loss = at::cross_entropy_loss(task_.network_->logits(fixed, pictures),
                                                                    batch.classes, {}, at::Reduction::Sum);
                     const at::Tensor found = torch::autograd::grad({loss}, {pictures})[0].contiguous();
                     std::copy_n(found.data_ptr<float>(), by_inputs.size(), by_inputs.begin());
                   });
    }

    const ImageTask& task_;
    InputAttack attack_;
  };

  ChannelNormalisation by_;
  PictureShape shape_;
  PictureRows train_, test_;
  std::unique_ptr<ImageNetwork> network_;
  std::string text_;
  AttackSettings attack_;
};

}  // namespace

std::unique_ptr<TrainingTask> make_image_task(const ImageData& data, std::unique_ptr<ImageNetwork> network,
                                              std::string text, const AttackSettings& attack) {
  prepare_libtorch();
  return std::make_unique<ImageTask>(data, std::move(network), std::move(text), attack);
}

}  // namespace laconic::lab
