// Training that can go on where it stopped, bit for bit. A checkpoint is a directory: one file with what all
// ranks share, one per rank with its memories, and checkpoint.json, which names the step they belong to and
// is written last. A run that is killed at any moment leaves the previous checkpoint or the new one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/transport/communication_thread.h"
#include "methods/gradients/training/evaluation_record.h"

namespace laconic {

struct TrainingState {
  std::int64_t step = 0, refused = 0;
  std::uint64_t sent_bytes = 0;  // of this rank
  double seconds = 0;
  std::vector<float> parameters;
  std::vector<EvaluationRecord> evaluations;  // of rank 0
  // Of this rank's losses since the last evaluation.
  double loss_sum = 0;
  std::int64_t losses = 0;
  Bytes optimizer;
  Bytes exchange;  // of this rank
};

// All ranks call it after the same step. `settings`: everything that decides the numbers.
void save_training(const std::filesystem::path& directory, const std::string& settings,
                   const TrainingState& state, CommunicationThread& thread);
// All ranks call it. What is shared comes from rank 0's file, so that it need not be on every machine.
// Throws Error(usage) that names the first line of the settings that differs (another method, another number
// of ranks), Error(corrupt) on damage.
TrainingState load_training(const std::filesystem::path& directory, const std::string& settings,
                            std::size_t parameters, CommunicationThread& thread);
bool has_checkpoint(const std::filesystem::path& directory);

}  // namespace laconic
