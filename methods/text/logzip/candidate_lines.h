// Lines of a coded block that may hold a literal, found in the columns that can hold pieces of it; the others
// stay coded.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "methods/text/logzip/block_codec.h"
#include "methods/text/logzip/literal_plan.h"

namespace laconic::logzip {

// The plans of one literal for the templates of an archive, each made once. Safe to use from many threads.
class LiteralPlans {
 public:
  explicit LiteralPlans(std::string_view literal) : literal_(literal) {}
  const std::string& literal() const { return literal_; }
  const LiteralPlan& of(const Template& one, const HeaderFormat& format);

 private:
  std::string literal_;
  std::mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::unique_ptr<const LiteralPlan>> plans_;
};

// Numbers of the lines (as the block counts them, from 0) that may hold the literal, ascending. Nothing where
// they are so many that the whole text should be searched.
std::optional<std::vector<std::uint32_t>> candidate_lines(BlockReader& block, const HeaderFormat& format,
                                                          LiteralPlans& plans);

}  // namespace laconic::logzip
