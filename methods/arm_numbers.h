// Numbers of arms (methods/reproduce.h) and their means over seeds.
#pragma once

#include <string_view>
#include <vector>

#include "methods/reproduce.h"

namespace laconic {

double number(const ArmNumbers& numbers, std::string_view name);  // a number that the arm has
double mean_of(const std::vector<ArmNumbers>& seeds, std::string_view name);

}  // namespace laconic
