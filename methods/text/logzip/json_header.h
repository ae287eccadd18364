// The header format of a log of JSON lines: the field that tells the time, wherever it stands among the keys.
//
// In `<Fields!>"time":"<Timestamp=...>"<Content>` the first field is all in front of the time's key, at least
// the opening brace, and goes with the template; where the key comes first in every line, the format begins
// with it.
#pragma once

#include <optional>
#include <span>
#include <string_view>

#include "methods/text/logzip/header_format.h"

namespace laconic::logzip {

// Nothing where fewer than `needed` of the lines are objects with such a field.
std::optional<HeaderFormat> json_header(std::span<const std::string_view> lines, std::size_t needed);

}  // namespace laconic::logzip
