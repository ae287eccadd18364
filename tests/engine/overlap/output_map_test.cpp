#include "engine/overlap/output_map.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "engine/base/error.h"
#include "engine/overlap/sub_chunk_frame.h"

namespace laconic {
namespace {

LayoutOptions small_tiles(std::int64_t rows, int subs = 0) {
  LayoutOptions options;
  options.tile = {rows, 32};
  options.sub_chunks = subs;
  return options;
}

template <class Body>
void expect_usage_error(const Body& body, const std::string& text) {
  try {
    body();
    FAIL() << "not refused: " << text;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
  }
}

TEST(ChunkLayout, TilesCoverEveryNumberOnceAndSubChunksEveryTile) {
  for (const auto& [rows, columns, ranks, tile_rows, subs] :
       {std::tuple{7, 33, 1, 2, 0}, std::tuple{41, 70, 5, 3, 4}, std::tuple{64, 64, 4, 8, 1},
        std::tuple{29, 100, 3, 4, 3}}) {
    const ChunkLayout layout(rows, columns, ranks, small_tiles(tile_rows, subs));
    std::vector<int> seen(static_cast<std::size_t>(rows * columns), 0);
    for (const ChunkLayout::Tile& tile : layout.tiles()) {
      EXPECT_GE(tile.area.row, layout.row_bounds()[static_cast<std::size_t>(tile.chunk)]);
      EXPECT_LE(tile.area.row + tile.area.rows,
                layout.row_bounds()[static_cast<std::size_t>(tile.chunk) + 1]);
      for (std::int64_t i = 0; i < tile.area.rows; ++i) {
        for (std::int64_t j = 0; j < tile.area.columns; ++j)
          ++seen[static_cast<std::size_t>((tile.area.row + i) * columns + tile.area.column + j)];
      }
    }
    EXPECT_TRUE(std::all_of(seen.begin(), seen.end(), [](int count) { return count == 1; }));
    std::int64_t numbers = 0;
    int tiles = 0;
    for (const ChunkLayout::SubChunk& part : layout.sub_chunks()) {
      EXPECT_EQ(part.first_tile, tiles);
      EXPECT_GE(part.tiles, 1);
      tiles += part.tiles;
      numbers += part.numbers;
    }
    EXPECT_EQ(tiles, static_cast<int>(layout.tiles().size()));
    EXPECT_EQ(numbers, rows * columns);
  }
}

TEST(ChunkLayout, SubChunksHoldAQuarterOfAMebibyteAndAreAtMostSixteen) {
  const ChunkLayout large(2048, 2048, 2);
  EXPECT_EQ(large.subs_of(0), 16);  // 8 MiB
  const ChunkLayout medium(512, 1024, 2);
  EXPECT_EQ(medium.subs_of(0), 4);  // 1 MiB
  for (const ChunkLayout::SubChunk& part : medium.sub_chunks()) EXPECT_GE(part.numbers * 4, 256 * 1024);
  EXPECT_EQ(ChunkLayout(256, 128, 2).subs_of(0), 1);  // 64 KiB
}

TEST(ChunkLayout, RefusesWhatCannotBeCut) {
  expect_usage_error([] { ChunkLayout(0, 64, 1, small_tiles(2)); }, "rows, columns and ranks");
  expect_usage_error([] { ChunkLayout(64, 0, 1, small_tiles(2)); }, "rows, columns and ranks");
  expect_usage_error([] { ChunkLayout(64, 64, 0, small_tiles(2)); }, "rows, columns and ranks");
  expect_usage_error([] { ChunkLayout(8, 64, 3, small_tiles(4)); }, "larger than chunk");
  LayoutOptions options = small_tiles(2);
  options.row_bounds = {0, 8, 16};
  expect_usage_error([&] { ChunkLayout(16, 64, 3, options); }, "2 chunks");
  options.row_bounds = {0, 8, 15};
  expect_usage_error([&] { ChunkLayout(16, 64, 2, options); }, "cover");
  options.row_bounds = {0, 12, 8, 16};
  expect_usage_error([&] { ChunkLayout(16, 64, 3, options); }, "larger than chunk");
  options = {};
  options.tile.columns = 40;
  expect_usage_error([&] { ChunkLayout(512, 80, 1, options); }, "multiple of 32");
}

TEST(OutputMap, TheRingBeginsWithWhatLeavesAndEndsWithWhatStays) {
  for (int ranks = 2; ranks <= 5; ++ranks) {
    std::set<int> kept;
    for (int rank = 0; rank < ranks; ++rank) {
      const OutputMap map = ring_reduce_scatter_map(rank, ranks);
      ASSERT_EQ(map.entries.size(), static_cast<std::size_t>(ranks));
      EXPECT_EQ(map.entries.front().chunk, rank);
      EXPECT_EQ(map.entries.front().route, ChunkRoute::remote);
      EXPECT_TRUE(map.entries.front().sources.empty()) << "the first chunk waits for nobody";
      EXPECT_EQ(map.entries.back().route, ChunkRoute::local) << "the last chunk is not sent";
      EXPECT_EQ(map.entries.back().chunk, (rank + 1) % ranks);
      for (std::size_t i = 1; i + 1 < map.entries.size(); ++i)
        EXPECT_EQ(map.entries[i].route, ChunkRoute::dma);
      kept.insert(map.entries.back().chunk);
      const OutputMap direct = direct_reduce_scatter_map(rank, ranks);
      const auto own = std::find_if(direct.entries.begin(), direct.entries.end(),
                                    [](const ChunkEntry& e) { return e.route == ChunkRoute::local; });
      ASSERT_NE(own, direct.entries.end());
      EXPECT_EQ(own->chunk, map.entries.back().chunk);
      EXPECT_EQ(own->trigger_count, ranks);
    }
    EXPECT_EQ(kept.size(), static_cast<std::size_t>(ranks));
  }
  const OutputMap alone = ring_reduce_scatter_map(0, 1);
  EXPECT_EQ(alone.entries.front().route, ChunkRoute::local);
  EXPECT_EQ(ring_reduce_scatter_map(2, 4, false).entries.front().chunk, 0);
}

TEST(OutputMap, RefusesAtRegistration) {
  const ChunkLayout layout(32, 64, 4, small_tiles(4));
  const OutputMap good = ring_reduce_scatter_map(1, 4);
  EXPECT_NO_THROW(check_output_map(good, layout));
  const auto refused = [&](const std::string& text, const auto& edit) {
    OutputMap map = good;
    edit(map);
    expect_usage_error([&] { check_output_map(map, layout); }, text);
  };
  refused("nobody owns", [](OutputMap& m) { m.entries.pop_back(); });
  refused("stands twice", [](OutputMap& m) { m.entries.push_back(m.entries[0]); });
  refused("count of 0", [](OutputMap& m) { m.entries[2].trigger_count = 0; });
  refused("not that of its contributions", [](OutputMap& m) { m.entries[2].trigger_count = 3; });
  refused("no chunk", [](OutputMap& m) { m.entries[1].chunk = 4; });
  refused("another rank as its target", [](OutputMap& m) { m.entries[1].target = 1; });
  refused("another rank as its target", [](OutputMap& m) { m.entries[1].target = 9; });
  refused("what stays has no target", [](OutputMap& m) { m.entries[3].target = 2; });
  refused("a source is not another rank", [](OutputMap& m) { m.entries[3].sources = {1}; });
  refused("nothing arrives", [](OutputMap& m) {
    m.entries[0].sources = {0};
    m.entries[0].trigger_count = 2;
  });
  refused("a source stands twice", [](OutputMap& m) {
    m.entries[3].sources = {0, 0};
    m.entries[3].trigger_count = 3;
  });
  refused("4 chunks", [](OutputMap& m) { m.ranks = 5; });
  refused("not in the group", [](OutputMap& m) { m.rank = 4; });
}

TEST(SubChunkFrame, IsReadAsItWasWritten) {
  const ChunkLayout layout(32, 64, 4, small_tiles(4, 2));
  const auto size = static_cast<std::size_t>(layout.sub_chunk(2, 1).numbers) * 4;
  Bytes frame(sub_chunk_header_bytes + size);
  write_sub_chunk_header(2, 1, frame);
  const SubChunkFrame read = read_sub_chunk_frame(frame, layout, true, "test");
  EXPECT_EQ(read.chunk, 2);
  EXPECT_EQ(read.sub, 1);
  EXPECT_EQ(read.payload.size(), size);
  const auto corrupt = [&](Bytes bytes) {
    try {
      read_sub_chunk_frame(bytes, layout, true, "test");
      ADD_FAILURE() << "not refused";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    }
  };
  corrupt({});
  corrupt(Bytes(7));
  corrupt({frame.begin(), frame.end() - 1});
  Bytes wrong = frame;
  write_sub_chunk_header(4, 0, wrong);
  corrupt(wrong);
  write_sub_chunk_header(0, 2, wrong);
  corrupt(wrong);
  write_sub_chunk_header(-1, -1, wrong);
  corrupt(wrong);
}

}  // namespace
}  // namespace laconic
