#include "engine/dataset/picture_sheets.h"

#include <fmt/core.h>
#include <png.h>

#include <algorithm>
#include <charconv>
#include <string>

#include "engine/base/error.h"
#include "engine/base/files.h"

namespace laconic {
namespace {

// libpng's simplified interface reports by return values and holds memory until it is freed.
struct PngDecoder {
  png_image image{};
  PngDecoder() { image.version = PNG_IMAGE_VERSION; }
  ~PngDecoder() { png_image_free(&image); }
  PngDecoder(const PngDecoder&) = delete;
  PngDecoder& operator=(const PngDecoder&) = delete;
};

}  // namespace

RasterImage decode_png(ByteSpan bytes, std::string_view where, std::int64_t pixels) {
  PngDecoder decoder;
  png_image& image = decoder.image;
  if (png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()) == 0)
    fail(ErrorKind::corrupt, fmt::format("cannot be read as PNG: {}", image.message), where);
  if (image.width == 0 || image.height == 0 ||
      static_cast<std::int64_t>(image.width) > pixels / static_cast<std::int64_t>(image.height))
    fail(ErrorKind::input, fmt::format("{} x {} pixels are too many", image.width, image.height), where);
  image.format = PNG_FORMAT_RGB;
  RasterImage result;
  result.width = image.width;
  result.height = image.height;
  result.pixels.resize(PNG_IMAGE_SIZE(image));
  const png_color black{0, 0, 0};
  if (png_image_finish_read(&image, &black, result.pixels.data(), 0, nullptr) == 0)
    fail(ErrorKind::corrupt, fmt::format("cannot be read as PNG: {}", image.message), where);
  return result;
}

std::vector<std::int32_t> parse_label_lines(std::string_view text, std::int32_t limit,
                                            std::string_view where) {
  std::vector<std::int32_t> labels;
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    std::int32_t label = -1;
    const auto [stop, error] = std::from_chars(line.data(), line.data() + line.size(), label);
    if (error != std::errc{} || stop != line.data() + line.size() || label < 0 || label >= limit)
      fail(ErrorKind::input, fmt::format("line {} is no label below {}", labels.size() + 1, limit), where);
    labels.push_back(label);
  }
  return labels;
}

ImageExamples read_picture_sheets(std::span<const std::filesystem::path> sheets,
                                  const std::filesystem::path& labels, std::int64_t side) {
  ImageExamples examples;
  examples.channels = 3;
  examples.height = examples.width = side;
  const auto plane = static_cast<std::size_t>(side * side);
  examples.labels = parse_label_lines(read_text_file(labels), 1000, labels.string());
  for (const std::filesystem::path& path : sheets) {
    const RasterImage sheet = decode_png(read_file(path), path.string());
    if (sheet.width != side * side)
      fail(ErrorKind::input,
           fmt::format("has rows of {} pixels, not the {} of a {} x {} picture", sheet.width, plane, side,
                       side),
           path.string());
    const std::size_t first = examples.pixels.size();
    examples.pixels.resize(first + sheet.pixels.size());
    for (std::size_t row = 0; row < static_cast<std::size_t>(sheet.height); ++row) {
      for (std::size_t p = 0; p < plane; ++p) {
        for (std::size_t c = 0; c < 3; ++c)
          examples.pixels[first + (row * 3 + c) * plane + p] = sheet.pixels[(row * plane + p) * 3 + c];
      }
    }
  }
  if (examples.labels.empty() || examples.pixels.size() != examples.labels.size() * 3 * plane)
    fail(ErrorKind::input,
         fmt::format("{} labels for {} pictures", examples.labels.size(),
                     examples.pixels.size() / (3 * plane)),
         labels.string());
  examples.classes = 1 + *std::max_element(examples.labels.begin(), examples.labels.end());
  return examples;
}

}  // namespace laconic
