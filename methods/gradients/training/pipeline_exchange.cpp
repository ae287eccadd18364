#include "methods/gradients/training/pipeline_exchange.h"

#include <fmt/format.h>

#include "engine/base/error.h"
#include "engine/codec/composition.h"
#include "engine/exchange/gathered_exchange.h"
#include "engine/exchange/owned_codec_exchange.h"

namespace laconic {
namespace {

struct NamedMemory {
  std::string_view name;
  bool remembers;
  bool estimator;
  bool owners;  // means go through owners, not by all-gathers
};
constexpr NamedMemory named_memories[] = {{"ef", true, false, false},
                                          {"ef21", true, true, false},
                                          {"none", false, false, false},
                                          {"owners", false, false, true},
                                          {"ef-owners", true, false, true}};

GatheredSettings gathered_settings(const ExchangeRequest& request) {
  GatheredSettings settings;
  settings.seed = request.seed;
  settings.rank = request.rank;
  settings.bucket_bytes = request.bucket_bytes;
  return settings;
}

// The word before the first colon when it stands before any parenthesis or bracket.
std::pair<std::string_view, std::string_view> split_memory(std::string_view text) {
  const std::size_t colon = text.find_first_of(":([");
  if (colon == std::string_view::npos || text[colon] != ':') return {{}, text};
  return {text.substr(0, colon), text.substr(colon + 1)};
}

}  // namespace

ParameterSpec sent_fraction_parameter(const char* default_value) {
  return {"fraction",
          ParameterSpec::Type::number,
          default_value,
          1e-7,
          1,
          {},
          "share of a tensor's numbers that is sent"};
}

ParameterSpec sent_dtype_parameter(const char* default_value) {
  return {"dtype",
          ParameterSpec::Type::choice,
          default_value,
          0,
          0,
          {"f16", "bf16", "f32"},
          "type of the values sent"};
}

ParameterSpec dense_below_parameter() {
  return {
      "dense_below", ParameterSpec::Type::integer, "0", 0, 1e9, {}, "tensors of fewer numbers travel in f32"};
}

std::shared_ptr<const TensorCodec> top_k_codec(const Parameters& parameters) {
  return parse_codec(
      fmt::format("outliers(fraction={},dtype={})", parameters.number("fraction"), parameters.text("dtype")));
}

TrainingExchange gathered_training(const ExchangeRequest& request,
                                   const std::shared_ptr<const TensorCodec>& codec,
                                   const std::optional<FeedbackForm>& form, std::int64_t dense_below,
                                   std::vector<double> weights, bool whole_start) {
  GatheredSettings settings = gathered_settings(request);
  settings.weights = std::move(weights);
  settings.whole_start = whole_start;
  std::vector<TensorTravel> travel;
  for (const TensorSlice& tensor : request.tensors) {
    const bool dense = static_cast<std::int64_t>(tensor.size) < dense_below;
    travel.push_back(dense ? TensorTravel{} : TensorTravel{codec, form});
  }
  TrainingExchange made;
  made.exchange = std::make_unique<GatheredExchange>(request.tensors, std::move(travel), settings);
  return made;
}

namespace {

// Every tensor goes by a codec: those that rules keep are f32 numbers.
TrainingExchange owned_training(const ExchangeRequest& request,
                                const std::shared_ptr<const LayerRules>& rules, bool remembers) {
  OwnedCodecSettings settings;
  if (remembers) settings.feedback = plain_error_feedback();
  settings.seed = request.seed;
  settings.ranks = request.ranks;
  settings.rank = request.rank;
  settings.bucket_bytes = request.bucket_bytes;
  const std::shared_ptr<const TensorCodec> raw = parse_codec("raw(dtype=f32)");
  std::vector<std::shared_ptr<const TensorCodec>> codecs;
  for (const TensorSlice& tensor : request.tensors) {
    const TensorCodec* codec = rules->codec_for(tensor.name);
    codecs.push_back(codec != nullptr ? std::shared_ptr<const TensorCodec>(rules, codec) : raw);
  }
  TrainingExchange made;
  made.exchange = std::make_unique<OwnedCodecExchange>(request.tensors, std::move(codecs), settings);
  return made;
}

}  // namespace

PipelineExchange parse_pipeline_exchange(std::string_view text) {
  const auto [name, rest] = split_memory(text);
  const NamedMemory* memory = nullptr;
  for (const NamedMemory& known : named_memories) {
    if (known.name == name) memory = &known;
  }
  if (memory == nullptr && !name.empty()) {
    fail(ErrorKind::usage, "\"" + std::string(name) + "\" is not a memory", "--exchange",
         "ef: error feedback, ef21: an estimator, none: no memory; owners, ef-owners: the mean goes through "
         "owners");
  }
  const auto rules = std::make_shared<const LayerRules>(LayerRules::parse(rest));
  PipelineExchange pipeline;
  pipeline.canonical = (memory == nullptr ? std::string() : std::string(name) + ":") + rules->canonical();
  pipeline.exchange = [rules, memory](const ExchangeRequest& request) {
    if (memory != nullptr && memory->owners) return owned_training(request, rules, memory->remembers);
    std::vector<TensorTravel> travel;
    for (const TensorSlice& tensor : request.tensors) {
      TensorTravel way;
      if (const TensorCodec* codec = rules->codec_for(tensor.name)) {
        way.codec = std::shared_ptr<const TensorCodec>(rules, codec);  // lives as long as its rules
        const bool remembers =
            memory == nullptr ? !codec->properties(tensor.shape).unbiased : memory->remembers;
        if (remembers) {
          way.feedback =
              memory != nullptr && memory->estimator ? estimator_feedback() : plain_error_feedback();
        }
      }
      travel.push_back(std::move(way));
    }
    TrainingExchange made;
    made.exchange =
        std::make_unique<GatheredExchange>(request.tensors, std::move(travel), gathered_settings(request));
    return made;
  };
  return pipeline;
}

}  // namespace laconic
