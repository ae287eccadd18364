#include "methods/weights/trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "engine/base/bytes.h"
#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/codec/composition.h"
#include "engine/codec/uniform_grid.h"
#include "engine/tensor/safetensors.h"
#include "runtime/artifact/compressed_model.h"
#include "runtime/documents.h"
#include "runtime/fingerprint.h"
#include "runtime/generation/generate.h"
#include "runtime/tokenizer/tokenizer.h"

namespace laconic {
namespace {

constexpr int trial_version = 1;  // of what is measured and how

std::int64_t tokens_of(ReproduceRequest::Scale scale) {
  switch (scale) {
    case ReproduceRequest::Scale::quick:
      return 2000;
    case ReproduceRequest::Scale::standard:
      return 6000;
    case ReproduceRequest::Scale::full:
      return 40000;
  }
  return 6000;
}

std::string target_text(const SizeTarget& target) {
  if (target.bits) return fmt::format("bits {}", *target.bits);
  if (target.ratio) return fmt::format("ratio {}", *target.ratio);
  if (target.size) return fmt::format("size {}", *target.size);
  return "";
}

// The linear layers of a directory: their bytes as stored and their number of weights.
struct LinearBytes {
  std::uint64_t bytes = 0;
  std::int64_t weights = 0;
};

template <typename Visit>
void for_each_linear(const ModelConfig& config, const Visit& visit) {
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    for (int slot = 0; slot < linear_slots; ++slot) {
      visit(layer, static_cast<LinearSlot>(slot), linear_name(layer, static_cast<LinearSlot>(slot)));
    }
  }
}

LinearBytes dense_linear_bytes(const SafetensorsDirectory& tensors, const ModelConfig& config) {
  LinearBytes sum;
  for_each_linear(config, [&](std::int64_t, LinearSlot, const std::string& name) {
    if (!tensors.contains(name)) return;
    sum.bytes += tensors.tensor(name).bytes();
    sum.weights += tensors.tensor(name).elements();
  });
  return sum;
}

LinearBytes compressed_linear_bytes(const CompressedModel& model, const ModelConfig& config) {
  LinearBytes sum;
  for_each_linear(config, [&](std::int64_t, LinearSlot, const std::string& name) {
    if (model.has_payload(name)) {
      const Payload payload = model.payload(name);
      sum.bytes += to_frame(payload).size();
      sum.weights += element_count(payload.shape);
    } else if (model.tensors().contains(name)) {
      sum.bytes += model.tensors().tensor(name).bytes();
      sum.weights += model.tensors().tensor(name).elements();
    }
  });
  return sum;
}

void put_bytes(ArmNumbers& numbers, const LinearBytes& linear, std::uint64_t stored) {
  numbers["linear_bytes"] = static_cast<double>(linear.bytes);
  numbers["linear_bits"] =
      linear.weights == 0 ? 0 : 8.0 * static_cast<double>(linear.bytes) / static_cast<double>(linear.weights);
  numbers["stored_bytes"] = static_cast<double>(stored);
}

}  // namespace

Trial::Trial(const ReproduceRequest& request, TrialSubject subject, ArmCache& cache, TrialOptions options)
    : request_(request),
      subject_(std::move(subject)),
      cache_(cache),
      options_(std::move(options)),
      dense_(Transformer::load(subject_.model)) {
  if (options_.tokens_per_text == 0) options_.tokens_per_text = tokens_of(request.scale);
  const auto tokenizer = Tokenizer::load(subject_.model);
  const std::int64_t context = std::min<std::int64_t>(dense_.config().max_positions, 512);
  StreamingHash128 hash;
  hash.update(to_hex(fingerprint(subject_.model)));
  hash.update(subject_.calibration);
  for (const HeldOutText& text : subject_.held_out) {
    windows_.push_back(
        make_windows(*tokenizer, dense_.config(), text.text, context, options_.tokens_per_text));
    hash.update(text.name);
    for (const auto& window : windows_.back().windows) hash.update(std::as_bytes(std::span(window)));
  }
  data_hash_ = to_hex(hash.digest());
}

std::string Trial::arm_key(std::string_view what) const {
  return fmt::format("trial {}\n{}\ncalibration {} x {}\n{}{}\n", trial_version, data_hash_,
                     options_.calibration_sequences, options_.calibration_window,
                     options_.sample_prompt.empty() ? "" : "prompt " + options_.sample_prompt + '\n', what);
}

