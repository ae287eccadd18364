#include "lab/training/language_model_trainer.h"

#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <torch/autograd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/hash.h"
#include "engine/base/threads.h"
#include "lab/language_model.h"
#include "lab/training/adamw.h"
#include "lab/training/checkpoint.h"
#include "lab/training/training_text.h"
#include "lab/training/windows.h"
#include "lab/training/workers.h"
#include "runtime/corpus/stories.h"
#include "runtime/evaluation/perplexity.h"
#include "runtime/tokenizer/tokenizer.h"

namespace laconic::lab {
namespace {

using Clock = std::chrono::steady_clock;

void check(const TrainLanguageModelRequest& request) {
  const auto refuse = [](bool wrong, const char* what, const char* option, const char* advice) {
    if (wrong) fail(ErrorKind::usage, what, option, advice);
  };
  refuse(request.output.empty(), "no output directory", "--out", "name one");
  refuse(request.layers < 1 || request.layers > 256, "between 1 and 256 layers", "--layers",
         "choose another number");
  refuse(request.hidden < 8 || request.hidden > 65536, "hidden width between 8 and 65536", "--hidden",
         "choose another");
  refuse(request.head_dim < 2 || request.head_dim % 2 != 0 || request.head_dim > 1024,
         "the head dimension is even, 2 to 1024", "--head-dim", "rotary positions turn pairs");
  refuse(request.heads < 1 || request.kv_heads < 1 || request.heads % request.kv_heads != 0,
         "heads are a multiple of KV heads", "--heads", "choose e.g. 6 and 2");
  refuse(request.mlp < 1 || request.mlp > 262144, "MLP width between 1 and 262144", "--mlp",
         "choose another");
  refuse(request.vocabulary < 258 || request.vocabulary > 262144,
         "at least 258 pieces: 256 bytes and two more", "--vocabulary", "choose 512 or more");
  refuse(request.context < 8 || request.context > 131072, "context between 8 and 131072 tokens", "--context",
         "choose another");
  refuse(request.steps < 1, "at least one step", "--steps", "choose more");
  refuse(request.batch_tokens < 1, "at least one token per step", "--batch", "choose more");
  refuse(!(request.learning_rate > 0) || !std::isfinite(request.learning_rate), "a positive learning rate",
         "--lr", "e.g. 0.003");
  refuse(request.threads < 0 || request.threads > 1024, "between 0 and 1024 threads", "--threads",
         "choose fewer");
}

ModelConfig configuration(const TrainLanguageModelRequest& request, const Tokenizer& tokenizer) {
  ModelConfig config;
  config.family = ModelFamily::llama;
  config.model_type = "llama";
  config.vocabulary = tokenizer.size();
  config.hidden = request.hidden;
  config.intermediate = request.mlp;
  config.layers = request.layers;
  config.heads = request.heads;
  config.kv_heads = request.kv_heads;
  config.head_dim = request.head_dim;
  config.max_positions = request.context;
  config.rms_norm_eps = 1e-5;
  config.rope_theta = request.rope_theta;
  config.tied_embeddings = true;
  config.bos_token = *tokenizer.bos();
  config.eos_tokens = {tokenizer.eos().value_or(*tokenizer.bos())};
  return config;
}

// Everything that decides the weights: a checkpoint of another run is not continued.
std::string describe_run(const TrainLanguageModelRequest& r, const std::vector<Window>& windows,
                         int workers) {
  StreamingHash128 data;
  for (const Window& window : windows) data.update(std::as_bytes(std::span(window)));
  return fmt::format(
      "layers {} hidden {} heads {} kv {} dim {} mlp {} context {} theta {} steps {} batch {} lr {} end {} "
      "warmup {} "
      "decay {} betas {} {} clip {} seed {} workers {} data {}",
      r.layers, r.hidden, r.heads, r.kv_heads, r.head_dim, r.mlp, r.context, r.rope_theta, r.steps,
      r.batch_tokens, r.learning_rate, r.final_learning_rate, r.warmup_steps, r.weight_decay, r.beta1,
      r.beta2, r.gradient_clip, r.seed, workers, to_hex(data.digest()));
}

double learning_rate_at(const TrainLanguageModelRequest& request, std::int64_t step) {
  if (step < request.warmup_steps) {
    return request.learning_rate * static_cast<double>(step + 1) / static_cast<double>(request.warmup_steps);
  }
  const double length = static_cast<double>(std::max<std::int64_t>(1, request.steps - request.warmup_steps));
  const double done = static_cast<double>(step - request.warmup_steps) / length;
  const double cosine = 0.5 * (1 + std::cos(std::numbers::pi * done));
  return request.learning_rate * (request.final_learning_rate + (1 - request.final_learning_rate) * cosine);
}

// Summed nats of a batch's targets; keeps the graph for backward.
at::Tensor summed_loss(const LanguageModel& model, const Batch& batch) {
  const at::Tensor logits = model.logits(batch.inputs);
  return at::cross_entropy_loss(logits.view({-1, logits.size(-1)}), batch.targets.view({-1}), {},
                                at::Reduction::Sum);
}

// Mean nats per token over windows, without gradients.
double held_out_loss(const std::vector<LanguageModel>& replicas, const std::vector<Window>& windows,
                     std::size_t limit) {
  constexpr std::size_t batch = 8;
  const std::size_t count = std::min(limit, windows.size()), batches = (count + batch - 1) / batch;
  std::vector<double> nats(batches), tokens(batches);
  run_together(static_cast<int>(replicas.size()), [&](int worker) {
    const c10::NoGradGuard no_gradient;
    for (std::size_t b = static_cast<std::size_t>(worker); b < batches; b += replicas.size()) {
      std::vector<const Window*> part;
      for (std::size_t i = b * batch; i < std::min(count, (b + 1) * batch); ++i) part.push_back(&windows[i]);
      const Batch made = make_batch(part);
      nats[b] = summed_loss(replicas[static_cast<std::size_t>(worker)], made).item<double>();
      tokens[b] = static_cast<double>(made.scored);
    }
  });
  double sum = 0, scored = 0;
  for (std::size_t b = 0; b < batches; ++b) {
    sum += nats[b];
    scored += tokens[b];
  }
  return sum / scored;
}

// loss.tsv of a resumed run: the lines before the step it goes on from.
std::string kept_loss_lines(const std::filesystem::path& file, std::int64_t resumed_from) {
  std::string kept = "step\ttokens\tlearning_rate\tloss\tgradient_norm\theld_out\tseconds\n";
  if (resumed_from == 0 || !std::filesystem::exists(file)) return kept;
  const std::string text = read_text_file(file);
  for (std::size_t begin = text.find('\n') + 1; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size() - 1);
    const std::string line = text.substr(begin, end - begin + 1);
    if (std::atoll(line.c_str()) <= resumed_from) kept += line;
    begin = end + 1;
  }
  return kept;
}

class Run {
 public:
  Run(const TrainLanguageModelRequest& request, const ModelConfig& config, const std::vector<Window>& windows,
      const std::vector<Window>& held_out, const std::filesystem::path& directory)
      : request_(request),
        held_out_(held_out),
        directory_(directory),
        workers_(worker_count(request.threads)),
        replicas_(static_cast<std::size_t>(workers_), LanguageModel(config, request.seed)),
        optimizer_(replica_parameters(replicas_),
                   {request.beta1, request.beta2, 1e-8, request.weight_decay, true}),
        order_(windows, request.batch_tokens, request.seed),
        description_(describe_run(request, windows, workers_)) {
    result_.parameters = optimizer_.parameters();
    result_.resumed_from = load_checkpoint(checkpoint_file(), description_, optimizer_);
    for (std::int64_t step = 0; step < result_.resumed_from; ++step)
      tokens_ += scored_tokens(order_.batch(step));
    losses_ = kept_loss_lines(directory_ / "loss.tsv", result_.resumed_from);
  }

