// What the reports of training runs share.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace laconic::cli {

// A table of what the run was.
std::vector<std::vector<std::string>> settings_table(
    const std::vector<std::pair<std::string, std::string>>& settings);
// "loss, nats per example" of a task's unit, "examples".
std::string loss_label(const std::string& unit);
// Curves of many thousand points are drawn by means: of each run of points the last x and the mean y. Values
// of y that are not finite are left out.
std::vector<std::pair<double, double>> thinned(const std::vector<std::pair<double, double>>& points);

}  // namespace laconic::cli
