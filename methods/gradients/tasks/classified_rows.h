// Examples of several classes as dense rows of f32, gathered when a batch needs them: pictures, brought to
// mean 0 and deviation 1 per channel of the training part, or sparse rows as they are.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/dataset/images.h"
#include "engine/dataset/libsvm.h"

namespace laconic {

// Of bytes: value = (byte - mean) * scale.
struct ChannelNormalisation {
  std::vector<float> mean, scale;  // [channels]
};
// Channels of one value get scale 1.
ChannelNormalisation normalisation_of(const ImageExamples& images);
void gather_picture(const ImageExamples& images, const ChannelNormalisation& by, std::int64_t index,
                    std::span<float> out);

class ClassifiedRows {
 public:
  virtual ~ClassifiedRows() = default;
  std::size_t width() const { return width_; }
  std::int32_t classes() const { return classes_; }
  std::int64_t count() const { return static_cast<std::int64_t>(labels_.size()); }
  const std::vector<std::int32_t>& labels() const { return labels_; }
  // What number `number` of a row may be, and what a distance of 1 is there: black to white.
  struct Range {
    float least, most, unit;
  };
  virtual Range range_of(std::size_t number) const;
  // Writes row `index`, [width].
  virtual void gather(std::int64_t index, std::span<float> out) const = 0;

 protected:
  std::size_t width_ = 0;
  std::int32_t classes_ = 0;
  std::vector<std::int32_t> labels_;
};

class PictureRows final : public ClassifiedRows {
 public:
  PictureRows(ImageExamples images, ChannelNormalisation by);
  Range range_of(std::size_t number) const override;
  void gather(std::int64_t index, std::span<float> out) const override;

 private:
  ImageExamples images_;
  ChannelNormalisation by_;
};

class SparseRows final : public ClassifiedRows {
 public:
  SparseRows(SparseExamples rows, std::vector<std::int32_t> labels, std::int32_t classes);
  void gather(std::int64_t index, std::span<float> out) const override;

 private:
  SparseExamples rows_;
};

}  // namespace laconic
