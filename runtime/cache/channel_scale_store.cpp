#include "runtime/cache/channel_scale_store.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"

namespace laconic {
namespace {

constexpr float least_scale = 1e-6f;
constexpr float largest_f16 = 65504.0f;

class ChannelScaledCodec final : public RowCodec {
 public:
  ChannelScaledCodec(std::shared_ptr<const RowCodec> divided, bool f32_scales)
      : divided_(std::move(divided)), f32_scales_(f32_scales) {}
  std::string canonical() const override { return "scaled channels of " + divided_->canonical(); }

  std::unique_ptr<const RowStore> encode(const HeadMatrices& rows, const RowContext& context) const override {
    std::vector<std::vector<float>> scales;
    float largest = 0;
    for (const HeadMatrix& part : rows) {
      std::vector<float>& channels = scales.emplace_back(static_cast<std::size_t>(part.width));
      for (std::int64_t r = 0; r < part.rows; ++r) {
        for (std::size_t j = 0; j < channels.size(); ++j)
          channels[j] = std::max(channels[j], std::abs(part.row(r)[j]));
      }
      for (float& c : channels) {
        if (c > 0) c = std::max(std::sqrt(c), least_scale);
        largest = std::max(largest, c);
      }
    }
    const DType dtype = f32_scales_ || largest > largest_f16 ? DType::f32 : DType::f16;
    HeadMatrices divided = rows;
    for (std::size_t part = 0; part < rows.size(); ++part) {
      for (float& c : scales[part]) c = rounded_to(dtype, c);
      for (std::int64_t r = 0; r < divided[part].rows; ++r) {
        float* row = divided[part].row(r);
        for (std::size_t j = 0; j < scales[part].size(); ++j)
          row[j] = scales[part][j] > 0 ? row[j] / scales[part][j] : 0;
      }
    }
    return std::make_unique<ChannelScaleStore>(dtype, std::move(scales), divided_->encode(divided, context));
  }

  std::unique_ptr<const RowStore> read(ByteReader& reader, const RowStoreShape& shape,
                                       const RowContext& context) const override {
    const std::uint8_t wide = reader.u8();
    if (wide > 1) reader.corrupt("channel scales of an unknown type");
    const DType dtype = wide == 1 ? DType::f32 : DType::f16;
    std::vector<std::vector<float>> scales;
    for (const auto& [rows, width] : shape.parts) {
      const ByteSpan stored = reader.take(static_cast<std::size_t>(width) * size_of(dtype));
      std::vector<float>& channels = scales.emplace_back(static_cast<std::size_t>(width));
      convert_to_f32(dtype, stored.data(), channels);
      for (const float c : channels) {
        if (!std::isfinite(c) || std::signbit(c)) reader.corrupt("a channel scale that is no scale");
      }
    }
    return std::make_unique<ChannelScaleStore>(dtype, std::move(scales),
                                               divided_->read(reader, shape, context));
  }

 private:
  std::shared_ptr<const RowCodec> divided_;
  bool f32_scales_;
};

}  // namespace

ChannelScaleStore::ChannelScaleStore(DType dtype, std::vector<std::vector<float>> scales,
                                     std::unique_ptr<const RowStore> divided)
    : dtype_(dtype), scales_(std::move(scales)), divided_(std::move(divided)) {
  require(static_cast<std::int64_t>(scales_.size()) == divided_->parts(), "every part has its scales");
}

void ChannelScaleStore::read(std::int64_t part, std::int64_t begin, std::int64_t end, float* out) const {
  divided_->read(part, begin, end, out);
  const std::vector<float>& c = scales(part);
  for (std::int64_t r = 0; r < end - begin; ++r) {
    float* row = out + r * width(part);
    for (std::size_t j = 0; j < c.size(); ++j) row[j] *= c[j];
  }
}

void ChannelScaleStore::dot(std::int64_t part, std::int64_t begin, std::int64_t end, const float* queries,
                            std::int64_t count, float* scores, std::int64_t stride) const {
  const std::vector<float>& c = scales(part);
  std::vector<float> scaled(static_cast<std::size_t>(count) * c.size());
  for (std::int64_t i = 0; i < count; ++i) {
    const float* from = queries + i * width(part);
    float* to = scaled.data() + i * width(part);
    for (std::size_t j = 0; j < c.size(); ++j) to[j] = from[j] * c[j];
  }
  divided_->dot(part, begin, end, scaled.data(), count, scores, stride);
}

void ChannelScaleStore::mix(std::int64_t part, std::int64_t begin, std::int64_t end, const float* weights,
                            std::int64_t stride, std::int64_t count, float* sums) const {
  const std::vector<float>& c = scales(part);
  std::vector<float> divided(static_cast<std::size_t>(count) * c.size());
  divided_->mix(part, begin, end, weights, stride, count, divided.data());
  for (std::int64_t i = 0; i < count; ++i) {
    const float* from = divided.data() + i * width(part);
    float* to = sums + i * width(part);
    for (std::size_t j = 0; j < c.size(); ++j) to[j] += from[j] * c[j];
  }
}

KvBytes ChannelScaleStore::bytes() const {
  KvBytes sum = divided_->bytes();
  sum.header += 1;
  for (const std::vector<float>& c : scales_) sum.scales += c.size() * size_of(dtype_);
  return sum;
}

void ChannelScaleStore::write(ByteWriter& writer) const {
  writer.u8(dtype_ == DType::f32 ? 1 : 0);
  for (const std::vector<float>& c : scales_) {
    Bytes stored(c.size() * size_of(dtype_));
    convert_from_f32(c, dtype_, stored.data());
    writer.append(stored);
  }
  divided_->write(writer);
}

std::shared_ptr<const RowCodec> channel_scaled_codec(std::shared_ptr<const RowCodec> divided,
                                                     bool f32_scales) {
  return std::make_shared<ChannelScaledCodec>(std::move(divided), f32_scales);
}

}  // namespace laconic
