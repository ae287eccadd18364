// Normalisers of tokenizer.json: what happens to the text before it is cut into words. A list of steps,
// applied in order; a Sequence is flattened.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace laconic {

class TextNormalizer {
 public:
  TextNormalizer() = default;  // changes nothing
  // `value` may be null. Throws Error(unsupported) naming a type that is not known.
  TextNormalizer(const nlohmann::json& value, std::string_view where);

  bool empty() const { return steps_.empty(); }
  // `text` must be valid UTF-8, and the result is.
  std::string apply(std::string_view text) const;

 private:
  void add(const nlohmann::json& value, std::string_view where, int depth);
  std::vector<std::function<std::string(std::string)>> steps_;
};

// All matches of `text` in `in` replaced, from left to right.
std::string replaced(std::string_view in, std::string_view text, std::string_view replacement);

}  // namespace laconic
