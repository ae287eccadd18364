#include "lab/training/induction_start.h"

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic::lab {
namespace {

constexpr float loudness = 0.02f;       // deviation of the embeddings, and of what each head adds to them
constexpr float quiet = 0.15f;          // scale of everything else that writes to the residual stream
constexpr std::int64_t fast_pairs = 8;  // rotary pairs that tell neighbouring positions apart
constexpr float previous_score =
    32.0f;                           // of the previous token before the softmax, sqrt(head_dim) still in it
constexpr float match_score = 3.0f;  // gain of the query and key of the matching head

using Rows = std::vector<std::vector<float>>;

Rows gaussian_rows(std::uint64_t seed, const char* name, std::int64_t rows, std::int64_t width,
                   const std::vector<float>& without) {
  const RandomStream random(seed, "induction start", name);
  Rows result(static_cast<std::size_t>(rows), std::vector<float>(static_cast<std::size_t>(width)));
  std::uint64_t next = 0;
  for (std::vector<float>& row : result) {
    double along = 0;
    for (std::size_t i = 0; i < row.size(); ++i) {
      row[i] = random.gaussian_at(next++) / std::sqrt(static_cast<float>(width));
      along += static_cast<double>(row[i]) * static_cast<double>(without[i]);
    }
    for (std::size_t i = 0; i < row.size(); ++i) row[i] -= static_cast<float>(along) * without[i];
  }
  return result;
}

}  // namespace

void start_with_induction(LanguageModel& model, std::uint64_t seed) {
  const ModelConfig& config = model.config();
  const std::int64_t width = config.hidden, dim = config.head_dim, half = dim / 2;
  if (config.layers < 2 || dim < 32) {
    fail(ErrorKind::usage, "an induction start needs two layers and heads of 32 or more", "--start",
         "use random");
  }
  std::map<std::string, float*> weights;
  for (auto& [name, tensor] : model.parameters()) weights[name] = tensor->data_ptr<float>();
  const auto weight = [&](std::int64_t layer, LinearSlot slot) {
    return weights.at(linear_name(layer, slot));
  };
  const auto set_row = [&](float* matrix, std::int64_t row, const std::vector<float>& values, float scale) {
    for (std::int64_t i = 0; i < width; ++i)
      matrix[row * width + i] = scale * values[static_cast<std::size_t>(i)];
  };
  // Column of o: what one dimension of a head writes.
  const std::int64_t o_in = config.heads * dim;
  const auto set_column = [&](float* matrix, std::int64_t column, const std::vector<float>& values,
                              float scale) {
    for (std::int64_t i = 0; i < width; ++i)
      matrix[i * o_in + column] = scale * values[static_cast<std::size_t>(i)];
  };
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    for (const LinearSlot slot : {LinearSlot::o, LinearSlot::down}) {
      const LinearShape shape = linear_shape(config, slot);
      float* matrix = weight(layer, slot);
      for (std::int64_t i = 0; i < shape.out * shape.in; ++i) matrix[i] *= quiet;
    }
  }

  // All embeddings share one direction: what a head reads when only positions matter.
  std::vector<float> common(static_cast<std::size_t>(width));
  const RandomStream random(seed, "induction start", "common");
  double norm = 0;
  for (std::size_t i = 0; i < common.size(); ++i) {
    common[i] = random.gaussian_at(i);
    norm += static_cast<double>(common[i]) * static_cast<double>(common[i]);
  }
  for (float& value : common) value /= static_cast<float>(std::sqrt(norm));
  const float root = std::sqrt(static_cast<float>(width));
  float* embedding = weights.at("model.embed_tokens.weight");
  for (std::int64_t token = 0; token < config.vocabulary; ++token) {
    for (std::int64_t i = 0; i < width; ++i)
      embedding[token * width + i] += loudness * root * common[static_cast<std::size_t>(i)];
  }
  const float seen = root / std::sqrt(2.0f);  // of the common direction behind the norm of layer 0

  // Layer 0, head 0: query and key are constants whose rotated product is largest one position back.
  float *q = weight(0, LinearSlot::q), *k = weight(0, LinearSlot::k);
  const float each = std::sqrt(previous_score);
  for (std::int64_t row = 0; row < dim; ++row) {
    for (float* matrix : {q, k}) {
      for (std::int64_t i = 0; i < width; ++i) matrix[row * width + i] *= quiet;
    }
  }
  for (std::int64_t i = 0; i < fast_pairs; ++i) {
    const double turn = std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(dim));
    set_row(k, i, common, each / seen);
    set_row(q, i, common, each / seen * static_cast<float>(std::cos(turn)));
    set_row(q, half + i, common, -each / seen * static_cast<float>(std::sin(turn)));
  }
  // It carries a projection of the previous token to directions of its own.
  const Rows reads = gaussian_rows(seed, "reads", half, width, common);
  const Rows writes = gaussian_rows(seed, "writes", half, width, common);
  const float carried = std::sqrt(static_cast<float>(half) / 2);  // norm of the projection
  for (std::int64_t i = 0; i < half; ++i) {
    set_row(weight(0, LinearSlot::v), i, reads[static_cast<std::size_t>(i)], 1);
    set_column(weight(0, LinearSlot::o), i, writes[static_cast<std::size_t>(i)], loudness * root / carried);
  }

  // Layer 1, head 0: the same projection of the present token, against what was carried; on the slowly
  // turning half of the pairs, so that distance matters little.
  q = weight(1, LinearSlot::q);
  k = weight(1, LinearSlot::k);
  const float gain = std::sqrt(match_score);
  for (std::int64_t i = 0; i < half; ++i) {
    const std::int64_t row = i < half / 2 ? half / 2 + i : half + i;  // upper quarters of both halves
    set_row(q, row, reads[static_cast<std::size_t>(i)], gain);
    set_row(k, row, writes[static_cast<std::size_t>(i)], gain);
    const std::int64_t fast = i < half / 2 ? i : half / 2 + i;
    for (float* matrix : {q, k}) {
      for (std::int64_t j = 0; j < width; ++j) matrix[fast * width + j] *= quiet;
    }
  }
  // It copies the token that stands there.
  const Rows copies = gaussian_rows(seed, "copies", dim, width, common);
  const float copied = std::sqrt(static_cast<float>(dim) / 3);
  for (std::int64_t i = 0; i < dim; ++i) {
    set_row(weight(1, LinearSlot::v), i, copies[static_cast<std::size_t>(i)], 1);
    set_column(weight(1, LinearSlot::o), i, copies[static_cast<std::size_t>(i)], loudness * root / copied);
  }
}

}  // namespace laconic::lab
