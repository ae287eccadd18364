#include "lab/models/language_task.h"

#include <stdlib.h>
#include <torch/types.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/scratch_folder.h"
#include "engine/dataset/text_windows.h"
#include "lab/language_model.h"
#include "lab/models/tensor_replica.h"
#include "lab/training/workers.h"
#include "methods/gradients/tasks/task_models.h"
#include "runtime/tokenizer/bpe_trainer.h"
#include "runtime/tokenizer/tokenizer.h"

namespace laconic::lab {
namespace {

struct TaskTokens {
  std::vector<std::int32_t> train, test;
  std::int64_t vocabulary = 256;
};

TaskTokens tokens_of(const TextData& text, std::int64_t vocabulary) {
  if (vocabulary == 0) return {byte_tokens(text.train), byte_tokens(text.test), 256};
  BpeTrainerOptions options;
  options.vocabulary_size = static_cast<std::int32_t>(vocabulary);
  options.bos = options.eos = "";
  const BpeVocabulary trained = train_bpe(text.train, options);
  const ScratchFolder folder("tokenizer");  // Tokenizer::load wants a directory
  write_file(folder.path() / "tokenizer.json", trained.tokenizer_json());
  write_file(folder.path() / "tokenizer_config.json", trained.tokenizer_config_json());
  const auto tokenizer = Tokenizer::load(folder.path());
  return {tokenizer->encode(text.train, false), tokenizer->encode(text.test, false),
          static_cast<std::int64_t>(trained.pieces.size())};
}

class LanguageTask final : public TrainingTask {
 public:
  LanguageTask(TextWindows train, TextWindows test, std::int64_t kept_train, std::int64_t kept_test,
               ModelConfig config, std::string text)
      : train_(std::move(train)),
        test_(std::move(test)),
        examples_(std::min(kept_train, train_.count())),
        held_out_(std::min(kept_test, test_.count())),
        config_(std::move(config)),
        text_(std::move(text)) {
    LanguageModel model(config_, 0);
    std::size_t offset = 0;
    for (const auto& [name, tensor] : model.parameters()) {
      const auto size = static_cast<std::size_t>(tensor->numel());
      tensors_.push_back({name, tensor->sizes().vec(), offset, size});
      offset += size;
    }
  }

  std::string text() const override { return text_; }
  const std::vector<TensorSlice>& parameters() const override { return tensors_; }
  std::vector<float> initial(std::uint64_t seed) const override {
    LanguageModel model(config_, seed);
    std::vector<float> point;
    point.reserve(layout_size(tensors_));
    for (const auto& [name, tensor] : model.parameters()) {
      const at::Tensor dense = tensor->contiguous();
      point.insert(point.end(), dense.data_ptr<float>(), dense.data_ptr<float>() + dense.numel());
    }
    return point;
  }
  std::int64_t examples() const override { return examples_; }
  const std::vector<std::int32_t>& labels() const override { return labels_; }
  std::string unit() const override { return "tokens"; }
  std::unique_ptr<TrainingReplica> replica() const override { return std::make_unique<Replica>(*this); }

 private:
  class Replica final : public TensorReplica {
   public:
    explicit Replica(const LanguageTask& task)
        : TensorReplica(task.tensors_, task.held_out_, 16), task_(task), model_(task.config_, 0) {
      const auto places = model_.parameters();
      for (std::size_t i = 0; i < places.size(); ++i) *places[i].second = tensors()[i];
    }

   private:
    at::Tensor mean_loss(std::span<const std::int64_t> examples) override {
      return loss_of(task_.train_, examples, at::Reduction::Mean);
    }
    HeldOutSums held_out_sums(std::span<const std::int64_t> examples) override {
      return {loss_of(task_.test_, examples, at::Reduction::Sum).item<double>(),
              static_cast<std::int64_t>(examples.size()) * task_.test_.context(), std::nullopt};
    }

    at::Tensor loss_of(const TextWindows& windows, std::span<const std::int64_t> examples,
                       std::int64_t reduction) const {
      const auto count = static_cast<std::int64_t>(examples.size());
      const std::int64_t context = windows.context();
      const at::Tensor inputs = at::empty({count, context}, at::kLong);
      const at::Tensor targets = at::empty({count, context}, at::kLong);
      std::int64_t* input = inputs.data_ptr<std::int64_t>();
      std::int64_t* target = targets.data_ptr<std::int64_t>();
      for (const std::int64_t example : examples) {
        const auto window = windows.window(example);
        input = std::copy(window.begin(), window.end() - 1, input);
        target = std::copy(window.begin() + 1, window.end(), target);
      }
      const at::Tensor logits = model_.logits(inputs);
      return at::cross_entropy_loss(logits.view({-1, logits.size(-1)}), targets.view({-1}), {}, reduction);
    }

    const LanguageTask& task_;
    LanguageModel model_;
  };

  TextWindows train_, test_;
  std::int64_t examples_, held_out_;
  ModelConfig config_;
  std::string text_;
  std::vector<TensorSlice> tensors_;
  std::vector<std::int32_t> labels_;  // none
};

}  // namespace

std::unique_ptr<TrainingTask> make_language_task(const TaskData& data, TaskOptions& options) {
  prepare_libtorch();
  const auto& text = data.as<TextData>("lm");
  ModelConfig config;
  config.layers = options.take_count("layers", 4, 1, 64);
  config.hidden = options.take_count("width", 128, 2, 8192);
  config.heads = config.kv_heads = options.take_count("heads", 4, 1, 64);
  config.intermediate = options.take_count("mlp", 384, 1, 1 << 15);
  config.max_positions = options.take_count("context", 128, 1, 8192);
  if (config.hidden % (2 * config.heads) != 0)
    fail(ErrorKind::usage, "width is a multiple of twice the heads", "width");
  config.head_dim = config.hidden / config.heads;
  config.tied_embeddings = true;
  const std::int64_t vocabulary = options.take_count("vocabulary", 0, 0, 1 << 16);
  if (vocabulary > 0 && vocabulary < 256)
    fail(ErrorKind::usage, "a byte-level vocabulary has 256 pieces or more", "vocabulary",
         "0 trains on bytes themselves");
  const auto kept = [&](const char* name) {
    const std::int64_t count = options.take_count(name, 0, 0, std::int64_t{1} << 40);
    return count == 0 ? std::int64_t{1} << 40 : count;
  };
  const std::int64_t train = kept("examples"), test = kept("test-examples");
  options.finish();
  TaskTokens tokens = tokens_of(text, vocabulary);
  config.vocabulary = tokens.vocabulary;
  return std::make_unique<LanguageTask>(TextWindows(std::move(tokens.train), config.max_positions, data.name),
                                        TextWindows(std::move(tokens.test), config.max_positions, data.name),
                                        train, test, config, task_text(data, "lm", options));
}

}  // namespace laconic::lab
