#include "engine/attention/plan.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "engine/attention/tile_kernel.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;

class CacheFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("laconic-caches-" + std::to_string(::getpid()));
    fs::remove_all(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  void write(int index, const char* level, const char* type, const char* size, const char* shared) {
    const fs::path cache = folder_ / ("index" + std::to_string(index));
    fs::create_directories(cache);
    const std::pair<const char*, const char*> lines[] = {
        {"level", level}, {"type", type}, {"size", size}, {"shared_cpu_list", shared}};
    for (const auto& [name, text] : lines) std::ofstream(cache / name) << text << '\n';
  }
  fs::path folder_;
};

TEST_F(CacheFolder, SharedCachesAreDividedAmongTheirCores) {
  write(0, "1", "Data", "48K", "0");
  write(1, "1", "Instruction", "32K", "0");
  write(2, "2", "Unified", "1280K", "0-1");
  write(3, "3", "Unified", "54M", "0-7,16-17");
  const CacheSizes sizes = read_cache_sizes(folder_);
  EXPECT_TRUE(sizes.detected);
  EXPECT_EQ(sizes.l1, 48 << 10);
  EXPECT_EQ(sizes.l2, 640 << 10);
  EXPECT_EQ(sizes.l3, (54 << 20) / 10);
}

TEST_F(CacheFolder, WhatCannotBeReadKeepsItsDefault) {
  const CacheSizes none = read_cache_sizes(folder_);
  EXPECT_FALSE(none.detected);
  EXPECT_EQ(none.l1, CacheSizes().l1);
  write(0, "1", "Data", "large", "0");
  write(1, "2", "Unified", "99999999999999999999K", "0");
  write(2, "3", "Unified", "64M", "0-99999999999");
  write(3, "4", "Unified", "64M", "0");
  write(4, "x", "", "", "");
  const CacheSizes sizes = read_cache_sizes(folder_);
  EXPECT_EQ(sizes.l1, CacheSizes().l1);
  EXPECT_EQ(sizes.l2, CacheSizes().l2);
  EXPECT_EQ(sizes.l3, 64 << 20);
}

TEST(AttentionPlan, OfTheCachesNeverMovesMoreBehindALargerOne) {
  const AttentionShape shape{4096, 4096, 64, {true, 0, 0}};
  const CacheSizes caches;
  const std::vector<CacheLevelPlan> levels = plan_levels(shape, caches, 4);
  ASSERT_EQ(levels.size(), 3u);
  EXPECT_EQ(levels[0].plan.words, caches.l1 / 4);
  for (std::size_t i = 1; i < levels.size(); ++i)
    EXPECT_LE(levels[i].plan.traffic.total(), levels[i - 1].plan.traffic.total());
}

TEST(AttentionPlan, TheReportHoldsEverySchedule) {
  const AttentionShape shape{8, 8, 4, {}};
  const nlohmann::json report = to_json(plan_attention(shape, 40), shape, 4);
  EXPECT_EQ(report.at("schedule"), "qstat");
  EXPECT_EQ(report.at("io"), 320);
  EXPECT_EQ(report.at("bytes"), 1280);
  EXPECT_EQ(report.at("totals"), (nlohmann::json{{"fa1", 576}, {"qstat", 320}, {"small", 384}}));
  EXPECT_EQ(to_json(plan_attention(shape, 12), shape, 4).at("totals").size(), 1u);  // only small fits
}

TEST(AttentionPlan, CompressedKeysAndValuesMoveLessAndMayChangeTheSchedule) {
  const AttentionShape shape{1024, 1024, 64, {}};
  // 2 N d of Q and O, and 2 (c / 16) N d ceil(N / Br) of K and V: card 05.
  const AttentionPlan plan = plan_attention(shape, 16384, 4.0 / 16);
  ASSERT_EQ(plan.schedule, AttentionSchedule::qstat);
  const double blocks = std::ceil(1024.0 / static_cast<double>(plan.tiles.Br));
  EXPECT_EQ(moved_bytes(plan, 2, 4), 2 * (2 * 1024 * 64 + 2.0 * 4 / 16 * 1024 * 64 * blocks));
  EXPECT_EQ(moved_bytes(plan, 2, 16), 2.0 * static_cast<double>(plan.traffic.total()));
  // Streaming keys and values again costs little where they are small: qstat wins at memories where small
  // did.
  EXPECT_EQ(plan_attention(shape, 2048).schedule, AttentionSchedule::small);
  EXPECT_EQ(plan_attention(shape, 2048, 0.25).schedule, AttentionSchedule::qstat);
}

TEST(AttentionPlan, KernelTilesAreWholeVectorsOfTheInnermostCacheThatHoldsFourRows) {
  CacheSizes caches;
  caches.l1 = 32 << 10;
  caches.l2 = 1 << 20;
  caches.l3 = 16 << 20;
  for (const std::int64_t d : {1, 8, 64, 80, 128, 256, 4096}) {
    const AttentionTiles tiles = kernel_tiles(d, 1 << 20, 2, caches);
    EXPECT_EQ(tiles.rows % attention_lanes, 0) << d;
    EXPECT_GE(tiles.rows, attention_lanes) << d;
    EXPECT_GE(tiles.outer_rows, tiles.rows) << d;
    EXPECT_EQ(tiles.outer_rows % tiles.rows, 0) << d;
    EXPECT_EQ(kernel_tiles(d, 5, 2, caches).outer_rows, tiles.rows) << d;
    EXPECT_LE(kernel_tiles(d, 4096, 2, caches).outer_rows, std::max<std::int64_t>(tiles.rows, 512)) << d;
    EXPECT_GE(tiles.keys, 8) << d;
    EXPECT_LE(tiles.keys, 64) << d;
  }
  EXPECT_EQ(kernel_tiles(64, 1 << 20, 2, caches).rows, 64);  // (8192 - 128) / 131 = 61 rows
  // One row of head size 4096 and what belongs to it fills the first cache: the second one plans.
  EXPECT_EQ(kernel_tiles(4096, 1 << 20, 2, caches).rows, 32);
}

}  // namespace
}  // namespace laconic
