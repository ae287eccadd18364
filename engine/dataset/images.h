// Labelled pictures of one size, one byte a channel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace laconic {

struct ImageExamples {
  std::int64_t channels = 1, height = 0, width = 0;
  std::vector<std::uint8_t> pixels;  // [examples, channels, height, width]
  std::vector<std::int32_t> labels;  // [examples], 0 .. classes - 1
  std::int32_t classes = 0;

  std::int64_t count() const { return static_cast<std::int64_t>(labels.size()); }
  std::size_t numbers() const { return static_cast<std::size_t>(channels * height * width); }  // of a picture
  std::span<const std::uint8_t> picture(std::int64_t index) const {
    return std::span(pixels).subspan(static_cast<std::size_t>(index) * numbers(), numbers());
  }
};

}  // namespace laconic
