// The text of a header format in few bytes, for the head of an archive: common pieces of formats are one byte
// each. Small logs make small archives, in which the plain text would be one byte in a hundred.
//
// A byte from 0x80 to 0xFE is a phrase of the table in docs/format-logs.md, 0xFF says that the next byte is
// meant literally, and every other byte is itself.
#pragma once

#include <string>
#include <string_view>

#include "engine/base/bytes.h"

namespace laconic::logzip {

Bytes shorten_format(std::string_view text);
// Error(corrupt) for phrases that do not exist and for texts longer than a format may be.
std::string lengthen_format(ByteSpan bytes, std::string_view where);

}  // namespace laconic::logzip
