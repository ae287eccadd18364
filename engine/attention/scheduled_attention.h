// The three schedules of io_model.h, run against a two-level memory on real numbers:
//   O = rowsoftmax(scale Q K^T + mask) V, rows that see nothing are 0.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "engine/attention/io_model.h"
#include "engine/attention/two_level_memory.h"

namespace laconic {

struct AttentionProblem {
  AttentionShape shape;
  float scale = 1;
  std::span<const float> queries, keys, values;  // [queries, d], [keys, d], [keys, d]
};

// By the definition, in f64: what every schedule is compared with. Refuses shapes that do not fit
// (Error(usage)) and numbers that are not finite (Error(input)), as the schedules do.
std::vector<double> attention_by_definition(const AttentionProblem& problem);

struct ScheduledRun {
  AttentionSchedule schedule = AttentionSchedule::qstat;
  ScheduleTiles tiles;
  MovedWords traffic;
  std::int64_t peak_resident = 0;
  std::vector<std::pair<std::string, MovedWords>> by_tensor;  // Q, K, V, O, S, statistics
  std::vector<float> out;                                     // [queries, d]
};

// Runs one schedule in a fast memory of `words` words. fa1 finds O and l as 0 and m as -infinity in slow
// memory, as its authors start it. The listener (may be null) hears every word that computing touches.
ScheduledRun run_schedule(AttentionSchedule schedule, const AttentionProblem& problem, std::int64_t words,
                          AccessListener* listener = nullptr);

double largest_error(std::span<const float> out, std::span<const double> wanted);

// {N, keys, d, M, word_bytes, schedule, Br, Bc, b, reads, writes, bytes, peak_resident, lb, ratio,
// max_abs_err, tensors}
nlohmann::json to_json(const ScheduledRun& run, const AttentionShape& shape, std::int64_t words,
                       int word_bytes, double error);

}  // namespace laconic
