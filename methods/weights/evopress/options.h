// The parameters of the method, and what they mean for one task: the card's table of generations, offspring,
// survivors and tokens (effort=paper), or its small-scale settings (effort=quick).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "methods/method.h"
#include "methods/weights/evopress/model_search.h"

namespace laconic::evopress {

enum class Task { bits, sparsity, depth };

std::vector<ParameterSpec> parameters();
Task task_of(const Parameters& parameters);

struct SearchPlan {
  SearchSettings settings;
  std::int64_t tokens = 0;         // of the calibration set
  std::int64_t window_tokens = 0;  // 0: chosen by the model
  std::int64_t top_k = 0;          // sparse_kl; 0: the whole vocabulary
};
// `depth_generations` is floor(k (n - k) / 1.5); other tasks pass 0.
SearchPlan search_plan(const Parameters& parameters, int depth_generations, std::uint64_t seed);

// "4-2-1" as numbers. Throws Error(usage) naming the parameter.
std::vector<std::int64_t> number_list(const std::string& text, const char* parameter);

// The calibration set of a request and the dense model's distributions on it. Refuses a request without text.
TeacherCache build_teacher(const CompressionRequest& request, const Transformer& dense,
                           const SearchPlan& plan);

}  // namespace laconic::evopress
