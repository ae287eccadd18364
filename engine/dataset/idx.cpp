#include "engine/dataset/idx.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>

#include "engine/base/error.h"
#include "engine/dataset/gzip.h"

namespace laconic {
namespace {

constexpr std::size_t idx_limit = std::size_t{1} << 32;
constexpr std::int32_t idx_classes = 1000;

}  // namespace

IdxArray parse_idx(ByteSpan bytes, std::string_view where) {
  ByteReader reader(bytes, std::string(where));
  if (reader.u16() != 0) reader.corrupt("does not start as IDX files do");
  const std::uint8_t type = reader.u8();
  if (type != 0x08)
    fail(ErrorKind::unsupported,
         fmt::format("IDX elements of type {:#04x}; only unsigned bytes are read", type), where);
  const std::uint8_t dimensions = reader.u8();
  if (dimensions == 0 || dimensions > 4) reader.corrupt("IDX arrays have one to four dimensions");
  IdxArray array;
  std::uint64_t count = 1;
  for (std::uint8_t i = 0; i < dimensions; ++i) {
    std::uint32_t side = 0;
    for (int byte = 0; byte < 4; ++byte) side = side << 8 | reader.u8();
    // Every factor is below 2^32 and the product so far is at most the file's bytes: it cannot wrap.
    if (side != 0 && count > reader.remaining()) reader.corrupt("larger sizes than the file has bytes");
    count *= side;
    array.shape.push_back(side);
  }
  if (count != reader.remaining())
    reader.corrupt(fmt::format("{} elements in the header, {} in the file", count, reader.remaining()));
  const ByteSpan values = reader.take(static_cast<std::size_t>(count));
  const auto* first = reinterpret_cast<const std::uint8_t*>(values.data());
  array.values.assign(first, first + values.size());
  return array;
}

IdxArray read_idx(const std::filesystem::path& path) {
  return parse_idx(read_plain_or_gzip(path, idx_limit), path.string());
}

ImageExamples read_idx_pair(const std::filesystem::path& images, const std::filesystem::path& labels) {
  IdxArray pictures = read_idx(images);
  const IdxArray classes = read_idx(labels);
  const Shape& shape = pictures.shape;
  const bool colour = shape.size() == 4 && shape[3] == 3;
  if (!(shape.size() == 3 || colour) || shape[0] == 0 || shape[1] == 0 || shape[2] == 0)
    fail(ErrorKind::input, "is no array of pictures: " + to_string(shape), images.string());
  if (classes.shape.size() != 1 || classes.shape[0] != shape[0])
    fail(ErrorKind::input,
         fmt::format("has the shape {} where {} labels are needed", to_string(classes.shape), shape[0]),
         labels.string());
  ImageExamples examples;
  examples.height = shape[1];
  examples.width = shape[2];
  examples.labels.assign(classes.values.begin(), classes.values.end());
  examples.classes = 1 + *std::max_element(examples.labels.begin(), examples.labels.end());
  if (examples.classes > idx_classes) fail(ErrorKind::input, "has labels over 999", labels.string());
  if (!colour) {
    examples.pixels = std::move(pictures.values);
    return examples;
  }
  // Interleaved colours become planes.
  examples.channels = 3;
  examples.pixels.resize(pictures.values.size());
  const auto plane = static_cast<std::size_t>(shape[1] * shape[2]);
  for (std::size_t i = 0; i < examples.labels.size(); ++i) {
    for (std::size_t p = 0; p < plane; ++p) {
      for (std::size_t c = 0; c < 3; ++c)
        examples.pixels[(i * 3 + c) * plane + p] = pictures.values[(i * plane + p) * 3 + c];
    }
  }
  return examples;
}

}  // namespace laconic
