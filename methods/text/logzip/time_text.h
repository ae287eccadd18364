// Moments as a user writes them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "methods/text/logzip/header_format.h"

namespace laconic::logzip {

// Nanoseconds since 1970 of a time written as lines of `format` write theirs, or as "2026-01-31",
// "2026-01-31 14:05", "2026-01-31T14:05:09.25", "14:05:09", or "@" and seconds since 1970. What the format
// leaves open (the year, the day) is left open here too, so that moments of its lines compare with it.
// Nothing where it is none of these.
std::optional<std::int64_t> moment_of(std::string_view text, const HeaderFormat& format);

// The moment of the last line of a text that tells one.
std::optional<std::int64_t> last_moment(std::string_view text, const HeaderFormat& format);

}  // namespace laconic::logzip