ArmNumbers Trial::arm(std::string_view name, std::string_view what,
                      const std::function<ArmNumbers()>& compute) {
  return cache_.arm(fmt::format("{}: {}", subject_.name, name), arm_key(what), compute);
}

ArmNumbers Trial::measure(const Transformer& model) const {
  ArmNumbers numbers;
  for (std::size_t t = 0; t < windows_.size(); ++t) {
    const std::string& text = subject_.held_out[t].name;
    const TextEvaluation result = evaluate_against(model, dense_, windows_[t], request_.progress);
    numbers["ppl." + text] = result.perplexity;
    numbers["kl." + text] = result.kl;
    numbers["top1." + text] = result.top1_agreement;
    for (std::size_t i = 0; i < windows_[t].windows.size(); ++i) {
      const auto at = [&](const char* what) { return fmt::format("{}.{}.{}", what, text, i); };
      numbers[at("nats")] = result.window_nats[i];
      numbers[at("kl")] = result.window_kl[i];
      numbers[at("tokens")] = static_cast<double>(windows_[t].windows[i].size() - 1);
    }
  }
  return numbers;
}

ArmNumbers Trial::original() {
  return arm("original", "original", [&] {
    ArmNumbers numbers = measure(dense_);
    if (!options_.sample_prompt.empty()) cache_.put_text(arm_key("original"), written_by(dense_));
    const SafetensorsDirectory tensors(subject_.model);
    put_bytes(numbers, dense_linear_bytes(tensors, dense_.config()), tensors.file_bytes());
    return numbers;
  });
}

Trial::Plan Trial::plan(const MethodDescription& method, const ParameterValues& parameters,
                        std::uint64_t seed, const SizeTarget& target) const {
  Plan plan;
  CompressionRequest& request = plan.request;
  request.model = subject_.model;
  request.parameters = Parameters(method.parameters);
  for (const auto& [name, value] : parameters) request.parameters.set(name, value);
  for (const ParameterSpec& spec : method.parameters) {
    if (request.parameters.is_set(spec.name)) continue;
    if (spec.name == "calibration-sequences") {
      request.parameters.set(spec.name, std::to_string(options_.calibration_sequences));
    }
    if (spec.name == "calibration-window") {
      request.parameters.set(spec.name, std::to_string(options_.calibration_window));
    }
  }
  request.target = target;
  request.seed = seed;
  request.replace = true;
  request.progress = request_.progress;
  plan.key_part = fmt::format("{} version {}\n{}\n{}\nseed {}", method.slug, method.version,
                              request.parameters.canonical(method.slug), target_text(target), seed);
  plan.name = method.slug;
  for (const auto& [name, value] : parameters) plan.name += ' ' + name + '=' + value;
  if (const std::string size = target_text(target); !size.empty()) plan.name += ' ' + size;
  plan.name += fmt::format(" seed {}", seed);
  return plan;
}

ArmNumbers Trial::compressed(std::string_view slug, const ParameterValues& parameters, std::uint64_t seed,
                             const SizeTarget& target) {
  const MethodDescription& method = method_named(slug);
  Plan plan = this->plan(method, parameters, seed, target);
  const std::string key = arm_key(plan.key_part);
  return arm(plan.name, plan.key_part, [&] {
    plan.request.calibration_text = subject_.calibration;
    plan.request.output = cache_.work_directory(key) / "model";
    return run(method, plan.request, key);
  });
}

std::string Trial::sample(std::string_view slug, const ParameterValues& parameters, std::uint64_t seed,
                          const SizeTarget& target) const {
  const MethodDescription& method = method_named(slug);
  return cache_.text(arm_key(plan(method, parameters, seed, target).key_part)).value_or("");
}

std::string Trial::original_sample() const { return cache_.text(arm_key("original")).value_or(""); }

std::string Trial::written_by(const Transformer& model) const {
  const auto tokenizer = Tokenizer::load(subject_.model);
  std::vector<std::int32_t> prompt = {beginning_token(*tokenizer, model.config())};
  const std::vector<std::int32_t> words = tokenizer->encode(options_.sample_prompt, false);
  prompt.insert(prompt.end(), words.begin(), words.end());
  GenerationOptions generation;
  generation.max_tokens = 48;
  generation.stop_tokens = stop_tokens(model.config(), subject_.model);
  return generate(model, *tokenizer, prompt, generation).text;
}

