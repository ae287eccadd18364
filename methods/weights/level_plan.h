// Mixing levels to meet a size: every unit of a database of variants gets one level, so that the exact bytes
// of the result stay under a budget and the harm is least (engine/allocate).
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/allocate/problem.h"
#include "methods/method.h"
#include "methods/weights/variants.h"

namespace laconic {

// What --size, --bits or --ratio come to in bytes (convention C11: a cap, side information included).
struct ByteBudget {
  enum class Counts {
    files,     // --size, --ratio: the sum of all .safetensors files, headers included
    payloads,  // --bits: the compact frames of the compressed tensors, what linear_bits_per_weight reports
  };
  Counts counts = Counts::files;
  std::uint64_t bytes = 0;
};
// --ratio counts against two bytes per number of the model, untouched tensors included. `compressed_weights`:
// numbers of the tensors that are compressed. None when the target is empty; Error(usage) when more than one
// is set.
std::optional<ByteBudget> byte_budget(const SizeTarget& target, const SafetensorsDirectory& source,
                                      std::int64_t compressed_weights);

// Exact size of the files for one level per unit.
using FilesOf = std::function<std::uint64_t(const std::map<std::string, DescribedTensor>&)>;

struct LevelPlan {
  Assignment levels;                    // by database.units()
  std::uint64_t safetensors_bytes = 0;  // exact
  std::uint64_t payload_bytes = 0;      // frames
  double harm = 0;
};

// Least harm under the budget by dynamic programming over bytes. harm [unit][level], by database.units().
// Error(usage) that names the smallest possible size when the budget lies below it.
LevelPlan plan_levels(const VariantDatabase& database, const ByteBudget& budget,
                      const std::vector<std::vector<double>>& harm, const FilesOf& files_of);

// The descriptions of an assignment, by tensor.
std::map<std::string, DescribedTensor> descriptions_of(const VariantDatabase& database,
                                                       const Assignment& levels);

// Harm without running the model: loss / reference of every unit times its weights. Layers matter to the
// model in very different ways (card 23's pilot: worse than uniform), so this is for where measuring costs
// too much.
std::vector<std::vector<double>> layer_loss_harm(const VariantDatabase& database);

}  // namespace laconic
