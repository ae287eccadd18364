#include "methods/gradients/tasks/classified_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/base/error.h"

namespace laconic {

ChannelNormalisation normalisation_of(const ImageExamples& images) {
  const auto channels = static_cast<std::size_t>(images.channels);
  const auto plane = static_cast<std::size_t>(images.height * images.width);
  // Whole numbers: no rounding, whatever the order.
  std::vector<std::uint64_t> sum(channels, 0), square(channels, 0);
  for (std::size_t i = 0; i < images.pixels.size(); ++i) {
    const std::uint64_t value = images.pixels[i];
    sum[i / plane % channels] += value;
    square[i / plane % channels] += value * value;
  }
  ChannelNormalisation result;
  const double count = static_cast<double>(images.count()) * static_cast<double>(plane);
  for (std::size_t c = 0; c < channels; ++c) {
    const double mean = static_cast<double>(sum[c]) / count;
    const double variance = static_cast<double>(square[c]) / count - mean * mean;
    result.mean.push_back(static_cast<float>(mean));
    result.scale.push_back(variance > 1e-6 ? static_cast<float>(1 / std::sqrt(variance)) : 1.0f);
  }
  return result;
}

void gather_picture(const ImageExamples& images, const ChannelNormalisation& by, std::int64_t index,
                    std::span<float> out) {
  const auto pixels = images.picture(index);
  require(out.size() == pixels.size(), "a row of a picture's size");
  const auto plane = static_cast<std::size_t>(images.height * images.width);
  for (std::size_t c = 0; c < by.mean.size(); ++c) {
    for (std::size_t p = c * plane; p < (c + 1) * plane; ++p)
      out[p] = (static_cast<float>(pixels[p]) - by.mean[c]) * by.scale[c];
  }
}

ClassifiedRows::Range ClassifiedRows::range_of(std::size_t) const {
  return {-std::numeric_limits<float>::infinity(), std::numeric_limits<float>::infinity(), 1};
}

PictureRows::PictureRows(ImageExamples images, ChannelNormalisation by)
    : images_(std::move(images)), by_(std::move(by)) {
  width_ = images_.numbers();
  classes_ = images_.classes;
  labels_ = images_.labels;
}

ClassifiedRows::Range PictureRows::range_of(std::size_t number) const {
  const std::size_t channel = number / static_cast<std::size_t>(images_.height * images_.width);
  const float mean = by_.mean[channel], scale = by_.scale[channel];
  return {-mean * scale, (255 - mean) * scale, 255 * scale};
}

void PictureRows::gather(std::int64_t index, std::span<float> out) const {
  gather_picture(images_, by_, index, out);
}

SparseRows::SparseRows(SparseExamples rows, std::vector<std::int32_t> labels, std::int32_t classes)
    : rows_(std::move(rows)) {
  width_ = static_cast<std::size_t>(rows_.columns);
  classes_ = classes;
  labels_ = std::move(labels);
}

void SparseRows::gather(std::int64_t index, std::span<float> out) const {
  std::fill(out.begin(), out.end(), 0.0f);
  const SparseRow row = rows_.row(index);
  for (std::size_t k = 0; k < row.columns.size(); ++k) out[row.columns[k]] = row.values[k];
}

}  // namespace laconic
