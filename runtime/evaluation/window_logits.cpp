#include "runtime/evaluation/window_logits.h"

#include <algorithm>

#include "engine/base/error.h"

namespace laconic {
namespace {

constexpr std::int64_t head_tile = 64;

}  // namespace

std::vector<float> final_hidden(const Transformer& model, std::span<const std::int32_t> tokens) {
  std::vector<float> hidden = model.embed(tokens);
  for (std::int64_t layer = 0; layer < model.config().layers; ++layer) {
    model.run_block(layer, hidden.data(), static_cast<std::int64_t>(tokens.size()), nullptr);
  }
  return hidden;
}

void visit_logits(const Transformer& model, const float* hidden, std::int64_t rows,
                  const std::function<void(std::int64_t, const float*)>& visit) {
  const std::int64_t vocabulary = model.config().vocabulary, width = model.config().hidden;
  std::vector<float> logits(static_cast<std::size_t>(std::min(rows, head_tile) * vocabulary));
  for (std::int64_t begin = 0; begin < rows; begin += head_tile) {
    const std::int64_t count = std::min(head_tile, rows - begin);
    model.head(hidden + begin * width, count, logits.data());
    for (std::int64_t i = 0; i < count; ++i) visit(begin + i, logits.data() + i * vocabulary);
  }
}

void visit_window_logits(const Transformer& model, std::span<const std::int32_t> tokens,
                         const std::function<void(std::int64_t, const float*)>& visit) {
  const std::int64_t rows = static_cast<std::int64_t>(tokens.size()) - 1;
  if (rows <= 0) return;
  const std::vector<float> hidden = final_hidden(model, tokens.first(static_cast<std::size_t>(rows)));
  visit_logits(model, hidden.data(), rows, visit);
}

void visit_window_logits(const Transformer& first, const Transformer& second,
                         std::span<const std::int32_t> tokens,
                         const std::function<void(std::int64_t, const float*, const float*)>& visit) {
  const std::int64_t rows = static_cast<std::int64_t>(tokens.size()) - 1;
  if (rows <= 0) return;
  const std::int64_t vocabulary = first.config().vocabulary;
  if (second.config().vocabulary != vocabulary) {
    fail(ErrorKind::input, "the two models have different vocabularies", {},
         "compare a model with its own original");
  }
  const auto context = tokens.first(static_cast<std::size_t>(rows));
  const std::vector<float> hidden_a = final_hidden(first, context), hidden_b = final_hidden(second, context);
  const auto size = static_cast<std::size_t>(std::min(rows, head_tile) * vocabulary);
  std::vector<float> a(size), b(size);
  for (std::int64_t begin = 0; begin < rows; begin += head_tile) {
    const std::int64_t count = std::min(head_tile, rows - begin);
    first.head(hidden_a.data() + begin * first.config().hidden, count, a.data());
    second.head(hidden_b.data() + begin * second.config().hidden, count, b.data());
    for (std::int64_t i = 0; i < count; ++i)
      visit(begin + i, a.data() + i * vocabulary, b.data() + i * vocabulary);
  }
}

std::int64_t argmax(const float* values, std::int64_t size) {
  return std::max_element(values, values + size) - values;
}

}  // namespace laconic
