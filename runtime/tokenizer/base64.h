// Base64 with padding (RFC 4648, section 4).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace laconic {

// Nothing when the text is not base64. Missing padding is accepted.
std::optional<std::string> base64_decoded(std::string_view text);

}  // namespace laconic
