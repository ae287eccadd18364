#include "methods/arm_numbers.h"

#include <fmt/format.h>

#include "engine/base/error.h"

namespace laconic {

double number(const ArmNumbers& numbers, std::string_view name) {
  const auto found = numbers.find(std::string(name));
  if (found == numbers.end()) fail(ErrorKind::internal, "an arm has no number \"" + std::string(name) + '"');
  return found->second;
}

double mean_of(const std::vector<ArmNumbers>& seeds, std::string_view name) {
  require(!seeds.empty(), "a mean over seeds needs one");
  double sum = 0;
  for (const ArmNumbers& numbers : seeds) sum += number(numbers, name);
  return sum / static_cast<double>(seeds.size());
}

}  // namespace laconic
