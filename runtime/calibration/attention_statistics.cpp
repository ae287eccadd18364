#include "runtime/calibration/attention_statistics.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/threads.h"

namespace laconic {
namespace {

// A copy of the rows of one prompt.
struct CaughtRows {
  std::int64_t count = 0;
  std::vector<float> keys, values, queries, hidden;

  CaughtRows() = default;
  CaughtRows(const KvShape& shape, const LayerRows& rows) : count(rows.rows) {
    const auto copy = [&](const float* from, std::int64_t width) {
      return std::vector<float>(from, from + rows.rows * width);
    };
    keys = copy(rows.keys, shape.kv_heads * shape.head_dim);
    values = copy(rows.values, shape.kv_heads * shape.head_dim);
    queries = copy(rows.queries, shape.heads * shape.head_dim);
    hidden = copy(rows.hidden, shape.hidden);
  }
  LayerRows rows() const { return {count, 0, keys.data(), values.data(), queries.data(), hidden.data()}; }
};

// Catches the rows of a prompt and keeps nothing of them in the cache.
class CatchingCodec final : public KvCodec {
 public:
  CatchingCodec(const KvShape& shape, CaughtRows& caught) : shape_(shape), caught_(caught) {}
  std::string canonical() const override { return "catching"; }
  KvNeeds needs() const override { return {}; }
  KvCapabilities capabilities() const override { return {}; }
  WindowPolicy window() const override { return {0, 1, 1, DType::f32}; }
  void compress(const ExactRows& rows, KvLayerState&) const override {
    caught_ = CaughtRows(shape_, *rows.prompt);
  }
  std::shared_ptr<const KvBlock> read_block(ByteReader& reader, std::int64_t) const override {
    reader.corrupt("a cache that keeps nothing");
  }

 private:
  const KvShape& shape_;
  CaughtRows& caught_;
};

// Rows of one head out of [rows, heads, head_dim], side by side.
void gather_head(const float* from, std::int64_t rows, std::int64_t heads, std::int64_t head,
                 std::int64_t head_dim, std::vector<float>& to) {
  to.resize(static_cast<std::size_t>(rows * head_dim));
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* row = from + (r * heads + head) * head_dim;
    std::copy(row, row + head_dim, to.data() + r * head_dim);
  }
}

// Running mean of the rows; `seen` rows are in it already.
void add_to_mean(std::vector<double>& mean, const std::vector<float>& x, std::int64_t seen) {
  const auto width = static_cast<std::int64_t>(mean.size());
  const std::int64_t rows = static_cast<std::int64_t>(x.size()) / width;
  for (std::int64_t j = 0; j < width; ++j) {
    double sum = 0;
    for (std::int64_t r = 0; r < rows; ++r)
      sum += static_cast<double>(x[static_cast<std::size_t>(r * width + j)]);
    double& at = mean[static_cast<std::size_t>(j)];
    at += (sum - static_cast<double>(rows) * at) / static_cast<double>(seen + rows);
  }
}

}  // namespace

void add_attention(AttentionStatistics& sums, const KvShape& shape, const LayerRows& rows) {
  const std::int64_t d = shape.head_dim, group = shape.group();
  std::vector<float> part(rows.hidden, rows.hidden + rows.rows * shape.hidden);
  for (float& x : part) x = std::abs(x);
  add_to_mean(sums.input_magnitude, part, sums.input.count());
  sums.input.add(rows.hidden, rows.rows);
  for (std::int64_t h = 0; h < shape.kv_heads; ++h) {
    HeadStatistics& head = sums.heads[static_cast<std::size_t>(h)];
    gather_head(rows.keys, rows.rows, shape.kv_heads, h, d, part);
    add_to_mean(head.key_mean, part, head.keys.count());
    head.keys.add(part.data(), rows.rows);
    gather_head(rows.values, rows.rows, shape.kv_heads, h, d, part);
    add_to_mean(head.value_mean, part, head.values.count());
    head.values.add(part.data(), rows.rows);
    for (std::int64_t g = 0; g < group; ++g) {
      gather_head(rows.queries, rows.rows, shape.heads, h * group + g, d, part);
      head.queries.add(part.data(), rows.rows);
    }
  }
}

void visit_attention(const Transformer& model, CalibrationWalk& walk, std::int64_t layer,
                     const std::function<void(std::int64_t window, const LayerRows& rows)>& visit) {
  const KvShape shape = model.kv_shape();
  const auto windows = static_cast<std::int64_t>(walk.windows().size());
  // A few windows at a time, so that few are held; they are visited in order.
  const std::int64_t at_once = std::clamp<std::int64_t>(thread_count(), 1, 8);
  for (std::int64_t begin = 0; begin < windows; begin += at_once) {
    throw_if_interrupted();
    std::vector<CaughtRows> caught(static_cast<std::size_t>(std::min(at_once, windows - begin)));
    parallel_for(static_cast<std::int64_t>(caught.size()), [&](std::int64_t i) {
      const auto window = static_cast<std::size_t>(begin + i);
      require(walk.windows()[window].size() > 1, "a calibration window has two tokens or more");
      const auto codec = std::make_shared<CatchingCodec>(shape, caught[static_cast<std::size_t>(i)]);
      KvCache cache(
          shape, std::vector<std::shared_ptr<const KvCodec>>(static_cast<std::size_t>(shape.layers), codec));
      model.run_block(layer, walk.hidden()[window].data(),
                      static_cast<std::int64_t>(walk.windows()[window].size()), &cache);
    });
    for (std::size_t i = 0; i < caught.size(); ++i) {
      if (caught[i].count == 0) continue;
      if (!all_finite(std::span<const float>(caught[i].hidden)))
        fail(ErrorKind::input, "the input of layer " + std::to_string(layer) + " is not finite",
             "calibration", "the model's weights are damaged");
      visit(begin + static_cast<std::int64_t>(i), caught[i].rows());
    }
  }
}

}  // namespace laconic
