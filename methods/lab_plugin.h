// The narrow door between Laconic and its LibTorch lab. The engine, the methods and the command line see only
// this header; liblaconic_lab.so is opened on first need and everything works without it except what needs
// gradients.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/progress.h"
#include "engine/tensor/tensor.h"
#include "methods/gradients/bytescale/mixed_length_training.h"
#include "methods/gradients/training/training_task.h"
#include "runtime/model_config.h"

namespace laconic {

// Raised with every change of the classes below: a plug-in of another version is refused.
inline constexpr int lab_plugin_version = 6;

// One part of a curriculum of text and retrieval documents (runtime/corpus/retrieval.h).
struct CurriculumStage {
  std::int64_t context = 0;  // tokens of each window; at most that of the model
  double steps = 0;          // share of all steps; the shares of all stages add up to 1
  // Shares of windows: running text; needles in text; needles that all stand near the beginning. The others
  // are associative recall and copies.
  double text = 0, needles = 0, far_needles = 0;
};

// Training of a small Llama-type language model from text. Half of the windows are those of evaluation
// protocol P1: a document is tokenised once and cut into windows of at most `context` tokens, each starting
// with BOS. In the other half short documents follow each other, so that every position is trained. The
// defaults are the recipe of the bundled model.
struct TrainLanguageModelRequest {
  std::filesystem::path output;  // becomes a Hugging Face model directory
  bool replace = false;          // --force

  std::int64_t layers = 6, hidden = 128, heads = 4, kv_heads = 2, head_dim = 32, mlp = 128;
  std::int64_t vocabulary = 1024;  // of the byte-level BPE that is trained on the text
  std::int64_t context = 512;
  double rope_theta = 10000;

  // Training texts: files, or names of text sets of the data directory (the part to train on); none: the
  // story generator. With a curriculum, generated stories come beside them.
  std::vector<std::string> text;
  std::uint64_t stories = 30000;    // generated training stories
  std::filesystem::path held_out;   // text for the final perplexity; empty: 400 held-out stories, or the last
                                    // 2 % of the documents of `text`, which are then not trained on
  std::filesystem::path tokenizer;  // a model directory whose tokenizer is used; empty: trained on the text
  std::filesystem::path data;       // where named text sets are
  std::filesystem::path
      from;                   // a model directory of the same shape whose weights and tokenizer are the start
  bool split_digits = false;  // the trained tokenizer makes every digit a token

  // Empty: windows of text of all lengths. Otherwise windows are exactly as long as their stage says, and
  // every step has about batch_tokens tokens of them.
  std::vector<CurriculumStage> curriculum;
  double answer_weight = 1;  // in a curriculum: of targets that follow from what stands before
  double given_weight = 1;   // in a curriculum: of targets that were drawn at random

