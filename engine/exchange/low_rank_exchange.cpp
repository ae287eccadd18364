#include "engine/exchange/low_rank_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/random.h"
#include "engine/base/saved_state.h"
#include "engine/codec/low_rank_product.h"
#include "engine/math/blas.h"
#include "engine/math/orthonormalise.h"
#include "engine/transport/reductions.h"

namespace laconic {
namespace {

constexpr std::uint64_t low_rank_schema = 1;

void mean_over_ranks(Communicator& communicator, std::vector<float>& values, DenseForm form) {
  if (form == DenseForm::f32) {
    all_reduce_sum(communicator, values);
  } else {
    all_reduce_sum_bf16(communicator, values);
  }
  const auto ranks = static_cast<float>(communicator.size());
  for (float& value : values) value /= ranks;
}

std::string ranks_text(const std::vector<std::int64_t>& ranks, const LowRankSettings& settings) {
  std::string text = fmt::format("low rank{}{}{}, ranks", settings.feedback ? " with error feedback" : "",
                                 settings.warm_start ? ", warm start" : "",
                                 settings.factors == DenseForm::bf16 ? ", factors in bf16" : "");
  for (std::size_t i = 0; i < ranks.size();) {
    std::size_t end = i;
    while (end < ranks.size() && ranks[end] == ranks[i]) ++end;
    text += end - i > 1 ? fmt::format(" {} x {}", ranks[i], end - i) : fmt::format(" {}", ranks[i]);
    i = end;
  }
  return text;
}

}  // namespace

std::optional<MatrixShape> matrix_shape(const Shape& shape) {
  if (shape.size() < 2) return std::nullopt;
  const std::int64_t size = element_count(shape);
  if (size == 0) return std::nullopt;
  return MatrixShape{shape.front(), size / shape.front()};
}

LowRankExchange::LowRankExchange(std::vector<TensorSlice> tensors, std::vector<std::int64_t> ranks,
                                 const LowRankSettings& settings)
    : GradientExchange(std::move(tensors), settings.bucket_bytes),
      settings_(settings),
      text_(ranks_text(ranks, settings)),
      ranks_(std::move(ranks)) {
  const std::size_t count = this->tensors().size();
  require(ranks_.size() == count, "every tensor has a rank");
  matrices_.resize(count);
  rights_.resize(count);
  memories_.resize(count);
  pending_.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (ranks_[i] == 0) continue;
    const TensorSlice& tensor = this->tensors()[i];
    const auto matrix = matrix_shape(tensor.shape);
    require(matrix && ranks_[i] >= 1 && ranks_[i] <= std::min(matrix->rows, matrix->columns),
            "a matrix has a rank of 1 to its smaller side");
    matrices_[i] = *matrix;
    rights_[i].assign(static_cast<std::size_t>(ranks_[i] * matrix->columns), 0.0f);
    if (settings.feedback) memories_[i] = std::make_unique<Feedback>(plain_error_feedback(), tensor.size);
  }
}

void LowRankExchange::set_rank(std::size_t tensor, std::int64_t rank) {
  const MatrixShape& matrix = matrices_[tensor];
  require(ranks_[tensor] > 0 && !pending_[tensor].made, "ranks change between steps");
  require(rank >= 1 && rank <= std::min(matrix.rows, matrix.columns),
          "a matrix has a rank of 1 to its smaller side");
  ranks_[tensor] = rank;
  // Rows of zeros are drawn when the next step begins.
  rights_[tensor].resize(static_cast<std::size_t>(rank * matrix.columns), 0.0f);
}

void LowRankExchange::draw_row(std::span<float> row, std::size_t tensor, std::int64_t index,
                               std::uint64_t step) const {
  RandomStream random(settings_.seed, "low rank", tensors()[tensor].name, step);
  random.seek(static_cast<std::uint64_t>(index) * row.size());
  for (float& value : row) value = random.gaussian();
}

std::vector<float> LowRankExchange::begin_right(std::uint64_t step, std::size_t tensor) const {
  std::vector<float> right = rights_[tensor];
  const auto columns = static_cast<std::size_t>(matrices_[tensor].columns);
  for (std::int64_t r = 0; r < ranks_[tensor]; ++r) {
    const auto row = std::span(right).subspan(static_cast<std::size_t>(r) * columns, columns);
    const bool empty = std::all_of(row.begin(), row.end(), [](float value) { return value == 0; });
    if (empty || !settings_.warm_start) draw_row(row, tensor, r, step);
  }
  return right;
}

