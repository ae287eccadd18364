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
#include "lab/training/curriculum.h"
#include "lab/training/induction_start.h"
#include "lab/training/retrieval_probe.h"
#include "lab/training/training_text.h"
#include "lab/training/windows.h"
#include "lab/training/workers.h"
#include "runtime/corpus/retrieval.h"
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
  refuse(!(request.answer_weight >= 0 && request.answer_weight <= 1000), "a weight between 0 and 1000",
         "--answer-weight", "choose another");
  refuse(!(request.given_weight >= 0 && request.given_weight <= 1000), "a weight between 0 and 1000",
         "--given-weight", "choose another");
  double shares = 0;
  for (const CurriculumStage& stage : request.curriculum) {
    refuse(stage.context < 64 || stage.context > request.context,
           "windows of a stage have between 64 tokens and the model's context", "--curriculum",
           "choose another length");
    refuse(!(stage.steps > 0 && stage.steps <= 1) ||
               !(stage.text >= 0 && stage.needles >= 0 && stage.far_needles >= 0 &&
                 stage.text + stage.needles + stage.far_needles <= 1),
           "shares of a stage lie between 0 and 1", "--curriculum",
           "CONTEXT:STEPS:TEXT:NEEDLES:FAR, e.g. 256:0.4:0.5:0.3:0");
    shares += stage.steps;
  }
  refuse(!request.curriculum.empty() && std::abs(shares - 1) > 1e-6,
         "the stages' shares of the steps add up to 1", "--curriculum",
         "e.g. --curriculum 256:0.5:0.4:0.3:0 --curriculum 1024:0.5:0.4:0.3:0");
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

std::string hash_of(const std::vector<Window>& windows) {
  StreamingHash128 data;
  for (const Window& window : windows) data.update(std::as_bytes(std::span(window)));
  return to_hex(data.digest());
}