std::vector<ArmNumbers> Trial::compressed(std::string_view slug, const ParameterValues& parameters,
                                          const std::vector<std::uint64_t>& seeds, const SizeTarget& target) {
  std::vector<ArmNumbers> arms;
  for (const std::uint64_t seed : seeds) arms.push_back(compressed(slug, parameters, seed, target));
  return arms;
}

ArmNumbers Trial::run(const MethodDescription& method, const CompressionRequest& request,
                      const std::string& key) {
  std::filesystem::create_directories(request.output.parent_path());
  const auto start = std::chrono::steady_clock::now();
  method.compress(request);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const CompressedModel stored(request.output);
  const Transformer model = Transformer::load(request.output);
  ArmNumbers numbers = measure(model);
  if (!options_.sample_prompt.empty()) cache_.put_text(key, written_by(model));
  put_bytes(numbers, compressed_linear_bytes(stored, dense_.config()), stored.safetensors_bytes());
  numbers["layer_loss"] = layer_loss(request.output, request.seed);
  numbers["compress_seconds"] = seconds;
  return numbers;
}

std::vector<std::vector<std::int32_t>> Trial::calibration_windows(std::uint64_t seed) const {
  const auto tokenizer = Tokenizer::load(subject_.model);
  return draw_calibration_windows(*tokenizer, dense_.config(), subject_.calibration,
                                  {options_.calibration_sequences, options_.calibration_window, seed});
}

const std::vector<BlockStatistics>& Trial::statistics(std::uint64_t seed) {
  for (const auto& [known, blocks] : statistics_) {
    if (known == seed) return blocks;
  }
  CalibrationWalk walk(dense_, calibration_windows(seed));
  std::vector<BlockStatistics> blocks;
  for (std::int64_t layer = 0; layer < dense_.config().layers; ++layer) {
    blocks.push_back(walk.observe_and_advance(dense_, layer));
  }
  statistics_.emplace_back(seed, std::move(blocks));
  return statistics_.back().second;
}

double Trial::layer_loss(const std::filesystem::path& compressed_directory, std::uint64_t seed) {
  const std::vector<BlockStatistics>& blocks = statistics(seed);
  const SafetensorsDirectory original(subject_.model);
  const CompressedModel stored(compressed_directory);
  double sum = 0;
  for_each_linear(dense_.config(), [&](std::int64_t layer, LinearSlot slot, const std::string& name) {
    if (!stored.has_payload(name)) return;
    const LinearStatistics* seen = observed_statistics(blocks[static_cast<std::size_t>(layer)], slot);
    if (seen == nullptr) return;
    const std::vector<float> before = original.tensor(name).to_f32();
    const std::vector<float> after = decode_payload(stored.payload(name)).view().to_f32();
    const std::int64_t columns = seen->moment.size();
    const auto rows = static_cast<std::int64_t>(before.size()) / columns;
    for (const double loss : row_losses(before.data(), after.data(), rows, columns, seen->moment.mean())) {
      sum += loss;
    }
  });
  return sum;
}

const LinearStatistics* observed_statistics(const BlockStatistics& block, LinearSlot slot) {
  if (slot == LinearSlot::k || slot == LinearSlot::v) slot = LinearSlot::q;
  if (slot == LinearSlot::up) slot = LinearSlot::gate;
  for (const auto& [observed, values] : block) {
    if (observed == slot) return &values;
  }
  return nullptr;
}

BootstrapInterval nats_difference(const std::vector<ArmNumbers>& a, const std::vector<ArmNumbers>& b,
                                  std::string_view text, int resamples) {
  require(!a.empty() && !b.empty(), "a comparison needs arms on both sides");
  std::vector<double> differences, weights;
  for (std::size_t i = 0;; ++i) {
    const std::string tokens = fmt::format("tokens.{}.{}", text, i);
    if (a.front().find(tokens) == a.front().end()) break;
    const std::string nats = fmt::format("nats.{}.{}", text, i);
    weights.push_back(number(a.front(), tokens));
    differences.push_back((mean_of(a, nats) - mean_of(b, nats)) / weights.back());
  }
  return bootstrap_mean(differences, weights, resamples, 0);
}

}  // namespace laconic
