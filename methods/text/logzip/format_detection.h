// Finding the header format of a log from its first lines.
#pragma once

#include <string>
#include <string_view>

#include "methods/text/logzip/header_format.h"

namespace laconic::logzip {

inline constexpr std::size_t detection_lines = 1000;
inline constexpr double detection_share = 0.95;

// The built-in format that fits best at least 95 % of 1,000 lines sampled from `text`, its times and its
// fields that go with the template filled in; "<Content>" alone where none does. For logs of JSON lines that
// tell a time, the format of json_header.h.
HeaderFormat detect_format(std::string_view text);

// `format` (the user's, perhaps) with layouts for fields named like times and with the fields that belong to
// templates marked, as far as `text` shows them. Fields that say so already stay as they are.
HeaderFormat complete_format(const HeaderFormat& format, std::string_view text);

}  // namespace laconic::logzip
