// Rows whose channels were divided by scales of their own before another codec took them: the
// channel-separable grids of ZipCache (He et al. 2024, arXiv 2405.14256). With
//   c_j = sqrt(max over rows of |x_j|)
// a channel of large numbers no longer widens the grid that all channels of a token share.
// Queries are multiplied by c before the rows are scored, and weighted sums after, so that no row is touched.
#pragma once

#include <memory>
#include <vector>

#include "engine/tensor/dtype.h"
#include "runtime/cache/row_store.h"

namespace laconic {

class ChannelScaleStore final : public RowStore {
 public:
  // scales [width] per part, as `dtype` stores them.
  ChannelScaleStore(DType dtype, std::vector<std::vector<float>> scales,
                    std::unique_ptr<const RowStore> divided);

  std::int64_t parts() const override { return divided_->parts(); }
  std::int64_t rows(std::int64_t part) const override { return divided_->rows(part); }
  std::int64_t width(std::int64_t part) const override { return divided_->width(part); }
  void read(std::int64_t part, std::int64_t begin, std::int64_t end, float* out) const override;
  void dot(std::int64_t part, std::int64_t begin, std::int64_t end, const float* queries, std::int64_t count,
           float* scores, std::int64_t stride) const override;
  void mix(std::int64_t part, std::int64_t begin, std::int64_t end, const float* weights, std::int64_t stride,
           std::int64_t count, float* sums) const override;
  KvBytes bytes() const override;
  void write(ByteWriter& writer) const override;

  const std::vector<float>& scales(std::int64_t part) const {
    return scales_.at(static_cast<std::size_t>(part));
  }
  const RowStore& divided() const { return *divided_; }

 private:
  DType dtype_;
  std::vector<std::vector<float>> scales_;
  std::unique_ptr<const RowStore> divided_;
};

// Scales are at least 1e-6, and 0 for a channel of zeros, which decodes to zeros. They are f16, or f32 where
// one does not fit or `f32_scales` asks for it; rows are divided by what is stored.
std::shared_ptr<const RowCodec> channel_scaled_codec(std::shared_ptr<const RowCodec> divided,
                                                     bool f32_scales = false);

}  // namespace laconic
