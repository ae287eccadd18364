#include "runtime/kv_cache.h"

#include <algorithm>

#include "engine/base/error.h"

namespace laconic {
namespace {

// Keys and values of one KV head stand together, so that attention reads them in one run.
struct HeadRows {
  std::vector<float> keys, values;
};

struct LayerRows {
  std::vector<HeadRows> heads;
  std::int64_t count = 0;   // tokens that went through the layer
  bool holds_none = false;  // the layer's attention was dropped
};

class F32Cache final : public KvCache {
 public:
  F32Cache(std::int64_t layers, std::int64_t kv_heads, std::int64_t head_dim)
      : layers_(static_cast<std::size_t>(layers)), head_dim_(head_dim) {
    for (LayerRows& layer : layers_) layer.heads.resize(static_cast<std::size_t>(kv_heads));
  }

  void append(std::int64_t layer, const float* keys, const float* values, std::int64_t rows) override {
    LayerRows& target = layers_.at(static_cast<std::size_t>(layer));
    require(target.count == 0 || (keys == nullptr) == target.holds_none,
            "a layer's attention stays dropped or present while a cache is used");
    target.holds_none = keys == nullptr;
    target.count += rows;
    if (keys == nullptr) return;
    const auto heads = static_cast<std::int64_t>(target.heads.size());
    for (std::int64_t h = 0; h < heads; ++h) {
      HeadRows& head = target.heads[static_cast<std::size_t>(h)];
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t from = (row * heads + h) * head_dim_;
        head.keys.insert(head.keys.end(), keys + from, keys + from + head_dim_);
        head.values.insert(head.values.end(), values + from, values + from + head_dim_);
      }
    }
  }

  std::int64_t length() const override {
    std::int64_t least = layers_.empty() ? 0 : layers_.front().count;
    for (const LayerRows& layer : layers_) least = std::min(least, layer.count);
    return least;
  }

  std::vector<KvRows> rows(std::int64_t layer, std::int64_t kv_head) const override {
    const LayerRows& from = layers_.at(static_cast<std::size_t>(layer));
    if (from.holds_none || from.count == 0) return {};
    const HeadRows& head = from.heads.at(static_cast<std::size_t>(kv_head));
    return {{head.keys.data(), head.values.data(), 0, from.count}};
  }

  void truncate(std::int64_t length) override {
    require(length >= 0, "a cache is cut to a length of at least 0");
    for (LayerRows& layer : layers_) {
      if (layer.count <= length) continue;
      layer.count = length;
      if (layer.holds_none) continue;
      for (HeadRows& head : layer.heads) {
        head.keys.resize(static_cast<std::size_t>(length * head_dim_));
        head.values.resize(static_cast<std::size_t>(length * head_dim_));
      }
    }
  }

  std::unique_ptr<KvCache> snapshot() const override { return std::make_unique<F32Cache>(*this); }

  std::uint64_t bytes() const override {
    std::uint64_t sum = 0;
    for (const LayerRows& layer : layers_) {
      for (const HeadRows& head : layer.heads) sum += (head.keys.size() + head.values.size()) * sizeof(float);
    }
    return sum;
  }

 private:
  std::vector<LayerRows> layers_;
  std::int64_t head_dim_;
};

}  // namespace

std::unique_ptr<KvCache> make_f32_cache(std::int64_t layers, std::int64_t kv_heads, std::int64_t head_dim) {
  return std::make_unique<F32Cache>(layers, kv_heads, head_dim);
}

}  // namespace laconic
