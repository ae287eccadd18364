// The numbers of a TaskRequest, read by name: each has a default and bounds, and none may be left over.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "methods/gradients/training/training_task.h"

namespace laconic {

class TaskOptions {
 public:
  explicit TaskOptions(const TaskRequest& request) : given_(request.options) {}
  // Throws Error(usage) when the value is outside [low, high].
  double take(const std::string& name, double standard, double low, double high);
  // Whole numbers only.
  std::int64_t take_count(const std::string& name, std::int64_t standard, std::int64_t low,
                          std::int64_t high);
  bool given(const std::string& name) const { return given_.count(name) > 0; }
  // Throws Error(usage) on an option that nobody took, naming those that were.
  void finish() const;
  // "width=128 layers=1": all that were taken, defaults included.
  std::string text() const;

 private:
  std::map<std::string, double> given_;
  std::vector<std::pair<std::string, double>> taken_;
};

}  // namespace laconic
