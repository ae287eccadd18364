// Random attention problems.
#pragma once

#include <cmath>
#include <string_view>
#include <vector>

#include "engine/attention/scheduled_attention.h"
#include "engine/base/random.h"

namespace laconic {

inline std::vector<float> gaussian_numbers(std::int64_t count, std::string_view name, float spread = 1) {
  const RandomStream random(1, "attention", name);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = spread * random.gaussian_at(i);
  return values;
}

struct RandomProblem {
  explicit RandomProblem(const AttentionShape& shape, float spread = 1)
      : q(gaussian_numbers(shape.queries * shape.head_dim, "q", spread)),
        k(gaussian_numbers(shape.keys * shape.head_dim, "k", spread)),
        v(gaussian_numbers(shape.keys * shape.head_dim, "v")) {
    problem.shape = shape;
    problem.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(shape.head_dim)));
    problem.queries = q;
    problem.keys = k;
    problem.values = v;
  }
  RandomProblem(const RandomProblem&) = delete;
  RandomProblem& operator=(const RandomProblem&) = delete;
  std::vector<float> q, k, v;
  AttentionProblem problem;
};

}  // namespace laconic
