#include "apps/cli/run_report.h"

#include <algorithm>
#include <cmath>

namespace laconic::cli {

std::vector<std::vector<std::string>> settings_table(
    const std::vector<std::pair<std::string, std::string>>& settings) {
  std::vector<std::vector<std::string>> rows = {{"setting", "value"}};
  for (const auto& [name, value] : settings) rows.push_back({name, value});
  return rows;
}

std::string loss_label(const std::string& unit) {
  return "loss, nats per " + unit.substr(0, unit.size() - 1);
}

std::vector<std::pair<double, double>> thinned(const std::vector<std::pair<double, double>>& points) {
  constexpr std::size_t most_points = 400;
  const std::size_t run = std::max<std::size_t>(1, (points.size() + most_points - 1) / most_points);
  std::vector<std::pair<double, double>> means;
  double sum = 0;
  std::size_t count = 0;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (std::isfinite(points[i].second)) {
      sum += points[i].second;
      ++count;
    }
    if ((i + 1) % run != 0 && i + 1 != points.size()) continue;
    if (count > 0) means.emplace_back(points[i].first, sum / static_cast<double>(count));
    sum = 0;
    count = 0;
  }
  return means;
}

}  // namespace laconic::cli
