#include "runtime/benchmark/decode.h"

#include <fmt/format.h>

#include <optional>

#include "engine/base/error.h"
#include "engine/base/scratch_folder.h"
#include "engine/base/threads.h"
#include "engine/codec/composition.h"
#include "runtime/benchmark/measure.h"
#include "runtime/transformer.h"

namespace laconic {
namespace {

Transformer packed(const Transformer& original, int bits) {
  const auto codec = parse_codec(fmt::format("uniform(bits={},group=64)", bits));
  Transformer model = original;
  for (std::int64_t layer = 0; layer < model.config().layers; ++layer) {
    for (int i = 0; i < linear_slots; ++i) {
      const auto slot = static_cast<LinearSlot>(i);
      const Tensor weights = original.block(layer).linear[static_cast<std::size_t>(i)]->expand();
      model.set_linear(layer, slot, make_linear(codec->encode(weights.view(), {})));
    }
    throw_if_interrupted();
  }
  return model;
}

std::uint64_t linear_bytes(const Transformer& model) {
  std::uint64_t sum = 0;
  for (std::int64_t layer = 0; layer < model.config().layers; ++layer) {
    for (const auto& linear : model.block(layer).linear) sum += linear->resident_bytes();
  }
  return sum;
}

// Decodes a few tokens after a short beginning; which ones does not matter.
void decode(const Transformer& model, int tokens) {
  const auto cache = model.make_cache();
  for (std::int32_t i = 0; i < tokens; ++i) {
    const std::int32_t token = (i * 37 + 1) % static_cast<std::int32_t>(model.config().vocabulary);
    model.forward({&token, 1}, cache.get(), true);
  }
}

}  // namespace

std::vector<DecodeSpeed> measure_decode(const DecodeOptions& options, const ProgressListener& progress) {
  const ScratchFolder directory("bench");
  write_generated_model(directory.path(), options.model, progress);
  struct Form {
    std::string name;
    Transformer model;
  };
  const Transformer original = Transformer::load(directory.path());
  std::vector<Form> forms;
  forms.push_back(
      {std::string(options.model.dtype == DType::bf16 ? "bf16" : name_of(options.model.dtype)), original});
  for (const int bits : {4, 2}) forms.push_back({fmt::format("{}-bit", bits), packed(original, bits)});
  const int threads_before = thread_count();
  std::vector<DecodeSpeed> results;
  Progress done(progress, "decoding", static_cast<std::int64_t>(options.threads.size()) * options.rounds);
  for (const int threads : options.threads) {
    set_thread_count(threads);
    std::vector<std::vector<double>> rates(forms.size()), speedups(forms.size()), processor(forms.size());
    for (const Form& form : forms) decode(form.model, 2);
    for (int round = 0; round < options.rounds; ++round) {
      Seconds first;
      for (std::size_t f = 0; f < forms.size(); ++f) {
        const Seconds seconds = time_of([&] { decode(forms[f].model, options.tokens); });
        if (f == 0) first = seconds;
        rates[f].push_back(options.tokens / seconds.wall);
        speedups[f].push_back(first.wall / seconds.wall);
        processor[f].push_back(first.processor / seconds.processor);
      }
      done.advance();
    }
    for (std::size_t f = 0; f < forms.size(); ++f) {
      results.push_back({forms[f].name, threads, median(rates[f]), median(speedups[f]), median(processor[f]),
                         linear_bytes(forms[f].model)});
    }
  }
  set_thread_count(threads_before);
  return results;
}

}  // namespace laconic
