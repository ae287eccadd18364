// The IDX format of MNIST and its relatives, plain or gzip: two zero bytes, the element type, the number of
// dimensions, then each dimension as a big-endian u32, then the elements.
// Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database", file formats. Only unsigned bytes occur in
// labelled pictures, and only they are read.
#pragma once

#include <filesystem>
#include <string_view>

#include "engine/base/bytes.h"
#include "engine/dataset/images.h"
#include "engine/tensor/tensor.h"

namespace laconic {

struct IdxArray {
  Shape shape;
  std::vector<std::uint8_t> values;
};

// Throws Error(corrupt) where the sizes and the bytes disagree, Error(unsupported) for other element types.
IdxArray parse_idx(ByteSpan bytes, std::string_view where);
IdxArray read_idx(const std::filesystem::path& path);

// Pictures [examples, height, width] or [examples, height, width, 3] and their labels [examples], below 1000.
ImageExamples read_idx_pair(const std::filesystem::path& images, const std::filesystem::path& labels);

}  // namespace laconic
