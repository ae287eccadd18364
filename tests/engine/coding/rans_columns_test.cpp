#include "engine/coding/rans_columns.h"

#include <gtest/gtest.h>

#include <hwy/targets.h>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/coding/adaptive_columns.h"
#include "engine/coding/column_tables.h"
#include "engine/coding/gaussian_tables.h"

namespace laconic {
namespace {

struct Matrix {
  std::int64_t rows = 0, columns = 0;
  std::vector<std::int32_t> values;
};

// Columns of growing spread around means of their own, with a few numbers far outside.
Matrix spread_columns(std::int64_t rows, std::int64_t columns, double outliers, std::uint64_t seed = 1) {
  Matrix matrix{rows, columns, std::vector<std::int32_t>(static_cast<std::size_t>(rows * columns))};
  RandomStream random(seed, "test", "columns");
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      const double sigma = 0.1 * std::pow(1.35, static_cast<double>(c % 16));
      double value = sigma * random.gaussian() + 3.7 * static_cast<double>(c % 7 - 3);
      if (random.uniform() < outliers) value += (random.uniform() - 0.5) * 1e6;
      matrix.values[static_cast<std::size_t>(r * columns + c)] =
          static_cast<std::int32_t>(std::nearbyint(value));
    }
  }
  return matrix;
}

std::vector<std::int32_t> decoded(const Bytes& coded, const Matrix& matrix,
                                  std::span<const IntegerColumn> columns) {
  std::vector<std::int32_t> back(matrix.values.size());
  const auto take = [&](std::int64_t column, std::span<const std::int32_t> numbers) {
    for (std::int64_t r = 0; r < matrix.rows; ++r)
      back[static_cast<std::size_t>(r * matrix.columns + column)] = numbers[static_cast<std::size_t>(r)];
  };
  rans_decode_columns(coded, matrix.rows, columns, take, "test");
  return back;
}

// Every vector unit that this machine has, and none.
std::vector<std::int64_t> vector_targets() {
  std::vector<std::int64_t> targets = {HWY_SCALAR};
  for (const std::int64_t target : {HWY_SSE4, HWY_AVX2, HWY_AVX3}) {
    if ((hwy::SupportedTargets() & target) != 0) targets.push_back(target);
  }
  return targets;
}

TEST(RansColumns, StreamIsThatOfIntegersWithATablePerColumn) {
  const std::vector<IntegerTable> tables = {
      gaussian_table(10, 0),
      gaussian_table(24, -3),
      gaussian_table(40, 2),
      gaussian_table(60, 1),
      {FrequencyTable(std::vector<std::uint32_t>{1, 65534, 1}), -1}};  // too fine for a lookup
  for (const std::int64_t rows : {1, 3, 77, 300, 5000, 14000}) {
    Matrix matrix = spread_columns(rows, 5, 0.01, static_cast<std::uint64_t>(rows));
    std::vector<IntegerColumn> columns;
    std::vector<std::int32_t> by_column;
    std::vector<std::uint16_t> table_of;
    for (std::int64_t c = 0; c < 5; ++c) {
      const IntegerTable& table = tables[static_cast<std::size_t>(c)];
      columns.push_back({&table.table, table.lowest});
      for (std::int64_t r = 0; r < rows; ++r) {
        by_column.push_back(matrix.values[static_cast<std::size_t>(r * 5 + c)]);
        table_of.push_back(static_cast<std::uint16_t>(c));
      }
    }
    const Bytes coded = rans_encode_columns(matrix.values.data(), rows, 5, columns);
    if (rows < 300) {  // the same number of lanes
      EXPECT_EQ(coded, rans_encode_integers(by_column, tables, table_of));
    }
    for (const std::int64_t target : vector_targets()) {
      hwy::SetSupportedTargetsForTest(target);
      EXPECT_EQ(decoded(coded, matrix, columns), matrix.values) << rows << " on " << target;
    }
    hwy::SetSupportedTargetsForTest(0);
  }
}

TEST(RansColumns, OneColumnOfOneKindCostsItsStateOnly) {
  const FrequencyTable certain(std::vector<std::uint32_t>{65536, 0});
  const IntegerColumn column{&certain, -4};
  const Matrix matrix{4000, 1, std::vector<std::int32_t>(4000, -4)};
  const Bytes coded = rans_encode_columns(matrix.values.data(), 4000, 1, {&column, 1});
  EXPECT_EQ(coded.size(), 17u);  // a length and 4 lanes
  EXPECT_EQ(decoded(coded, matrix, {&column, 1}), matrix.values);
  const std::vector<std::int32_t> other = {-4, 7};
  EXPECT_THROW(rans_encode_columns(other.data(), 2, 1, {&column, 1}), Error);
}

