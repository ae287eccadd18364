// Whole files that may be gzip-compressed (RFC 1952), as data sets often come.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

#include "engine/base/bytes.h"

namespace laconic {

// What the file holds, decompressed when it starts as gzip data do. Throws Error(input) when it is missing or
// larger than `limit` either way, Error(corrupt) when the compressed data are damaged.
Bytes read_plain_or_gzip(const std::filesystem::path& path, std::size_t limit = std::size_t{1} << 32);

// Members that follow each other are joined. `where` names the data in error messages.
Bytes decompress_gzip(ByteSpan bytes, std::size_t limit, std::string_view where);

}  // namespace laconic
