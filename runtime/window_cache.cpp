#include "runtime/window_cache.h"

#include <algorithm>

#include "engine/base/error.h"

namespace laconic {
namespace {

struct WindowHead {
  std::vector<float> keys, values;
};

struct WindowLayer {
  std::vector<WindowHead> heads;
  std::int64_t count = 0;    // tokens that went through the layer
  std::int64_t dropped = 0;  // of them, between sinks and the rest
  bool holds_none = false;   // the layer's attention was dropped
};

class WindowCache final : public KvCache {
 public:
  WindowCache(std::int64_t layers, std::int64_t kv_heads, std::int64_t head_dim, std::int64_t sinks,
              std::int64_t window)
      : layers_(static_cast<std::size_t>(layers)), head_dim_(head_dim), sinks_(sinks), window_(window) {
    for (WindowLayer& layer : layers_) layer.heads.resize(static_cast<std::size_t>(kv_heads));
  }

  void append(std::int64_t layer, const float* keys, const float* values, std::int64_t rows) override {
    WindowLayer& target = layers_.at(static_cast<std::size_t>(layer));
    require(target.count == 0 || (keys == nullptr) == target.holds_none,
            "a layer's attention stays dropped or present while a cache is used");
    target.holds_none = keys == nullptr;
    if (keys != nullptr) {
      drop(target, rows);
      const auto heads = static_cast<std::int64_t>(target.heads.size());
      for (std::int64_t row = 0; row < rows; ++row) {
        for (std::int64_t h = 0; h < heads; ++h) {
          const std::int64_t from = (row * heads + h) * head_dim_;
          WindowHead& head = target.heads[static_cast<std::size_t>(h)];
          head.keys.insert(head.keys.end(), keys + from, keys + from + head_dim_);
          head.values.insert(head.values.end(), values + from, values + from + head_dim_);
        }
      }
    }
    target.count += rows;
  }

  std::int64_t length() const override {
    std::int64_t least = layers_.empty() ? 0 : layers_.front().count;
    for (const WindowLayer& layer : layers_) least = std::min(least, layer.count);
    return least;
  }

  std::vector<KvRows> rows(std::int64_t layer, std::int64_t kv_head) const override {
    const WindowLayer& from = layers_.at(static_cast<std::size_t>(layer));
    if (from.holds_none || from.count == 0) return {};
    const WindowHead& head = from.heads.at(static_cast<std::size_t>(kv_head));
    if (from.dropped == 0) return {{head.keys.data(), head.values.data(), 0, from.count}};
    std::vector<KvRows> runs;
    if (sinks_ > 0) runs.push_back({head.keys.data(), head.values.data(), 0, sinks_});
    runs.push_back({head.keys.data() + sinks_ * head_dim_, head.values.data() + sinks_ * head_dim_,
                    sinks_ + from.dropped, from.count - from.dropped - sinks_});
    return runs;
  }

  void truncate(std::int64_t length) override {
    require(length >= 0, "a cache is cut to a length of at least 0");
    for (WindowLayer& layer : layers_) {
      if (layer.count <= length) continue;
      if (layer.dropped > 0 && length < layer.dropped + sinks_) {
        fail(ErrorKind::usage, "a window cache cannot go back to tokens that it dropped",
             std::to_string(length), "start with an empty cache");
      }
      layer.count = length;
      const std::int64_t held = length - layer.dropped;
      if (layer.holds_none) continue;
      for (WindowHead& head : layer.heads) {
        head.keys.resize(static_cast<std::size_t>(held * head_dim_));
        head.values.resize(static_cast<std::size_t>(held * head_dim_));
      }
    }
  }

  std::unique_ptr<KvCache> snapshot() const override { return std::make_unique<WindowCache>(*this); }

  std::uint64_t bytes() const override {
    std::uint64_t sum = 0;
    for (const WindowLayer& layer : layers_) {
      for (const WindowHead& head : layer.heads)
        sum += (head.keys.size() + head.values.size()) * sizeof(float);
    }
    return sum;
  }

 private:
  void drop(WindowLayer& layer, std::int64_t rows) const {
    const std::int64_t keep = std::max<std::int64_t>(window_ - rows, 0);
    const std::int64_t held = layer.count - layer.dropped;  // sinks among them
    const std::int64_t excess = held - std::min(sinks_, held) - keep;
    if (excess <= 0) return;
    const auto first = static_cast<std::ptrdiff_t>(sinks_ * head_dim_),
               last = static_cast<std::ptrdiff_t>((sinks_ + excess) * head_dim_);
    for (WindowHead& head : layer.heads) {
      head.keys.erase(head.keys.begin() + first, head.keys.begin() + last);
      head.values.erase(head.values.begin() + first, head.values.begin() + last);
    }
    layer.dropped += excess;
  }

  std::vector<WindowLayer> layers_;
  std::int64_t head_dim_, sinks_, window_;
};

}  // namespace

std::unique_ptr<KvCache> make_window_cache(std::int64_t layers, std::int64_t kv_heads, std::int64_t head_dim,
                                           std::int64_t sinks, std::int64_t window) {
  if (sinks < 0 || window < 1) {
    fail(ErrorKind::usage, "a window cache keeps no sinks or more and one token or more",
         std::to_string(sinks) + " and " + std::to_string(window));
  }
  return std::make_unique<WindowCache>(layers, kv_heads, head_dim, sinks, window);
}

}  // namespace laconic