TEST(RansColumns, DamageIsFoundOrChangesNumbersOnly) {
  const Matrix matrix = spread_columns(600, 9, 0.002);
  const ColumnTables tables = ColumnTables::fit(matrix.values.data(), 600, 9, 9);
  const Bytes coded = rans_encode_columns(matrix.values.data(), 600, 9, tables.columns());
  int found = 0;
  for (std::size_t i = 0; i < coded.size(); i += 3) {
    Bytes damaged = coded;
    damaged[i] ^= std::byte{16};
    try {
      decoded(damaged, matrix, tables.columns());
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::corrupt);
      ++found;
    }
  }
  EXPECT_GT(found, 0);
  for (std::size_t size = 0; size < coded.size(); size += 101)
    EXPECT_THROW(decoded(Bytes(coded.begin(), coded.begin() + static_cast<std::ptrdiff_t>(size)), matrix,
                         tables.columns()),
                 Error);
}

TEST(ColumnTables, EveryChoiceComesBackAndSmallestIsSmallest) {
  for (const std::int64_t rows : {1, 30, 700}) {
    for (const double outliers : {0.0, 0.01}) {
      const Matrix matrix = spread_columns(rows, 33, outliers);
      std::size_t smallest = 0, least = SIZE_MAX;
      using Choice = ColumnTables::Choice;
      for (const Choice choice : {Choice::smallest, Choice::gaussian, Choice::fitted, Choice::shared}) {
        for (const bool escape : {false, true}) {
          const ColumnTables tables = ColumnTables::fit(matrix.values.data(), rows, 33, 33, choice, escape);
          ByteWriter writer;
          tables.write(writer);
          const std::size_t table_bytes = writer.size();
          const Bytes coded = rans_encode_columns(matrix.values.data(), rows, 33, tables.columns());
          ByteReader reader(writer.span(), "test");
          const ColumnTables back = ColumnTables::read(reader, 33);
          reader.expect_end();
          EXPECT_EQ(decoded(coded, matrix, back.columns()), matrix.values);
          if (escape) continue;
          const std::size_t total = table_bytes + coded.size();
          if (choice == Choice::smallest) {
            smallest = total;
          } else {
            least = std::min(least, total);
          }
        }
      }
      // Sizes are compared before lanes end in whole words.
      EXPECT_LE(smallest, least + 4) << rows;
    }
  }
}

TEST(ColumnTables, TablesForLaterNumbersTakeNumbersThatWereNotSeen) {
  const Matrix seen = spread_columns(400, 12, 0), other = spread_columns(50, 12, 0.05, 2);
  for (const auto choice : {ColumnTables::Choice::fitted, ColumnTables::Choice::shared}) {
    const ColumnTables tables = ColumnTables::fit(seen.values.data(), 400, 12, 12, choice, true);
    const Bytes coded = rans_encode_columns(other.values.data(), 50, 12, tables.columns());
    EXPECT_EQ(decoded(coded, other, tables.columns()), other.values);
  }
}

TEST(ColumnTables, HostileBytesAreRefused) {
  const Matrix matrix = spread_columns(300, 8, 0);
  ByteWriter writer;
  ColumnTables::fit(matrix.values.data(), 300, 8, 8).write(writer);
  const Bytes good(writer.span().begin(), writer.span().end());
  for (std::size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes damaged = good;
      damaged[i] ^= static_cast<std::byte>(1 << bit);
      ByteReader reader(damaged, "test");
      try {
        const ColumnTables tables = ColumnTables::read(reader, 8);
        EXPECT_EQ(tables.columns().size(), 8u);
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::corrupt) << error.what();
      }
    }
  }
  const Bytes little(3);
  ByteReader reader(little, "test");
  EXPECT_THROW(ColumnTables::read(reader, std::int64_t{1} << 40), Error);
}

TEST(AdaptiveColumns, NumbersComeBackAndDamageStaysInBounds) {
  for (const std::int64_t rows : {1, 40, 300}) {
    for (const double outliers : {0.0, 0.02}) {
      const Matrix matrix = spread_columns(rows, 7, outliers);
      const Bytes coded = adaptive_encode_columns(matrix.values.data(), rows, 7, 7);
      std::vector<std::int32_t> back(matrix.values.size());
      adaptive_decode_columns(coded, rows, 7, back.data(), "test");
      EXPECT_EQ(back, matrix.values);
      for (std::size_t i = 0; i < coded.size(); i += 11) {
        Bytes damaged = coded;
        damaged[i] ^= std::byte{4};
        try {
          adaptive_decode_columns(damaged, rows, 7, back.data(), "test");
        } catch (const Error& error) {
          EXPECT_EQ(error.kind(), ErrorKind::corrupt);
        }
      }
    }
  }
}

}  // namespace
}  // namespace laconic