bool LowRankExchange::exchange(Communicator& communicator, std::uint64_t step, std::size_t index,
                               std::span<const float> own, std::span<float> agreed) {
  const Bucket& bucket = buckets()[index];
  struct Factors {
    std::vector<float> target, left, right;  // M_i, P [rows, rank], Q^T [rank, columns]
  };
  std::vector<Factors> factors(bucket.last - bucket.first);
  std::vector<float> first, second;  // what the two all-reduces carry

  {
    const Timing timing = encoding();
    for (std::size_t i = bucket.first; i < bucket.last; ++i) {
      const auto values = slice_of(own, tensors()[i]);
      if (ranks_[i] == 0) {
        first.insert(first.end(), values.begin(), values.end());
        continue;
      }
      Factors& factor = factors[i - bucket.first];
      factor.target.assign(values.begin(), values.end());
      if (memories_[i]) memories_[i]->make(values, factor.target);
      pending_[i].made = true;
      if (watcher_) watcher_(i, factor.target);
      factor.right = begin_right(step, i);
      const MatrixShape& matrix = matrices_[i];
      const std::int64_t rank = ranks_[i];
      factor.left.resize(static_cast<std::size_t>(matrix.rows * rank));
      gemm(Transpose::no, Transpose::yes, matrix.rows, rank, matrix.columns, 1.0f, factor.target.data(),
           matrix.columns, factor.right.data(), matrix.columns, 0.0f, factor.left.data(), rank);
      // Whatever the product makes of it, the sum shows it to all ranks.
      if (!all_finite(values)) factor.left.front() = std::numeric_limits<float>::quiet_NaN();
      first.insert(first.end(), factor.left.begin(), factor.left.end());
    }
  }
  mean_over_ranks(communicator, first, settings_.factors);
  // The same bits on all ranks, and so the same answer.
  if (!all_finite(first)) return false;

  std::size_t next = 0;
  {
    const Timing timing = encoding();
    for (std::size_t i = bucket.first; i < bucket.last; ++i) {
      if (ranks_[i] == 0) {
        for (float& value : slice_of(agreed, tensors()[i])) value = first[next++];
        continue;
      }
      Factors& factor = factors[i - bucket.first];
      const MatrixShape& matrix = matrices_[i];
      for (float& value : factor.left) value = first[next++];
      orthonormalise_columns(factor.left, matrix.rows, ranks_[i]);
      gemm(Transpose::yes, Transpose::no, ranks_[i], matrix.columns, matrix.rows, 1.0f, factor.left.data(),
           ranks_[i], factor.target.data(), matrix.columns, 0.0f, factor.right.data(), matrix.columns);
      second.insert(second.end(), factor.right.begin(), factor.right.end());
    }
  }
  if (second.empty()) return true;
  mean_over_ranks(communicator, second, settings_.factors);
  if (!all_finite(second)) return false;

  const Timing timing = decoding();
  next = 0;
  for (std::size_t i = bucket.first; i < bucket.last; ++i) {
    if (ranks_[i] == 0) continue;
    Factors& factor = factors[i - bucket.first];
    const MatrixShape& matrix = matrices_[i];
    for (float& value : factor.right) value = second[next++];
    Pending& pending = pending_[i];
    pending.product.assign(tensors()[i].size, 0.0f);
    add_low_rank(factor.left.data(), factor.right.data(), matrix.rows, matrix.columns, ranks_[i], nullptr,
                 pending.product.data());
    if (!all_finite(pending.product)) return false;
    std::copy(pending.product.begin(), pending.product.end(), slice_of(agreed, tensors()[i]).begin());
    pending.right = std::move(factor.right);
    pending.decoded = true;
  }
  return true;
}

void LowRankExchange::end_step(bool accepted) {
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    Pending& pending = pending_[i];
    if (!pending.made) continue;
    require(!accepted || pending.decoded, "an accepted step has decoded every tensor");
    if (accepted) rights_[i] = std::move(pending.right);
    if (memories_[i]) {
      if (accepted) {
        memories_[i]->settle(pending.product);
      } else {
        memories_[i]->undo();
      }
    }
    pending.made = pending.decoded = false;
    pending.right.clear();
  }
}

