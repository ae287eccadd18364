#include "runtime/cache/row_store.h"

#include <algorithm>

#include "engine/math/blas.h"

namespace laconic {
namespace {

constexpr std::int64_t read_tile = 64;  // rows that are expanded at a time

}  // namespace

void dot_rows(const float* rows, std::int64_t row_count, std::int64_t width, const float* queries,
              std::int64_t count, float* scores, std::int64_t stride) {
  gemm(Transpose::no, Transpose::yes, count, row_count, width, 1.0f, queries, width, rows, width, 0.0f,
       scores, stride);
}

void mix_rows(const float* rows, std::int64_t row_count, std::int64_t width, const float* weights,
              std::int64_t stride, std::int64_t count, float* sums) {
  gemm(Transpose::no, Transpose::no, count, width, row_count, 1.0f, weights, stride, rows, width, 1.0f, sums,
       width);
}

void RowStore::dot(std::int64_t part, std::int64_t begin, std::int64_t end, const float* queries,
                   std::int64_t count, float* scores, std::int64_t stride) const {
  thread_local std::vector<float> tile;
  const std::int64_t columns = width(part);
  for (std::int64_t r = begin; r < end; r += read_tile) {
    const std::int64_t rows_here = std::min(read_tile, end - r);
    tile.resize(static_cast<std::size_t>(rows_here * columns));
    read(part, r, r + rows_here, tile.data());
    dot_rows(tile.data(), rows_here, columns, queries, count, scores + (r - begin), stride);
  }
}

void RowStore::mix(std::int64_t part, std::int64_t begin, std::int64_t end, const float* weights,
                   std::int64_t stride, std::int64_t count, float* sums) const {
  thread_local std::vector<float> tile;
  const std::int64_t columns = width(part);
  for (std::int64_t r = begin; r < end; r += read_tile) {
    const std::int64_t rows_here = std::min(read_tile, end - r);
    tile.resize(static_cast<std::size_t>(rows_here * columns));
    read(part, r, r + rows_here, tile.data());
    mix_rows(tile.data(), rows_here, columns, weights + (r - begin), stride, count, sums);
  }
}

RowStoreShape shape_of(const HeadMatrices& rows) {
  RowStoreShape shape;
  for (const HeadMatrix& part : rows) shape.parts.push_back({part.rows, part.width});
  return shape;
}

RowStoreShape shape_of(const RowStore& store) {
  RowStoreShape shape;
  for (std::int64_t part = 0; part < store.parts(); ++part)
    shape.parts.push_back({store.rows(part), store.width(part)});
  return shape;
}

HeadMatrices read_all(const RowStore& store) {
  HeadMatrices rows;
  for (std::int64_t part = 0; part < store.parts(); ++part) {
    rows.emplace_back(store.rows(part), store.width(part));
    if (store.rows(part) > 0) store.read(part, 0, store.rows(part), rows.back().values.data());
  }
  return rows;
}

}  // namespace laconic
