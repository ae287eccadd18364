// What bounds one rendering of a template, and where its faults are reported.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/error.h"

namespace laconic::chat {

struct Limits {
  std::uint64_t work = std::uint64_t{1} << 28;          // evaluated nodes and bytes made
  std::uint64_t output_bytes = std::uint64_t{1} << 25;  // of the rendered text
};

struct Run {
  std::string where;  // names the template in errors
  Limits limits;
  int line = 0;
  std::uint64_t spent = 0;

  // Every step and every byte that is made costs one.
  void spend(std::uint64_t work) {
    spent += work;
    if (work > limits.work || spent > limits.work) fault("needs too much work to evaluate");
  }
  [[noreturn]] void fault(std::string_view what, ErrorKind kind = ErrorKind::unsupported) const;
};

}  // namespace laconic::chat
