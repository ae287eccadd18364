// Post-processors of tokenizer.json: the special tokens put around an encoded text.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string_view>
#include <vector>

namespace laconic {

class PostProcessor {
 public:
  PostProcessor() = default;  // adds nothing
  PostProcessor(std::vector<std::int32_t> before, std::vector<std::int32_t> after);
  // `value` may be null. Throws Error(unsupported) naming a type that is not known.
  PostProcessor(const nlohmann::json& value, std::string_view where);

  std::vector<std::int32_t> apply(std::vector<std::int32_t> ids) const;
  const std::vector<std::int32_t>& before() const { return before_; }
  const std::vector<std::int32_t>& after() const { return after_; }

 private:
  void add(const nlohmann::json& value, std::string_view where, int depth);
  // The text stands once; what a template puts before and after it.
  std::vector<std::int32_t> before_, after_;
};

}  // namespace laconic
