#include "methods/gradients/training/worker_examples.h"

#include "engine/dataset/partition.h"

namespace laconic {

std::vector<std::vector<std::int64_t>> worker_examples(std::string_view text, const TrainingTask& task,
                                                       int workers, std::uint64_t seed) {
  if (text == "shared") return {};
  return partition(parse_partition_rule(text), task.examples(), task.labels(), workers, seed);
}

}  // namespace laconic
