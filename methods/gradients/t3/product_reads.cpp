#include "methods/gradients/t3/product_reads.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "engine/attention/lru_cache.h"

namespace laconic::t3 {
namespace {

constexpr std::int64_t rows_of_group = 8, bytes_of_f16 = 2;
// What the cache is told of: one slice of a panel of 128 rows or columns. An output tile is four of them.
constexpr std::int64_t block_bytes = simulated_tile * simulated_slice * bytes_of_f16;
constexpr std::int64_t blocks_of_output = simulated_tile * simulated_tile * bytes_of_f16 / block_bytes;

struct TilePlace {
  std::int64_t row, column;
};

std::vector<TilePlace> tiles_in_order(std::int64_t rows, std::int64_t columns) {
  std::vector<TilePlace> tiles;
  for (std::int64_t group = 0; group < rows; group += rows_of_group) {
    for (std::int64_t column = 0; column < columns; ++column) {
      for (std::int64_t row = group; row < std::min(rows, group + rows_of_group); ++row)
        tiles.push_back({row, column});
    }
  }
  return tiles;
}

}  // namespace

ProductReads reads_of_product(const Workload& workload, const Device& device, bool outputs_cached) {
  const auto in_tiles = [](std::int64_t size) { return (size + simulated_tile - 1) / simulated_tile; };
  const std::int64_t rows = in_tiles(workload.model.tokens), columns = in_tiles(workload.model.hidden);
  ProductReads reads;
  reads.slices = (workload.depth() + simulated_slice - 1) / simulated_slice;
  const std::vector<TilePlace> tiles = tiles_in_order(rows, columns);
  reads.tiles = static_cast<std::int64_t>(tiles.size());
  const std::int64_t first_b = rows * reads.slices, first_output = first_b + columns * reads.slices;
  LruCache cache(device.cache_bytes / block_bytes);
  for (std::size_t begin = 0; begin < tiles.size(); begin += static_cast<std::size_t>(device.compute_units)) {
    const std::size_t end = std::min(tiles.size(), begin + static_cast<std::size_t>(device.compute_units));
    std::set<std::int64_t> rows_read, columns_read;
    for (std::size_t i = begin; i < end; ++i) {
      rows_read.insert(tiles[i].row);
      columns_read.insert(tiles[i].column);
    }
    const std::uint64_t before = cache.misses();
    for (std::int64_t slice = 0; slice < reads.slices; ++slice) {
      for (const std::int64_t row : rows_read) cache.touch(row * reads.slices + slice, false);
      for (const std::int64_t column : columns_read)
        cache.touch(first_b + column * reads.slices + slice, false);
    }
    reads.stage_bytes.push_back(static_cast<double>(cache.misses() - before) * block_bytes);
    if (!outputs_cached) continue;
    for (std::size_t i = begin; i < end; ++i) {
      for (std::int64_t part = 0; part < blocks_of_output; ++part)
        cache.touch(first_output + (tiles[i].row * columns + tiles[i].column) * blocks_of_output + part,
                    true);
    }
  }
  reads.total = std::accumulate(reads.stage_bytes.begin(), reads.stage_bytes.end(), 0.0);
  return reads;
}

}  // namespace laconic::t3
