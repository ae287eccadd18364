#include "runtime/cache/kv_block.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/tensor/dtype.h"

namespace laconic {

StoredBlock::StoredBlock(TokenIndex index, std::unique_ptr<const RowStore> keys,
                         std::unique_ptr<const RowStore> values, std::vector<std::vector<float>> log_weights)
    : KvBlock(std::move(index)),
      keys_(std::move(keys)),
      values_(std::move(values)),
      log_weights_(std::move(log_weights)) {
  for (std::vector<float>& head : log_weights_) {
    for (float& weight : head) weight = rounded_to(DType::f16, weight);
  }
}

void StoredBlock::score(std::int64_t head, std::int64_t begin, std::int64_t end, const float* queries,
                        std::int64_t count, float* scores, std::int64_t stride) const {
  keys_->dot(head, begin, end, queries, count, scores, stride);
}

std::span<const float> StoredBlock::log_weights(std::int64_t head) const {
  if (log_weights_.empty()) return {};
  return log_weights_.at(static_cast<std::size_t>(head));
}

void StoredBlock::mix(std::int64_t head, std::int64_t begin, std::int64_t end, const float* weights,
                      std::int64_t stride, std::int64_t count, float* sums) const {
  values_->mix(head, begin, end, weights, stride, count, sums);
}

void StoredBlock::read(std::int64_t head, std::int64_t begin, std::int64_t end, float* keys,
                       float* values) const {
  if (keys != nullptr) keys_->read(head, begin, end, keys);
  if (values != nullptr) values_->read(head, begin, end, values);
}

KvBytes StoredBlock::bytes() const {
  KvBytes sum = index().bytes();
  sum.header += 1;
  for (const std::vector<float>& head : log_weights_) sum.scales += head.size() * 2;
  sum += keys_->bytes();
  sum += values_->bytes();
  return sum;
}

void StoredBlock::write(ByteWriter& writer) const {
  index().write(writer);
  writer.u8(log_weights_.empty() ? 0 : 1);
  for (const std::vector<float>& head : log_weights_) {
    for (const float weight : head) writer.u16(f32_to_f16(weight));
  }
  keys_->write(writer);
  values_->write(writer);
}

std::vector<std::vector<float>> read_log_weights(ByteReader& reader, const TokenIndex& index) {
  const std::uint8_t present = reader.u8();
  if (present > 1) reader.corrupt("log weights that are neither there nor absent");
  std::vector<std::vector<float>> weights;
  if (present == 0) return weights;
  for (std::int64_t head = 0; head < index.heads(); ++head) {
    std::vector<float> row(static_cast<std::size_t>(index.rows(head)));
    if (row.size() * 2 > reader.remaining()) reader.corrupt("log weights that are cut off");
    for (float& weight : row) {
      weight = f16_to_f32(reader.u16());
      if (!std::isfinite(weight)) reader.corrupt("a log weight that is not finite");
    }
    weights.push_back(std::move(row));
  }
  return weights;
}

}  // namespace laconic
