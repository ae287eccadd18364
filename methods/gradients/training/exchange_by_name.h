// What users write after --exchange, and how their examples are dealt to workers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "methods/gradients/training/automatic_exchange.h"

namespace laconic {

// A method's slug with its parameters set, or a pipeline ("ef:sparse(fraction=0.01)", pipeline_exchange.h),
// which takes none. Throws Error(usage) with the names there are.
ExchangeCandidate exchange_by_name(std::string_view text,
                                   const std::vector<std::pair<std::string, std::string>>& parameters = {});

// What `--exchange auto` chooses from, the least lossy first.
std::vector<ExchangeCandidate> automatic_candidates();

// By worker: "shared" (none: all draw from everything), "iid", "label:N" (N labels each), "dirichlet:A"
// (shares of every label), "rows" (sorted by label, cut in equal runs).
std::vector<std::vector<std::int64_t>> partition_named(std::string_view text, const TrainingTask& task,
                                                       int workers, std::uint64_t seed);

}  // namespace laconic
