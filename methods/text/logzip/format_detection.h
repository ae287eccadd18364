// Finding the header format of a log from its first lines.
#pragma once

#include <string>
#include <string_view>

#include "methods/text/logzip/header_format.h"

namespace laconic::logzip {

inline constexpr std::size_t detection_lines = 1000;
inline constexpr double detection_share = 0.95, detection_share_of_traces = 0.8;

// The built-in format that fits best at least 95 % of 1,000 lines sampled from `text`, its times and its
// fields that go with the template filled in. Where none does, the same with 80 %: a log with traces
// and other text of several lines between its events, which go without header. "<Content>" alone where none
// does. For logs of JSON lines that tell a time, the format of json_header.h.
HeaderFormat detect_format(std::string_view text);

// Whether two formats differ at most in which fields go with the template.
bool same_header(const HeaderFormat& a, const HeaderFormat& b);

// `format` (the user's, perhaps) with layouts for fields named like times and with the fields that belong to
// templates marked, as far as `text` shows them. Fields that say so already stay as they are.
HeaderFormat complete_format(const HeaderFormat& format, std::string_view text);

}  // namespace laconic::logzip