void LowRankExchange::write_factor(ByteWriter& writer, std::size_t tensor) const {
  require(!pending_[tensor].made, "memories are saved between steps");
  writer.varint(static_cast<std::uint64_t>(ranks_[tensor]));
  write_numbers(writer, rights_[tensor]);
}

std::vector<float> LowRankExchange::read_factor(ByteReader& reader, std::size_t tensor,
                                                std::int64_t& rank) const {
  const MatrixShape& matrix = matrices_[tensor];
  const std::uint64_t read = reader.varint();
  const auto most = static_cast<std::uint64_t>(std::min(matrix.rows, matrix.columns));
  if (read > most || (read == 0) != (ranks_[tensor] == 0))
    reader.corrupt("a rank that its matrix cannot have");
  rank = static_cast<std::int64_t>(read);
  return read_numbers<float>(reader, static_cast<std::size_t>(rank * matrix.columns));
}

Bytes LowRankExchange::save_shared() const {
  ByteWriter writer;
  writer.varint(low_rank_schema);
  for (std::size_t i = 0; i < ranks_.size(); ++i) write_factor(writer, i);
  return sealed(std::move(writer));
}

void LowRankExchange::restore_shared(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  if (reader.varint() != low_rank_schema) reader.corrupt("a state of another version");
  std::vector<std::int64_t> ranks(ranks_.size());
  std::vector<std::vector<float>> rights;
  for (std::size_t i = 0; i < ranks_.size(); ++i) rights.push_back(read_factor(reader, i, ranks[i]));
  reader.expect_end();
  ranks_ = std::move(ranks);
  rights_ = std::move(rights);
}

void LowRankExchange::inherit(GradientExchange& before) {
  auto* other = dynamic_cast<LowRankExchange*>(&before);
  require(other != nullptr && other->memories_.size() == memories_.size(),
          "an exchange inherits from one of its kind");
  for (std::size_t i = 0; i < memories_.size(); ++i) {
    require(!other->pending_[i].made, "memories are inherited between steps");
    if (memories_[i]) memories_[i] = std::move(other->memories_[i]);
  }
}

Bytes LowRankExchange::save() const {
  ByteWriter writer;
  writer.varint(low_rank_schema);
  writer.text(text());
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    write_factor(writer, i);
    const Bytes memory = memories_[i] ? memories_[i]->save() : Bytes();
    writer.varint(memory.size());
    writer.append(memory);
  }
  return sealed(std::move(writer));
}

void LowRankExchange::restore(ByteSpan bytes, std::string_view where) {
  ByteReader reader(unsealed(bytes, where), std::string(where));
  if (reader.varint() != low_rank_schema) reader.corrupt("a state of another version");
  if (reader.text(std::uint64_t{1} << 24) != text())
    fail(ErrorKind::usage, "is the state of another exchange", where,
         "resume with the settings that wrote it");
  std::vector<std::int64_t> ranks(ranks_.size());
  std::vector<std::vector<float>> rights(ranks_.size());
  std::vector<ByteSpan> memories(ranks_.size());
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    rights[i] = read_factor(reader, i, ranks[i]);
    memories[i] = reader.take(reader.length(reader.remaining()));
    if (!memories_[i] && !memories[i].empty()) reader.corrupt("a memory where there is none");
  }
  reader.expect_end();
  for (std::size_t i = 0; i < ranks_.size(); ++i) {
    if (memories_[i]) memories_[i]->restore(memories[i], where);
  }
  ranks_ = std::move(ranks);
  rights_ = std::move(rights);
}

std::vector<std::int64_t> worthwhile_ranks(const std::vector<TensorSlice>& tensors, std::int64_t rank,
                                           double least_saving) {
  std::vector<std::int64_t> ranks;
  for (const TensorSlice& tensor : tensors) {
    const auto matrix = matrix_shape(tensor.shape);
    if (!matrix) {
      ranks.push_back(0);
      continue;
    }
    const std::int64_t fitting = std::min({rank, matrix->rows, matrix->columns});
    const double factors = static_cast<double>((matrix->rows + matrix->columns) * fitting);
    const bool worthwhile = factors * least_saving < static_cast<double>(tensor.size);
    ranks.push_back(worthwhile ? fitting : 0);
  }
  return ranks;
}

}  // namespace laconic
