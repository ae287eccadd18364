// A plan as a file: what L-GreCo chose, to read, to keep, and to train by without planning again.
//
//   {"layers": [{"name": "conv1.weight", "level": "rank 4", "bytes": 1234, "error": 0.5}, ...]}
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace laconic::l_greco {

struct PlannedLayer {
  std::string name, level;
  std::uint64_t bytes = 0;  // predicted, of one rank's message
  double error = 0;         // || g - C(g) ||_F when it was planned
};

std::string plan_text(const std::vector<PlannedLayer>& layers);
// Throws Error(input) on anything that plan_text does not write, naming `where`.
std::vector<PlannedLayer> parse_plan(std::string_view text, std::string_view where);

}  // namespace laconic::l_greco
