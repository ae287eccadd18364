// General compressors to compare with, through their libraries, or for bzip2 the installed program.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "engine/base/bytes.h"

namespace laconic::logzip {

// Bytes of the file that each program makes of `text` in one piece.
std::uint64_t gzip_bytes(std::string_view text);  // zlib, level 9
std::uint64_t xz_bytes(std::string_view text);    // liblzma, preset 9e: xz -9e
std::uint64_t zstd_bytes(std::string_view text);  // libzstd, level 19 with long matches over 2^27 bytes
// Nothing where the program bzip2 is not installed.
std::optional<std::uint64_t> bzip2_bytes(std::string_view text);

}  // namespace laconic::logzip
