#include "lab/training/retrieval_probe.h"

#include <c10/core/GradMode.h>

#include "engine/base/threads.h"
#include "lab/training/workers.h"
#include "runtime/corpus/retrieval.h"

namespace laconic::lab {
namespace {

constexpr std::size_t probe_depths = 5;

}  // namespace

RetrievalProbe::RetrievalProbe(const Tokenizer& tokenizer, std::int64_t context, std::int64_t samples,
                               std::uint64_t seed)
    : context_(context), needles_(static_cast<std::size_t>(samples) * probe_depths) {
  const Haystack haystack(seed, true);
  const TokenCounter count = [&](std::string_view text) {
    return static_cast<std::int64_t>(tokenizer.encode(text, false).size());
  };
  parallel_for(static_cast<std::int64_t>(needles_.size()), [&](std::int64_t i) {
    Needle& needle = needles_[static_cast<std::size_t>(i)];
    needle.depth = static_cast<std::size_t>(i) % probe_depths;
    NeedleOptions options;
    options.tokens = context - 1;
    options.depth = static_cast<double>(needle.depth) / static_cast<double>(probe_depths - 1);
    options.distractors = context >= 512 ? 3 : 1;
    const RetrievalSample sample =
        make_needle(options, seed, first_held_out_retrieval + static_cast<std::uint64_t>(i), haystack, count);
    needle.tokens.push_back(*tokenizer.bos());
    const auto append = [&](std::string_view text) {
      const std::vector<std::int32_t> tokens = tokenizer.encode(text, false);
      needle.tokens.insert(needle.tokens.end(), tokens.begin(), tokens.end());
      return static_cast<std::int64_t>(tokens.size());
    };
    append(sample.context + sample.question);
    needle.answer_tokens = append(sample.answer);
  });
}

RetrievalProbe::Result RetrievalProbe::measure(const std::vector<LanguageModel>& replicas) const {
  std::vector<char> found(needles_.size());
  std::vector<double> nats(needles_.size());
  run_together(static_cast<int>(replicas.size()), [&](int worker) {
    const c10::NoGradGuard no_gradient;
    const LanguageModel& model = replicas[static_cast<std::size_t>(worker)];
    for (std::size_t i = static_cast<std::size_t>(worker); i < needles_.size(); i += replicas.size()) {
      const Needle& needle = needles_[i];
      const std::int64_t inputs = static_cast<std::int64_t>(needle.tokens.size()) - 1;
      at::Tensor hidden =
          model.embed(token_tensor(model.config(), std::span(needle.tokens).first(needle.tokens.size() - 1)));
      for (std::int64_t layer = 0; layer < model.config().layers; ++layer)
        hidden = model.run_block(layer, hidden);
      const std::int64_t first = inputs - needle.answer_tokens;
      const at::Tensor logits = model.head(hidden.narrow(1, first, needle.answer_tokens).contiguous());
      const at::Tensor best = logits.argmax(-1).contiguous(), scores = logits.log_softmax(-1).contiguous();
      bool all = true;
      for (std::int64_t t = 0; t < needle.answer_tokens; ++t) {
        const std::int32_t target = needle.tokens[static_cast<std::size_t>(first + t + 1)];
        all &= best.data_ptr<std::int64_t>()[t] == target;
        nats[i] -= scores.data_ptr<float>()[t * logits.size(-1) + target];
      }
      found[i] = all;
    }
  });
  Result result;
  result.found.resize(probe_depths);
  double tokens = 0;
  for (std::size_t i = 0; i < needles_.size(); ++i) {
    result.found[needles_[i].depth] += found[i];
    result.nats += nats[i];
    tokens += static_cast<double>(needles_[i].answer_tokens);
  }
  for (double& share : result.found)
    share *= static_cast<double>(probe_depths) / static_cast<double>(needles_.size());
  result.nats /= tokens;
  return result;
}

}  // namespace laconic::lab
