#include "methods/gradients/dgc/sparsity_schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/base/error.h"

namespace laconic::dgc {
namespace {

void check_share(double share, std::string_view where) {
  if (!(share > 0 && share <= 1))
    fail(ErrorKind::usage, fmt::format("{} is not a share of the coordinates", share), where,
         "give a number over 0 and up to 1: 0.001 sends one of a thousand");
}

std::vector<double> shares_of(const std::string& text) {
  std::vector<double> shares;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find('_', begin), text.size());
    double share = 0;
    const auto [rest, error] = std::from_chars(text.data() + begin, text.data() + end, share);
    if (error != std::errc() || rest != text.data() + end)
      fail(ErrorKind::usage, "'" + text + "' is not a list of numbers", "warmup",
           "write them like 0.25_0.063_0.015_0.004");
    check_share(share, "warmup");
    shares.push_back(share);
    begin = end + 1;
  }
  return shares;
}

}  // namespace

double SparsitySchedule::at(std::uint64_t epoch) const {
  return epoch < warm_up.size() ? warm_up[static_cast<std::size_t>(epoch)] : ratio;
}

std::string SparsitySchedule::text() const {
  std::string text = fmt::format("ratio {}", ratio);
  for (std::size_t i = 0; i < warm_up.size(); ++i)
    text += fmt::format("{}{}", i == 0 ? " after " : ", ", warm_up[i]);
  return text;
}

SparsitySchedule exponential_schedule(double ratio, std::int64_t epochs) {
  check_share(ratio, "ratio");
  SparsitySchedule schedule;
  schedule.ratio = ratio;
  for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
    const double power = static_cast<double>(epoch + 1) / static_cast<double>(epochs + 1);
    schedule.warm_up.push_back(std::max(std::pow(ratio, power), ratio));
  }
  return schedule;
}

SparsitySchedule schedule_from(const Parameters& parameters) {
  const std::int64_t epochs = parameters.integer("warmup_epochs");
  const std::string& list = parameters.text("warmup");
  if (list == "none") return exponential_schedule(parameters.number("ratio"), epochs);
  SparsitySchedule schedule = exponential_schedule(parameters.number("ratio"), 0);
  schedule.warm_up = shares_of(list);
  const auto count = static_cast<std::int64_t>(schedule.warm_up.size());
  if (parameters.is_set("warmup_epochs") && count < epochs) {
    fail(ErrorKind::usage, fmt::format("lists {} shares for {} epochs", count, epochs), "warmup",
         "give one share for every epoch of the warm-up");
  }
  if (parameters.is_set("warmup_epochs")) schedule.warm_up.resize(static_cast<std::size_t>(epochs));
  return schedule;
}

std::vector<ParameterSpec> schedule_parameters() {
  using Type = ParameterSpec::Type;
  return {{"ratio", Type::number, "0.001", 0, 1, {}, "share of a tensor's coordinates that is sent"},
          {"warmup_epochs",
           Type::integer,
           "5",
           0,
           1000,
           {},
           "epochs in which the share falls to it; 0: it is reached at once"},
          {"warmup",
           Type::text,
           "none",
           0,
           0,
           {},
           "shares by epoch, like 0.25_0.063_0.015_0.004; none: ratio^((epoch + 1) / (epochs + 1))"}};
}

}  // namespace laconic::dgc
