// JSON from untrusted text: bounded depth, no duplicate keys, errors that name the source.
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace laconic {

struct JsonLimits {
  std::size_t depth = 64;
  std::size_t bytes = std::size_t{256} << 20;
};

// `where` names the file in errors. Throws Error(input) on anything that is not one well-formed JSON value.
nlohmann::json parse_json(std::string_view text, std::string_view where, JsonLimits limits = {});

}  // namespace laconic