  LanguageModel& model() { return replicas_.front(); }
  std::filesystem::path checkpoint_file() const { return directory_ / "checkpoint.safetensors"; }

  TrainLanguageModelResult train() {
    for (std::int64_t step = result_.resumed_from; step < request_.steps; ++step) {
      if (interrupt_requested()) {
        keep(step);
        throw_if_interrupted();
      }
      train_step(step);
      if ((step + 1) % request_.checkpoint_every == 0 && step + 1 < request_.steps) keep(step + 1);
    }
    write_file(directory_ / "loss.tsv", losses_);
    result_.steps = request_.steps;
    result_.trained_tokens = tokens_;
    double sum = 0;
    for (double loss : recent_) sum += loss;
    if (!recent_.empty()) result_.training_loss = sum / static_cast<double>(recent_.size());
    return result_;
  }

 private:
  static std::vector<NamedParameters> replica_parameters(std::vector<LanguageModel>& replicas) {
    std::vector<NamedParameters> all;
    for (LanguageModel& replica : replicas) all.push_back(replica.parameters());
    return all;
  }

  static std::int64_t scored_tokens(const std::vector<const Window*>& windows) {
    std::int64_t scored = 0;
    for (const Window* window : windows) scored += static_cast<std::int64_t>(window->size()) - 1;
    return scored;
  }

