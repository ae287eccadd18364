// What users write after --exchange.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "methods/gradients/training/automatic_exchange.h"

namespace laconic {

// A method's slug with its parameters set, or a pipeline ("ef:outliers(fraction=0.01)", pipeline_exchange.h),
// which takes none. A method of local steps may say what carries its means: "co2 over ef:uniform(bits=8)",
// "diloco over powersgd"; the parameters are those of the method. Throws Error(usage) with the names there
// are.
ExchangeCandidate exchange_by_name(std::string_view text,
                                   const std::vector<std::pair<std::string, std::string>>& parameters = {});

// The same, of what exchanges gradients in every step: Error(usage) on a method of local steps.
ExchangeCandidate step_exchange_by_name(
    std::string_view text, const std::vector<std::pair<std::string, std::string>>& parameters = {});

// Slugs of the methods that exchange gradients in every step, by name.
std::vector<std::string> exchange_names();
// Slugs of the methods of local steps, by name.
std::vector<std::string> local_names();

// What `--exchange auto` chooses from, the least lossy first.
std::vector<ExchangeCandidate> automatic_candidates();

}  // namespace laconic