  bool induction_start =
      false;  // initial weights that look up from the start (lab/training/induction_start.h)
  std::int64_t steps = 4000;
  std::int64_t batch_tokens = 1024;  // scored tokens per step, about
  double learning_rate = 3e-3;
  double final_learning_rate = 0.01;  // of the cosine's end, as a share of learning_rate
  std::int64_t warmup_steps = 100;
  double weight_decay = 0.0;  // on matrices, not on norms
  double beta1 = 0.9, beta2 = 0.95;
  double gradient_clip = 1.0;           // largest global l2 norm
  std::uint64_t seed = 1;               // stories, initial weights and order of the data
  int threads = 2;                      // results repeat for the same number of threads
  std::int64_t checkpoint_every = 250;  // steps; an interrupted run continues from the last one
  std::int64_t evaluate_every = 250;    // steps between held-out losses in loss.tsv
  ProgressListener progress;
};

// A request with the values of a published recipe: "stories" (the defaults, the bundled story model) or
// "long" (a model whose long context matters: curriculum of text and retrieval documents). Throws
// Error(usage) with the names that there are.
TrainLanguageModelRequest training_recipe(std::string_view name);

struct TrainLanguageModelResult {
  std::int64_t parameters = 0, steps = 0, trained_tokens = 0;
  std::int64_t resumed_from = 0;  // step
  double perplexity = 0;          // of the stored bf16 weights on the held-out text, protocol P1
  double training_loss = 0;       // nats per token, mean of the last 50 steps
  std::int64_t scored_tokens = 0;
  std::uint64_t safetensors_bytes = 0;
  double seconds = 0;  // of this run
};

// Squared gradients of the summed loss with respect to the outputs of each linear layer, summed over tokens
// and divided by their number: the diagonal of the empirical Fisher information, per row.
struct OutputGradients {
  // [layer][LinearSlot][out]
  std::vector<std::vector<std::vector<double>>> squared;
  std::int64_t tokens = 0;
};

// Card 50 part D. Integer codes stay; steps, offsets and norms of one block move towards the dense block's
// outputs.
struct BlockLinearGrid {
  LinearSlot slot = LinearSlot::q;
  std::int64_t rows = 0, columns = 0, group = 0;  // the last group of a row may be short
  std::vector<std::int8_t> codes;                 // [rows, columns]
  std::vector<float> step, offset;                // [rows, ceil(columns / group)], w = step * code + offset
};

struct BlockReconstructionRequest {
  std::filesystem::path model;  // the dense directory: configuration, biases, layers that are not compressed
  std::int64_t layer = 0;
  std::vector<BlockLinearGrid> grids;
  std::vector<float> input_norm, post_attention_norm;  // [hidden], where they start
  // One entry per sequence, [tokens, hidden]: the block's input from the compressed prefix, and the dense
  // block's output on the dense prefix.
  std::vector<std::vector<float>> inputs, targets;
  int epochs = 4;
  double learning_rate = 1e-5, beta1 = 0.9, beta2 = 0.99, epsilon = 2e-5, weight_decay = 1e-6;
  bool train_norms = true;
  std::uint64_t seed = 0;  // order of the sequences
  int threads = 0;         // 0: one per core
  ProgressListener progress;
};

struct BlockReconstructionResult {
  std::vector<BlockLinearGrid> grids;  // codes unchanged
  std::vector<float> input_norm, post_attention_norm;
  double error_before = 0, error_after = 0;  // mean squared error over all sequences
};

// Card 20. The two factors of one projection, trained so that up (down x) approaches W x: mean squared error
// over outputs and tokens, AdamW, one batch of inputs per step, a rate that falls linearly to 0.
struct LatentTrainingRequest {
  std::int64_t inputs = 0, outputs = 0, rank = 0;
  std::vector<float> weight;  // [outputs, inputs]
  std::vector<float> down;    // [rank, inputs], where it starts
  std::vector<float> up;      // [outputs, rank]
  std::int64_t batches = 0;
  std::function<std::span<const float>(std::int64_t index)> batch;  // x [tokens, inputs], tokens in order
  std::int64_t steps = 0;
  double learning_rate = 5e-5, beta1 = 0.9, beta2 = 0.999;
  // Below 16, latents pass through uniform grids on the way: of a channel over `group` tokens, or of a token
  // over `group` channels. Gradients pass straight through the rounding and reach the ends of the grids.
  int bits = 16;
  bool by_channel = false;
  std::int64_t group = 32;
  bool contains_zero = false;  // the grid's range must contain 0
  std::uint64_t seed = 0;
  std::string name;  // keys the order of the batches
};

struct LatentTrainingResult {
  std::vector<float> down, up;
  double error_before = 0, error_after = 0;  // over all batches, grids included
};

// Card 62. Orthogonal bases U = (I - A/2)^-1 (I + A/2), A = X - X^T (engine/math/cayley.h), of the keys
// (turned) and values of every KV head, and means, trained through the frozen model: every step draws for
// every head how many columns are kept, and the loss is kl_weight KL(model || model with projected keys and
// values) + cross_entropy_weight next-token cross entropy. AdamW, cosine with warm-up.
struct ProjectionTrainingRequest {
  std::filesystem::path model;  // a dense directory
  std::vector<std::vector<std::int32_t>> windows, held_out;
  std::vector<float> x;             // [layers, 2 (keys, values), kv_heads, head_dim, head_dim]
  std::vector<float> mean;          // [layers, 2, kv_heads, head_dim]
  std::vector<std::int64_t> ranks;  // that are drawn from; empty: the eighths of head_dim
  std::int64_t judged_rank = 0;     // of all heads, on the held-out windows; 0: half of head_dim
  double kl_weight = 0.25, cross_entropy_weight = 0.75;
  // Share of each window that is read exactly and whose keys and values are then projected; the rest, exact
  // itself, is predicted. 0: everything is projected, and everything predicted.
  double prompt_share = 0;
  std::int64_t steps = 0, sequences = 4;  // windows per step
  std::int64_t warmup_steps = 100;
  double learning_rate = 1e-3, gradient_clip = 1.0, beta1 = 0.9, beta2 = 0.999;
  std::uint64_t seed = 0;
  int threads = 0;                   // 0: one per core; results repeat for the same number
  std::filesystem::path checkpoint;  // a file; an interrupted training goes on from it. Empty: none
  std::int64_t checkpoint_every = 50;
  ProgressListener progress;
};

struct ProjectionTrainingResult {
  std::vector<float> x;  // zero on and above the diagonal; columns of its bases may have changed their signs
  std::vector<float> mean;
  double kl_before = 0, kl_after = 0;  // on the held-out windows, judged_rank columns everywhere
  std::int64_t resumed_from = 0;       // step
};

class LabPlugin {
 public:
  virtual ~LabPlugin() = default;
  virtual TrainLanguageModelResult train_language_model(const TrainLanguageModelRequest& request) const = 0;
  // `windows`: token ids; every token after the first of a window is a target.
  virtual OutputGradients output_gradients(const std::filesystem::path& model,
                                           const std::vector<std::vector<std::int32_t>>& windows,
                                           const ProgressListener& progress = {}) const = 0;
  virtual BlockReconstructionResult block_reconstruction(const BlockReconstructionRequest& request) const = 0;
  virtual LatentTrainingResult latent_training(const LatentTrainingRequest& request) const = 0;
  virtual ProjectionTrainingResult projection_training(const ProjectionTrainingRequest& request) const = 0;
  // Logits [tokens, vocabulary] of the lab's copy of a dense model: the check that it is the runtime's model.
  virtual std::vector<float> logits(const std::filesystem::path& model,
                                    std::span<const std::int32_t> tokens) const = 0;
  // Networks as training tasks: "mlp", "cnn", "resnet" and "vit" over pictures, "lm" over text.
  virtual std::unique_ptr<TrainingTask> training_task(const TaskRequest& request) const = 0;
  // Card 30: training by plans on ranks of this machine, and the coefficients that plans are made with.
  virtual bytescale::MixedLengthResult mixed_length_training(
      const bytescale::MixedLengthRequest& request) const = 0;
  virtual bytescale::StepCosts profile_lengths(const bytescale::LengthProfileRequest& request) const = 0;
};

// The plug-in, opened on the first call: from LACONIC_LAB when set, else beside the program, beside
// liblaconic, or from the system's library path. Throws Error(unsupported) that says how to build it when it
// is missing, too old or broken.
LabPlugin& load_lab();

}  // namespace laconic

// What the plug-in exports.
extern "C" {
using laconic_lab_version_function = int (*)();
using laconic_lab_function = laconic::LabPlugin* (*)();
}
