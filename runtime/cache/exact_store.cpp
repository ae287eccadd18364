#include "runtime/cache/exact_store.h"

#include <algorithm>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "runtime/cache/exact_rows_kernel.h"

namespace laconic {
namespace {

class ExactRowCodec final : public RowCodec {
 public:
  explicit ExactRowCodec(DType dtype) : dtype_(dtype) {}
  std::string canonical() const override {
    return dtype_ == DType::f32 ? "f32" : dtype_ == DType::f16 ? "f16" : "bf16";
  }
  bool rows_stand_alone() const override { return true; }
  std::unique_ptr<const RowStore> encode(const HeadMatrices& rows, const RowContext&) const override {
    return std::make_unique<ExactStore>(dtype_, rows);
  }
  std::unique_ptr<const RowStore> read(ByteReader& reader, const RowStoreShape& shape,
                                       const RowContext&) const override {
    return ExactStore::read_from(reader, dtype_, shape);
  }

 private:
  DType dtype_;
};

}  // namespace

ExactStore::ExactStore(DType dtype, const RowStoreShape& shape) : dtype_(dtype) {
  for (const auto& [rows, width] : shape.parts)
    parts_.push_back(
        {rows, width, std::vector<std::byte>(static_cast<std::size_t>(rows * width) * size_of(dtype))});
}

ExactStore::ExactStore(DType dtype, const HeadMatrices& rows) : ExactStore(dtype, shape_of(rows)) {
  for (std::size_t part = 0; part < rows.size(); ++part)
    convert_from_f32(rows[part].values, dtype_, parts_[part].numbers.data());
}

ExactStore::ExactStore(DType dtype, std::int64_t parts, std::int64_t width) : dtype_(dtype) {
  parts_.assign(static_cast<std::size_t>(parts), Part{0, width, {}});
}

const std::byte* ExactStore::from(const Part& part, std::int64_t row) const {
  return part.numbers.data() + static_cast<std::size_t>(row * part.width) * size_of(dtype_);
}

void ExactStore::read(std::int64_t part, std::int64_t begin, std::int64_t end, float* out) const {
  const Part& source = at(part);
  convert_to_f32(dtype_, from(source, begin),
                 std::span(out, static_cast<std::size_t>((end - begin) * source.width)));
}

void ExactStore::dot(std::int64_t part, std::int64_t begin, std::int64_t end, const float* queries,
                     std::int64_t count, float* scores, std::int64_t stride) const {
  const Part& source = at(part);
  dot_exact_rows(dtype_, from(source, begin), end - begin, source.width, queries, count, scores, stride);
}

void ExactStore::mix(std::int64_t part, std::int64_t begin, std::int64_t end, const float* weights,
                     std::int64_t stride, std::int64_t count, float* sums) const {
  const Part& source = at(part);
  mix_exact_rows(dtype_, from(source, begin), end - begin, source.width, weights, stride, count, sums);
}

KvBytes ExactStore::bytes() const {
  KvBytes sum;
  for (const Part& part : parts_) sum.payload += part.numbers.size();
  return sum;
}

void ExactStore::write(ByteWriter& writer) const {
  for (const Part& part : parts_) writer.append(part.numbers);
}

void ExactStore::append(std::int64_t part, const float* row_values, std::int64_t row_count,
                        std::int64_t row_stride) {
  Part& target = parts_.at(static_cast<std::size_t>(part));
  const std::size_t row_bytes = static_cast<std::size_t>(target.width) * size_of(dtype_);
  const std::size_t old = target.numbers.size();
  target.numbers.resize(old + static_cast<std::size_t>(row_count) * row_bytes);
  for (std::int64_t row = 0; row < row_count; ++row) {
    convert_from_f32(std::span(row_values + row * row_stride, static_cast<std::size_t>(target.width)), dtype_,
                     target.numbers.data() + old + static_cast<std::size_t>(row) * row_bytes);
  }
  target.rows += row_count;
}

void ExactStore::drop_front(std::int64_t row_count) {
  for (Part& part : parts_) {
    require(row_count <= part.rows, "a window loses rows that it has");
    const std::size_t bytes = static_cast<std::size_t>(row_count * part.width) * size_of(dtype_);
    part.numbers.erase(part.numbers.begin(), part.numbers.begin() + static_cast<std::ptrdiff_t>(bytes));
    part.rows -= row_count;
  }
}

void ExactStore::truncate(std::int64_t row_count) {
  for (Part& part : parts_) {
    require(row_count <= part.rows, "a window is cut to fewer rows");
    part.numbers.resize(static_cast<std::size_t>(row_count * part.width) * size_of(dtype_));
    part.rows = row_count;
  }
}

std::unique_ptr<ExactStore> ExactStore::read_from(ByteReader& reader, DType dtype,
                                                  const RowStoreShape& shape) {
  auto store = std::make_unique<ExactStore>(dtype, RowStoreShape{});
  std::vector<float> numbers;
  for (const auto& [rows, width] : shape.parts) {
    const ByteSpan bytes = reader.take(static_cast<std::size_t>(rows * width) * size_of(dtype));
    numbers.resize(static_cast<std::size_t>(rows * width));
    convert_to_f32(dtype, bytes.data(), numbers);
    if (!all_finite(numbers)) reader.corrupt("a cached number that is not finite");
    store->parts_.push_back({rows, width, std::vector<std::byte>(bytes.begin(), bytes.end())});
  }
  return store;
}

std::shared_ptr<const RowCodec> exact_row_codec(DType dtype) {
  require(dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16, "rows are f32, f16 or bf16");
  return std::make_shared<ExactRowCodec>(dtype);
}

}  // namespace laconic