  void train_step(std::int64_t step) {
    const std::vector<const Window*>& windows = order_.batch(step);
    const std::int64_t scored = scored_tokens(windows);
    std::vector<double> nats(static_cast<std::size_t>(workers_));
    run_together(workers_, [&](int worker) {
      std::vector<const Window*> share;
      for (std::size_t i = static_cast<std::size_t>(worker); i < windows.size();
           i += static_cast<std::size_t>(workers_)) {
        share.push_back(windows[i]);
      }
      if (share.empty()) return;
      const at::Tensor loss = summed_loss(replicas_[static_cast<std::size_t>(worker)], make_batch(share));
      (loss / static_cast<double>(scored)).backward();
      nats[static_cast<std::size_t>(worker)] = loss.item<double>();
    });
    double loss = 0;
    for (double part : nats) loss += part / static_cast<double>(scored);
    if (!std::isfinite(loss)) {
      fail(ErrorKind::input, fmt::format("the loss is not finite at step {}", step), "training",
           "choose a smaller learning rate or a longer warm-up");
    }
    const double rate = learning_rate_at(request_, step);
    const double norm = optimizer_.step(rate, request_.gradient_clip);
    tokens_ += scored;
    recent_.push_back(loss);
    if (recent_.size() > 50) recent_.erase(recent_.begin());

    const bool evaluate = (step + 1) % request_.evaluate_every == 0 || step + 1 == request_.steps;
    std::string held_out;
    if (evaluate) held_out = fmt::format("{:.5f}", held_out_loss(replicas_, held_out_, 64));
    const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    losses_ += fmt::format("{}\t{}\t{:.6g}\t{:.5f}\t{:.4f}\t{}\t{:.1f}\n", step + 1, tokens_, rate, loss,
                           norm, held_out, seconds);
    if (request_.progress && (evaluate || Clock::now() - reported_ > std::chrono::milliseconds(200))) {
      reported_ = Clock::now();
      double mean = 0;
      for (double value : recent_) mean += value / static_cast<double>(recent_.size());
      request_.progress({fmt::format("training, loss {:.3f}", mean), step + 1 - result_.resumed_from,
                         request_.steps - result_.resumed_from, seconds});
    }
  }

  void keep(std::int64_t step) {
    require(optimizer_.steps() == step, "checkpoints are taken between steps");
    save_checkpoint(checkpoint_file(), description_, optimizer_);
    write_file(directory_ / "loss.tsv", losses_);
  }

  const TrainLanguageModelRequest& request_;
  const std::vector<Window>& held_out_;
  std::filesystem::path directory_;
  int workers_;
  std::vector<LanguageModel> replicas_;
  AdamW optimizer_;
  BatchOrder order_;
  std::string description_, losses_;
  TrainLanguageModelResult result_;
  std::vector<double> recent_;
  std::int64_t tokens_ = 0;
  Clock::time_point start_ = Clock::now(), reported_ = start_ - std::chrono::seconds(1);
};

std::vector<Window> held_out_windows(const EvaluationWindows& evaluation) {
  std::vector<Window> windows;
  for (const std::vector<std::int32_t>& window : evaluation.windows)
    windows.emplace_back(window.begin(), window.end());
  return windows;
}

}  // namespace

TrainLanguageModelResult train_language_model(const TrainLanguageModelRequest& request) {
  check(request);
  prepare_libtorch();
  const Clock::time_point start = Clock::now();
  StagedDirectory staged(request.output, request.replace);
  const std::filesystem::path& directory = staged.partial();

  const TrainingText text = training_text(request);
  place_tokenizer(request, text, directory);
  const std::unique_ptr<Tokenizer> tokenizer = Tokenizer::load(directory);
  if (!tokenizer->bos()) {
    fail(ErrorKind::unsupported, "the tokenizer has no token that starts a text", directory.string(),
         "use one with a BOS token, or let one be trained");
  }
  const ModelConfig config = configuration(request, *tokenizer);
  write_file(directory / "config.json", llama_config_json(config));
  const std::vector<std::vector<std::int32_t>> documents = tokenize(*tokenizer, text.documents);
  const std::vector<Window> windows =
      training_windows(documents, static_cast<std::int32_t>(config.bos_token),
                       static_cast<std::int32_t>(config.eos_tokens.front()), config.max_positions);
  const EvaluationWindows evaluation =
      make_windows(*tokenizer, config, text.held_out, std::min<std::int64_t>(config.max_positions, 512));

  TrainLanguageModelResult result;
  {
    const std::vector<Window> held_out = held_out_windows(evaluation);
    Run run(request, config, windows, held_out, directory);
    result = run.train();
    run.model().save(directory);
    std::filesystem::remove(run.checkpoint_file());
  }
  // The figure belongs to the file: the runtime reads the stored weights back.
  const TextEvaluation figure = evaluate(Transformer::load(directory), evaluation, request.progress);
  result.perplexity = figure.perplexity;
  result.scored_tokens = figure.tokens;
  result.safetensors_bytes = std::filesystem::file_size(directory / "model.safetensors");
  staged.commit();
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return result;
}

}  // namespace laconic::lab
