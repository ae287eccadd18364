// Small pictures on PNG sheets: every row of a sheet is one picture, its pixels row by row, beside a text
// file with one label a line. Lossless and readable by any viewer; CIFAR-10 comes to us this way.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/dataset/images.h"

namespace laconic {

struct RasterImage {
  std::int64_t width = 0, height = 0;
  std::vector<std::uint8_t> pixels;  // [height, width, 3], red green blue
};

// 8-bit colours, whatever the file has (grey becomes three equal channels, alpha is dropped over black).
// Throws Error(corrupt) for what is no PNG, Error(input) for one of more than `pixels`.
RasterImage decode_png(ByteSpan bytes, std::string_view where, std::int64_t pixels = std::int64_t{1} << 26);

// Sheets in order, `side` x `side` pictures, and the labels of all of them, below 1000.
ImageExamples read_picture_sheets(std::span<const std::filesystem::path> sheets,
                                  const std::filesystem::path& labels, std::int64_t side);

// One non-negative number below `limit` a line; blank lines at the end are no labels.
std::vector<std::int32_t> parse_label_lines(std::string_view text, std::int32_t limit,
                                            std::string_view where);

}  // namespace laconic
