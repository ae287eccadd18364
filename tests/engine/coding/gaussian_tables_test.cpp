#include "engine/coding/gaussian_tables.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/hash.h"

namespace laconic {
namespace {

double normal_below(double z) { return 0.5 * std::erfc(-z / std::sqrt(2.0)); }

TEST(GaussianTables, SigmasAreEvenlySpacedInTheirLogarithm) {
  for (int scale = 0; scale < gaussian_scales; ++scale) {
    EXPECT_NEAR(gaussian_sigma(scale) / 65536.0, 0.11 * std::pow(256 / 0.11, scale / 63.0),
                2e-5 * std::pow(2.0, scale / 8.0));
  }
}

TEST(GaussianTables, FrequenciesAreThoseOfTheDistribution) {
  for (int scale = 0; scale < gaussian_scales; scale += 3) {
    const double sigma = 0.11 * std::pow(256 / 0.11, scale / 63.0);
    for (int eighth = -4; eighth < 4; ++eighth) {
      const IntegerTable& table = gaussian_table(scale, eighth);
      const std::size_t symbols = table.table.symbols();
      // One multiple of 16 for each symbol, the rest in proportion; the escape keeps at least 1/1024.
      const double rest = 65536.0 * (4095 - static_cast<double>(symbols)) / 4096;
      double inside = 0;
      std::vector<double> exact;
      for (std::size_t i = 0; i + 1 < symbols; ++i) {
        const double k = table.lowest + static_cast<double>(i), mean = eighth / 8.0;
        exact.push_back(normal_below((k + 0.5 - mean) / sigma) - normal_below((k - 0.5 - mean) / sigma));
        inside += exact.back();
      }
      const double all = inside + std::max(1 - inside, 1.0 / 1024);
      for (std::size_t i = 0; i + 1 < symbols; ++i) {
        EXPECT_NEAR(table.table.frequency(i), 16 + rest * exact[i] / all, 17) << scale << " " << eighth;
        EXPECT_EQ(table.table.frequency(i) % 16, 0u);
      }
      EXPECT_GE(table.table.frequency(symbols - 1), 16u);
      EXPECT_EQ(table.lowest, -static_cast<std::int32_t>(symbols / 2 - 1));
    }
  }
}

// Streams depend on these tables: they never change.
TEST(GaussianTables, AreWhatTheyWere) {
  std::vector<std::uint32_t> all;
  for (int scale = 0; scale < gaussian_scales; ++scale) {
    for (int eighth = -4; eighth < 4; ++eighth) {
      const IntegerTable& table = gaussian_table(scale, eighth);
      for (std::size_t i = 0; i < table.table.symbols(); ++i) all.push_back(table.table.frequency(i));
    }
  }
  EXPECT_EQ(xxh3_64(std::as_bytes(std::span(all))), 13441187416451563502u) << all.size();
}

}  // namespace
}  // namespace laconic
