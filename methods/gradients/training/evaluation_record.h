// What a run measured on its way: kept in checkpoints, so that a resumed run still knows its whole curve.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/bytes.h"
#include "methods/gradients/training/training_task.h"

namespace laconic {

struct EvaluationRecord {
  std::int64_t step = 0;
  Evaluation held_out;
  double training_loss = 0;      // mean of all ranks since the last record
  std::uint64_t sent_bytes = 0;  // of this rank, of all steps so far
  double seconds = 0;            // of all steps so far
};

void write_evaluation(ByteWriter& writer, const Evaluation& evaluation);
Evaluation read_evaluation(ByteReader& reader);

void write_evaluations(ByteWriter& writer, const std::vector<EvaluationRecord>& records);
// Throws Error(corrupt) where their steps do not grow.
std::vector<EvaluationRecord> read_evaluations(ByteReader& reader);

}  // namespace laconic
