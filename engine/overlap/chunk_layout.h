// How a matrix that is made tile by tile is cut for an exchange: rows into chunks, one for each rank; chunks
// into tiles; and the tiles of a chunk, in the order in which they are made, into sub-chunks, which travel as
// one message each. A sub-chunk's numbers are its tiles one after the other, each row-major.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/math/tiled_gemm.h"

namespace laconic {

struct LayoutOptions {
  TileSize tile;
  int sub_chunks = 0;                         // of each chunk; 0: as many as `least_bytes` allows, 16 at most
  std::int64_t least_bytes = 256 * 1024;      // of a sub-chunk, where their number is not given
  std::vector<std::int64_t> row_bounds = {};  // of the chunks, one more than there are; empty: balanced,
                                              // whole tiles
};

class ChunkLayout {
 public:
  // Error(usage) for sizes of 0, other bounds than ranks, a tile larger than a chunk, a tile whose columns
  // are not a multiple of gemm_column_unit.
  ChunkLayout(std::int64_t rows, std::int64_t columns, int ranks, const LayoutOptions& options = {});

  struct Tile {
    TileArea area;
    int chunk = 0, sub = 0;   // sub: number within the chunk
    std::int64_t offset = 0;  // of its first number in the sub-chunk
  };
  struct SubChunk {
    int chunk = 0, sub = 0;
    int first_tile = 0, tiles = 0;
    std::int64_t numbers = 0;
  };

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  TileSize tile_size() const { return tile_; }
  int chunks() const { return static_cast<int>(bounds_.size()) - 1; }
  const std::vector<std::int64_t>& row_bounds() const { return bounds_; }
  std::int64_t chunk_numbers(int chunk) const;

  // Tiles and sub-chunks are numbered through, chunk after chunk.
  const std::vector<Tile>& tiles() const { return tiles_; }
  const std::vector<SubChunk>& sub_chunks() const { return subs_; }
  int first_sub_of(int chunk) const { return first_sub_[static_cast<std::size_t>(chunk)]; }
  int subs_of(int chunk) const { return first_sub_of(chunk + 1) - first_sub_of(chunk); }
  const SubChunk& sub_chunk(int chunk, int sub) const;
  int index_of(int chunk, int sub) const { return first_sub_of(chunk) + sub; }

 private:
  std::int64_t rows_, columns_;
  TileSize tile_;
  std::vector<std::int64_t> bounds_;
  std::vector<Tile> tiles_;
  std::vector<SubChunk> subs_;
  std::vector<int> first_sub_;
};

}  // namespace laconic
