// What users write after --exchange.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "methods/gradients/training/automatic_exchange.h"

namespace laconic {

// A method's slug with its parameters set, or a pipeline ("ef:outliers(fraction=0.01)", pipeline_exchange.h),
// which takes none. Throws Error(usage) with the names there are.
ExchangeCandidate exchange_by_name(std::string_view text,
                                   const std::vector<std::pair<std::string, std::string>>& parameters = {});

// Slugs of the methods that take part in data-parallel training, by name.
std::vector<std::string> exchange_names();

// What `--exchange auto` chooses from, the least lossy first.
std::vector<ExchangeCandidate> automatic_candidates();

}  // namespace laconic
