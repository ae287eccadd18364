#include "methods/gradients/training/worker_examples.h"

#include <span>

#include "engine/base/hash.h"
#include "engine/dataset/partition.h"

namespace laconic {

std::vector<std::vector<std::int64_t>> worker_examples(std::string_view text, const TrainingTask& task,
                                                       int workers, std::uint64_t seed) {
  if (text == "shared") return {};
  return partition(parse_partition_rule(text), task.examples(), task.labels(), workers, seed);
}

std::string partition_hash(const std::vector<std::vector<std::int64_t>>& examples_of) {
  StreamingHash128 partition;
  for (const auto& examples : examples_of) {
    const std::uint64_t size = examples.size();
    partition.update(std::as_bytes(std::span(&size, 1)));
    partition.update(std::as_bytes(std::span(examples)));
  }
  return to_hex(partition.digest());
}

}  // namespace laconic
