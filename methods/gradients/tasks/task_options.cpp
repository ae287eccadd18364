#include "methods/gradients/tasks/task_options.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"

namespace laconic {

double TaskOptions::take(const std::string& name, double standard, double low, double high) {
  const auto found = given_.find(name);
  const double value = found == given_.end() ? standard : found->second;
  if (!(value >= low && value <= high))
    fail(ErrorKind::usage, fmt::format("{} is outside {} to {}", value, low, high), name);
  taken_.emplace_back(name, value);
  return value;
}

std::int64_t TaskOptions::take_count(const std::string& name, std::int64_t standard, std::int64_t low,
                                     std::int64_t high) {
  const double value =
      take(name, static_cast<double>(standard), static_cast<double>(low), static_cast<double>(high));
  if (value != std::floor(value)) fail(ErrorKind::usage, fmt::format("{} is no whole number", value), name);
  return static_cast<std::int64_t>(value);
}

void TaskOptions::finish() const {
  for (const auto& [name, value] : given_) {
    const auto same = [&wanted = name](const auto& taken) { return taken.first == wanted; };
    if (std::any_of(taken_.begin(), taken_.end(), same)) continue;
    std::string there;
    for (const auto& taken : taken_) there += (there.empty() ? "" : ", ") + taken.first;
    fail(ErrorKind::usage, "this task has no such option", name, "there are " + there);
  }
}

std::string TaskOptions::text() const {
  std::string text;
  for (const auto& [name, value] : taken_)
    text += fmt::format("{}{}={}", text.empty() ? "" : " ", name, value);
  return text;
}

}  // namespace laconic
