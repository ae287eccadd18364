#include "engine/overlap/chunk_layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"

namespace laconic {
namespace {

constexpr int most_sub_chunks = 16;

// Chunks of whole tiles, as equal as can be.
std::vector<std::int64_t> balanced_bounds(std::int64_t rows, std::int64_t tile_rows, int ranks) {
  const std::int64_t tiles = (rows + tile_rows - 1) / tile_rows;
  std::vector<std::int64_t> bounds;
  for (int chunk = 0; chunk <= ranks; ++chunk)
    bounds.push_back(std::min(rows, tiles * chunk / ranks * tile_rows));
  return bounds;
}

}  // namespace

ChunkLayout::ChunkLayout(std::int64_t rows, std::int64_t columns, int ranks, const LayoutOptions& options)
    : rows_(rows), columns_(columns), tile_(options.tile), bounds_(options.row_bounds) {
  const std::string where = fmt::format("a product of {} x {} for {} ranks", rows, columns, ranks);
  if (rows < 1 || columns < 1 || ranks < 1)
    fail(ErrorKind::usage, "a product to be exchanged has rows, columns and ranks", where);
  if (tile_.rows < 1 || tile_.columns < 1 || tile_.columns % gemm_column_unit != 0) {
    fail(ErrorKind::usage, fmt::format("tiles of {} x {}", tile_.rows, tile_.columns), where,
         fmt::format("their columns are a multiple of {}", gemm_column_unit));
  }
  if (bounds_.empty()) bounds_ = balanced_bounds(rows, tile_.rows, ranks);
  if (bounds_.size() != static_cast<std::size_t>(ranks) + 1) {
    fail(ErrorKind::usage, fmt::format("{} chunks", static_cast<int>(bounds_.size()) - 1), where,
         "there is one chunk for each rank");
  }
  if (bounds_.front() != 0 || bounds_.back() != rows)
    fail(ErrorKind::usage, "the chunks do not cover the rows", where);
  for (int chunk = 0; chunk < ranks; ++chunk) {
    const std::int64_t height =
        bounds_[static_cast<std::size_t>(chunk) + 1] - bounds_[static_cast<std::size_t>(chunk)];
    if (height < tile_.rows) {
      fail(ErrorKind::usage,
           fmt::format("tiles of {} rows are larger than chunk {} of {}", tile_.rows, chunk, height), where,
           "use smaller tiles or fewer ranks");
    }
  }
  for (int chunk = 0; chunk < ranks; ++chunk) {
    first_sub_.push_back(static_cast<int>(subs_.size()));
    const std::int64_t begin = bounds_[static_cast<std::size_t>(chunk)],
                       end = bounds_[static_cast<std::size_t>(chunk) + 1];
    const auto first = static_cast<int>(tiles_.size());
    for (std::int64_t row = begin; row < end; row += tile_.rows) {
      for (std::int64_t column = 0; column < columns; column += tile_.columns) {
        Tile tile;
        tile.area = {row, std::min(tile_.rows, end - row), column, std::min(tile_.columns, columns - column)};
        tile.chunk = chunk;
        tiles_.push_back(tile);
      }
    }
    const int count = static_cast<int>(tiles_.size()) - first;
    int subs = options.sub_chunks;
    if (subs <= 0) {
      const std::int64_t bytes = chunk_numbers(chunk) * static_cast<std::int64_t>(sizeof(float));
      subs = static_cast<int>(std::clamp<std::int64_t>(bytes / std::max<std::int64_t>(1, options.least_bytes),
                                                       1, most_sub_chunks));
    }
    subs = std::min(subs, count);
    for (int sub = 0; sub < subs; ++sub) {
      SubChunk part;
      part.chunk = chunk;
      part.sub = sub;
      part.first_tile = first + count * sub / subs;
      part.tiles = first + count * (sub + 1) / subs - part.first_tile;
      for (int i = 0; i < part.tiles; ++i) {
        Tile& tile = tiles_[static_cast<std::size_t>(part.first_tile + i)];
        tile.sub = sub;
        tile.offset = part.numbers;
        part.numbers += tile.area.rows * tile.area.columns;
      }
      subs_.push_back(part);
    }
  }
  first_sub_.push_back(static_cast<int>(subs_.size()));
}

std::int64_t ChunkLayout::chunk_numbers(int chunk) const {
  const auto at = static_cast<std::size_t>(chunk);
  return (bounds_[at + 1] - bounds_[at]) * columns_;
}

const ChunkLayout::SubChunk& ChunkLayout::sub_chunk(int chunk, int sub) const {
  return subs_[static_cast<std::size_t>(index_of(chunk, sub))];
}

}  // namespace laconic
