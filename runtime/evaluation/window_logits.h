// Logits of one evaluation window, a tile of rows at a time, so that no [window, vocabulary] array is ever
// held.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "runtime/transformer.h"

namespace laconic {

// Hidden states after the last block, [tokens, hidden].
std::vector<float> final_hidden(const Transformer& model, std::span<const std::int32_t> tokens);

// Calls visit(row, logits [vocabulary]) for every row of hidden states after the last block.
void visit_logits(const Transformer& model, const float* hidden, std::int64_t rows,
                  const std::function<void(std::int64_t row, const float* logits)>& visit);
// Calls visit(row, logits [vocabulary]) for rows 0 .. tokens - 2: row t predicts token t + 1.
void visit_window_logits(const Transformer& model, std::span<const std::int32_t> tokens,
                         const std::function<void(std::int64_t row, const float* logits)>& visit);
// The same for two models side by side.
void visit_window_logits(const Transformer& first, const Transformer& second,
                         std::span<const std::int32_t> tokens,
                         const std::function<void(std::int64_t row, const float* a, const float* b)>& visit);

// Index of the largest value; ties: lowest index.
std::int64_t argmax(const float* values, std::int64_t size);

}  // namespace laconic