// Everything that decides the weights: a checkpoint of another run is not continued.
std::string describe_run(const TrainLanguageModelRequest& r, const std::string& data, int workers) {
  std::string text = fmt::format(
      "layers {} hidden {} heads {} kv {} dim {} mlp {} context {} theta {} steps {} batch {} lr {} end {} "
      "warmup {} "
      "decay {} betas {} {} clip {} seed {} workers {} data {}",
      r.layers, r.hidden, r.heads, r.kv_heads, r.head_dim, r.mlp, r.context, r.rope_theta, r.steps,
      r.batch_tokens, r.learning_rate, r.final_learning_rate, r.warmup_steps, r.weight_decay, r.beta1,
      r.beta2, r.gradient_clip, r.seed, workers, data);
  if (r.induction_start) text += " induction start";
  if (!r.from.empty())
    text += " from " + to_hex(xxh3_128(as_byte_span(read_text_file(r.from / "model.safetensors"))));
  if (r.curriculum.empty()) return text;
  text += fmt::format(" answers {} given {} retrieval {} stories {}", r.answer_weight, r.given_weight,
                      retrieval_generator_version, story_generator_version);
  for (const CurriculumStage& stage : r.curriculum)
    text += fmt::format(" stage {} {} {} {} {}", stage.context, stage.steps, stage.text, stage.needles,
                        stage.far_needles);
  return text;
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

// Summed nats of a batch's targets, each times its weight; keeps the graph for backward.
at::Tensor summed_loss(const LanguageModel& model, const Batch& batch) {
  const at::Tensor logits = model.logits(batch.inputs);
  const at::Tensor rows = logits.view({-1, logits.size(-1)}), targets = batch.targets.view({-1});
  if (!batch.weights.defined()) return at::cross_entropy_loss(rows, targets, {}, at::Reduction::Sum);
  return at::cross_entropy_loss(rows, targets, {}, at::Reduction::None).dot(batch.weights.view({-1}));
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
      std::vector<TrainingExample> part;
      for (std::size_t i = b * batch; i < std::min(count, (b + 1) * batch); ++i)
        part.push_back({windows[i], {}});
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

constexpr const char* loss_header = "step\ttokens\tlearning_rate\tloss\tgradient_norm\theld_out\tseconds\n";
constexpr const char* retrieval_header =
    "step\tcontext\tdepth_0\tdepth_1/4\tdepth_1/2\tdepth_3/4\tdepth_1\tnats\n";

// A log of a resumed run: the lines before the step it goes on from.
std::string kept_lines(const std::filesystem::path& file, const char* header, std::int64_t resumed_from) {
  std::string kept = header;
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

LanguageModel initial_model(const TrainLanguageModelRequest& request, const ModelConfig& config) {
  if (!request.from.empty()) {
    LanguageModel model = LanguageModel::load(request.from);
    const std::string had = llama_config_json(model.config()), wanted = llama_config_json(config);
    if (had != wanted) {
      fail(ErrorKind::usage, "the model to start from has another shape", request.from.string(),
           "give --layers, --hidden and the others its values, or the recipe that it was made with");
    }
    return model;
  }
  LanguageModel model(config, request.seed);
  if (request.induction_start) start_with_induction(model, request.seed);
  return model;
}

class Run {
 public:
  // `data`: a hash of what `source` draws from. `probes`: one per length of window, or none.
  Run(const TrainLanguageModelRequest& request, const ModelConfig& config, ExampleSource& source,
      const std::string& data, const std::vector<Window>& held_out, const std::vector<RetrievalProbe>& probes,
      const std::filesystem::path& directory)
      : request_(request),
        source_(source),
        held_out_(held_out),
        probes_(probes),
        directory_(directory),
        workers_(worker_count(request.threads)),
        replicas_(static_cast<std::size_t>(workers_), initial_model(request, config)),
        optimizer_(replica_parameters(replicas_),
                   {request.beta1, request.beta2, 1e-8, request.weight_decay, true}),
        description_(describe_run(request, data, workers_)) {
    result_.parameters = optimizer_.parameters();
    result_.resumed_from = load_checkpoint(checkpoint_file(), description_, optimizer_);
    for (std::int64_t step = 0; step < result_.resumed_from; ++step) tokens_ += source_.tokens(step);
    losses_ = kept_lines(directory_ / "loss.tsv", loss_header, result_.resumed_from);
    if (!probes_.empty()) found_ = kept_lines(retrieval_file(), retrieval_header, result_.resumed_from);
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
    write_logs();
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

  void train_step(std::int64_t step) {
    const std::vector<TrainingExample> windows = source_.examples(step);
    double weight = 0;
    for (const TrainingExample& window : windows) weight += window.weight();
    std::vector<double> nats(static_cast<std::size_t>(workers_));
    run_together(workers_, [&](int worker) {
      std::vector<TrainingExample> share;
      for (std::size_t i = static_cast<std::size_t>(worker); i < windows.size();
           i += static_cast<std::size_t>(workers_)) {
        share.push_back(windows[i]);
      }
      if (share.empty()) return;
      const at::Tensor loss = summed_loss(replicas_[static_cast<std::size_t>(worker)], make_batch(share));
      (loss / weight).backward();
      nats[static_cast<std::size_t>(worker)] = loss.item<double>();
    });
    double loss = 0;
    for (double part : nats) loss += part / weight;
    if (!std::isfinite(loss)) {
      fail(ErrorKind::input, fmt::format("the loss is not finite at step {}", step), "training",
           "choose a smaller learning rate or a longer warm-up");
    }
    const double rate = learning_rate_at(request_, step);
    const double norm = optimizer_.step(rate, request_.gradient_clip);
    tokens_ += source_.tokens(step);
    recent_.push_back(loss);
    if (recent_.size() > 50) recent_.erase(recent_.begin());

    const bool evaluate = (step + 1) % request_.evaluate_every == 0 || step + 1 == request_.steps;
    std::string held_out;
    if (evaluate) held_out = fmt::format("{:.5f}", held_out_loss(replicas_, held_out_, 64));
    const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
    losses_ += fmt::format("{}\t{}\t{:.6g}\t{:.5f}\t{:.4f}\t{}\t{:.1f}\n", step + 1, tokens_, rate, loss,
                           norm, held_out, seconds);
    if (evaluate) probe(step + 1);
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
    write_logs();
  }

  std::filesystem::path retrieval_file() const { return directory_ / "retrieval.tsv"; }
  void write_logs() const {
    write_file(directory_ / "loss.tsv", losses_);
    if (!probes_.empty()) write_file(retrieval_file(), found_);
  }

  void probe(std::int64_t step) {
    for (const RetrievalProbe& needles : probes_) {
      found_ += fmt::format("{}\t{}", step, needles.context());
      const RetrievalProbe::Result result = needles.measure(replicas_);
      for (const double share : result.found) found_ += fmt::format("\t{:.3f}", share);
      found_ += fmt::format("\t{:.4f}\n", result.nats);
    }
    write_logs();
  }

  const TrainLanguageModelRequest& request_;
  ExampleSource& source_;
  const std::vector<Window>& held_out_;
  const std::vector<RetrievalProbe>& probes_;
  std::filesystem::path directory_;
  int workers_;
  std::vector<LanguageModel> replicas_;
  AdamW optimizer_;
  std::string description_, losses_, found_;
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

std::vector<Window> text_windows(const Tokenizer& tokenizer, const ModelConfig& config,
                                 const TrainingText& text) {
  std::vector<std::vector<std::int32_t>> documents;
  for (const std::vector<std::string>& source : text.sources) {
    for (std::vector<std::int32_t>& tokens : tokenize(tokenizer, source))
      documents.push_back(std::move(tokens));
  }
  return training_windows(documents, static_cast<std::int32_t>(config.bos_token),
                          static_cast<std::int32_t>(config.eos_tokens.front()), config.max_positions);
}

// Needles in windows of the shortest and of the longest stage.
std::vector<RetrievalProbe> probes_of(const TrainLanguageModelRequest& request, const Tokenizer& tokenizer) {
  constexpr std::int64_t needles_per_depth = 8;
  std::vector<std::int64_t> lengths;
  for (const CurriculumStage& stage : request.curriculum) lengths.push_back(stage.context);
  const auto [shortest, longest] = std::minmax_element(lengths.begin(), lengths.end());
  std::vector<RetrievalProbe> probes;
  probes.emplace_back(tokenizer, *shortest, needles_per_depth, request.seed);
  if (*longest > *shortest) probes.emplace_back(tokenizer, *longest, needles_per_depth, request.seed);
  return probes;
}

}  // namespace

TrainLanguageModelResult train_language_model(const TrainLanguageModelRequest& request) {
  check(request);
  prepare_libtorch();
  const Clock::time_point start = Clock::now();
  StagedDirectory staged(request.output, request.replace);
  const std::filesystem::path& directory = staged.partial();

  TrainingText text = training_text(request);
  place_tokenizer(request, text, directory);
  const std::unique_ptr<Tokenizer> tokenizer = Tokenizer::load(directory);
  if (!tokenizer->bos()) {
    fail(ErrorKind::unsupported, "the tokenizer has no token that starts a text", directory.string(),
         "use one with a BOS token, or let one be trained");
  }
  const ModelConfig config = configuration(request, *tokenizer);
  write_file(directory / "config.json", llama_config_json(config));
  std::vector<Window> windows;
  std::unique_ptr<ExampleSource> source;
  std::string data;
  std::vector<RetrievalProbe> probes;
  if (request.curriculum.empty()) {
    windows = text_windows(*tokenizer, config, text);
    source = std::make_unique<BatchOrder>(windows, request.batch_tokens, request.seed);
    data = hash_of(windows);
  } else {
    auto curriculum = std::make_unique<CurriculumSource>(request, *tokenizer, std::move(text.sources));
    data = curriculum->text_hash();
    source = std::move(curriculum);
    probes = probes_of(request, *tokenizer);
  }
  const EvaluationWindows evaluation =
      make_windows(*tokenizer, config, text.held_out, std::min<std::int64_t>(config.max_positions, 512));

  TrainLanguageModelResult result;
  std::filesystem::path checkpoint;
  {
    const std::vector<Window> held_out = held_out_windows(evaluation);
    Run run(request, config, *source, data, held_out, probes, directory);
    result = run.train();
    run.model().save(directory);
    checkpoint = run.checkpoint_file();
  }
  // The figure belongs to the file: the runtime reads the stored weights back.
  const TextEvaluation figure = evaluate(Transformer::load(directory), evaluation, request.progress);
  result.perplexity = figure.perplexity;
  result.scored_tokens = figure.tokens;
  result.safetensors_bytes = std::filesystem::file_size(directory / "model.safetensors");
  std::filesystem::remove(checkpoint);  // only now: an interrupted evaluation must not cost the training
  staged.commit();
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  return result;
}

}  // namespace laconic::lab
