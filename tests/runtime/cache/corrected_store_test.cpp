#include "runtime/cache/corrected_store.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

HeadMatrices random_heads(const RowStoreShape& shape, std::uint64_t seed = 1) {
  HeadMatrices heads;
  RandomStream random(seed, "test", "heads");
  for (const auto& [rows, width] : shape.parts) {
    heads.emplace_back(rows, width);
    for (float& x : heads.back().values) x = rounded_to(DType::f16, random.gaussian() * random.gaussian());
  }
  return heads;
}

template <class Piece>
Bytes bytes_of(const Piece& piece) {
  ByteWriter writer;
  piece.write(writer);
  EXPECT_EQ(piece.bytes().total(), writer.size());
  return writer.take();
}

TEST(FactorMatrix, KeepsNumbersToItsBits) {
  const HeadMatrix matrix = random_heads({{{3, 300}}}).front();
  for (const int bits : {16, 8, 4}) {
    const FactorMatrix factor(matrix, bits);
    const HeadMatrix read = factor.read_all();
    for (std::int64_t r = 0; r < 3; ++r) {
      float largest = 0;
      for (std::int64_t i = 0; i < 300; ++i) largest = std::max(largest, std::abs(matrix.row(r)[i]));
      const float step = bits == 16 ? 0 : largest / static_cast<float>((1 << (bits - 1)) - 1);
      for (std::int64_t i = 0; i < 300; ++i) EXPECT_NEAR(read.row(r)[i], matrix.row(r)[i], 0.502f * step);
    }
    std::vector<float> piece(130);
    factor.read(1, 100, 230, piece.data());
    for (std::int64_t i = 0; i < 130; ++i)
      EXPECT_EQ(piece[static_cast<std::size_t>(i)], read.row(1)[100 + i]);
    const Bytes bytes = bytes_of(factor);
    ByteReader reader(bytes, "test");
    EXPECT_EQ(bytes_of(FactorMatrix::read_from(reader, 3, 300, bits)), bytes);
    reader.expect_end();
  }
}

TEST(FactorMatrix, TurnsToF32WhereF16LosesTooMuch) {
  for (const float scale : {1e7f, 1e-7f}) {
    HeadMatrix matrix = random_heads({{{2, 20}}}).front();
    for (float& x : matrix.values) x *= scale;
    const FactorMatrix factor(matrix, 16);
    EXPECT_EQ(factor.read_all().values, matrix.values);
    EXPECT_EQ(factor.bytes().payload, 160u);
  }
}

class OutlierForms : public testing::TestWithParam<OutlierForm> {};

TEST_P(OutlierForms, AreTakenOutOfTheRowsAndFoundAgain) {
  for (const RowStoreShape& shape :
       {RowStoreShape{{{37, 6}, {37, 10}, {37, 6}}}, {{{20, 6}, {9, 6}}}, {{{1, 5}}}}) {
    const HeadMatrices rows = random_heads(shape);
    HeadMatrices filled = rows;
    const OutlierRows outliers =
        OutlierRows::take(filled, GetParam(), [](std::int64_t n) { return (n + 9) / 10; });
    std::vector<Outlier> entries, some;
    std::uint64_t count = 0;
    for (std::size_t part = 0; part < rows.size(); ++part) {
      const auto p = static_cast<std::int64_t>(part);
      HeadMatrix restored = filled[part];
      outliers.list(p, 0, rows[part].rows, entries);
      count += entries.size();
      for (const Outlier& entry : entries) restored.row(entry.row)[entry.column] = entry.value;
      EXPECT_EQ(restored.values, rows[part].values);
      // Any piece of the rows gives its own entries.
      std::size_t found = 0;
      for (std::int64_t begin = 0; begin < rows[part].rows; begin += 7) {
        const std::int64_t end = std::min(begin + 7, rows[part].rows);
        outliers.list(p, begin, end, some);
        for (const Outlier& entry : some) {
          EXPECT_TRUE(entry.row >= begin && entry.row < end);
          EXPECT_EQ(rows[part].row(entry.row)[entry.column], entry.value);
        }
        found += some.size();
      }
      EXPECT_EQ(found, entries.size());
    }
    EXPECT_EQ(count, outliers.count());
    const Bytes bytes = bytes_of(outliers);
    ByteReader reader(bytes, "test");
    EXPECT_EQ(bytes_of(OutlierRows::read_from(reader, shape, GetParam())), bytes);
    reader.expect_end();
  }
}

INSTANTIATE_TEST_SUITE_P(All, OutlierForms,
                         testing::Values(OutlierForm{OutlierVectors::channel, false},
                                         OutlierForm{OutlierVectors::token, false},
                                         OutlierForm{OutlierVectors::channel, true},
                                         OutlierForm{OutlierVectors::token, true}));

TEST(OutlierRows, LeaveTheMeanOfTheirVector) {
  HeadMatrices rows(2, HeadMatrix(1, 4));
  rows[0].values = {1, 2, 9, 4};
  rows[1].values = {0, -7, 3, 4};
  const auto one = [](std::int64_t) { return 1; };
  HeadMatrices by_token = rows;
  OutlierRows::take(by_token, {OutlierVectors::token, false}, one);
  EXPECT_EQ(by_token[0].values, (std::vector<float>{1, 2, 2, 4}));
  EXPECT_EQ(by_token[1].values, (std::vector<float>{0, 2, 3, 4}));
  // Chosen across all numbers, means still of their own vectors.
  HeadMatrices across = rows;
  OutlierRows::take(across, {OutlierVectors::channel, true}, one);
  EXPECT_EQ(across[0].values, rows[0].values);
  HeadMatrices tall(1, HeadMatrix(3, 2));
  tall[0].values = {1, 10, 2, 40, 9, 100};
  OutlierRows::take(tall, {OutlierVectors::channel, true}, one);
  EXPECT_EQ(tall[0].values, (std::vector<float>{4, 10, 2, 40, 9, 50}));
}

TEST(OutlierRows, KeepNumbersBeyondF16) {
  HeadMatrices rows(1, HeadMatrix(5, 1));
  rows[0].values = {1, 1e6f, 2, -3, 0};
  const OutlierRows outliers =
      OutlierRows::take(rows, {OutlierVectors::channel, false}, [](std::int64_t) { return 1; });
  std::vector<Outlier> entries;
  outliers.list(0, 0, 5, entries);
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].value, 1e6f);
}

TEST(OutlierRows, RefuseWhatWasNotWritten) {
  const RowStoreShape shape{{{12, 3}, {12, 4}}};
  HeadMatrices rows = random_heads(shape);
  const OutlierForm form{OutlierVectors::channel, false};
  const Bytes bytes = bytes_of(OutlierRows::take(rows, form, [](std::int64_t) { return 2; }));
  const auto refused = [&](std::size_t at, std::uint8_t value) {
    Bytes damaged = bytes;
    damaged[at] = std::byte{value};
    ByteReader reader(damaged, "test");
    try {
      OutlierRows::read_from(reader, shape, form);
    } catch (const Error& error) {
      return error.kind() == ErrorKind::corrupt;
    }
    return false;
  };
  EXPECT_TRUE(refused(0, 2));     // type of the numbers
  EXPECT_TRUE(refused(1, 13));    // more entries than the vector has numbers
  EXPECT_TRUE(refused(2, 0x11));  // two entries at one place
  EXPECT_TRUE(refused(2, 0xF0));  // a place behind the end
  EXPECT_TRUE(refused(9, 0x7C));  // infinity: bytes 8 and 9 hold the first number
}

CorrectedStore corrected(const HeadMatrices& rows, const CorrectedStore::Form& form, std::int64_t rank) {
  HeadMatrices filled = rows, left, right;
  OutlierRows outliers =
      OutlierRows::take(filled, form.outliers, [](std::int64_t n) { return (n + 19) / 20; });
  RowStoreShape left_shape, right_shape;
  for (const HeadMatrix& part : rows) {
    if (!form.shared_factor || left_shape.parts.empty()) left_shape.parts.push_back({rank, part.rows});
    right_shape.parts.push_back({rank, part.width});
  }
  return {UniformStore::encode(filled, form.codes),
          LowRankRows(random_heads(left_shape, 8), random_heads(right_shape, 9), form.factor_bits),
          std::move(outliers)};
}

std::vector<CorrectedStore::Form> corrected_forms() {
  std::vector<CorrectedStore::Form> forms;
  for (const auto axis : {UniformRowForm::Axis::channel, UniformRowForm::Axis::token}) {
    for (const bool across : {false, true}) {
      for (const bool shared : {false, true}) {
        for (const int factor_bits : {16, 8}) {
          CorrectedStore::Form form;
          form.codes.axis = axis;
          form.codes.bits = across ? 2 : 3;
          form.codes.group = shared ? 16 : 0;
          form.codes.joint = axis == UniformRowForm::Axis::token && !shared;
          form.outliers.vectors =
              axis == UniformRowForm::Axis::channel ? OutlierVectors::channel : OutlierVectors::token;
          form.outliers.across = across;
          form.shared_factor = shared;
          form.factor_bits = factor_bits;
          forms.push_back(form);
        }
      }
    }
  }
  return forms;
}

TEST(CorrectedStore, MultipliesWithItsPiecesAsWithWholeRows) {
  const RowStoreShape shape{{{150, 24}, {150, 17}}};
  for (const CorrectedStore::Form& form : corrected_forms()) {
    const CorrectedStore store = corrected(random_heads(shape), form, 3);
    for (std::int64_t part = 0; part < 2; ++part) {
      const std::int64_t begin = 11, end = 140, width = store.width(part), count = 3, stride = 200;
      HeadMatrix rows(end - begin, width);
      store.read(part, begin, end, rows.values.data());
      const HeadMatrix queries = random_heads({{{count, width}}}, 4).front();
      const HeadMatrix weights = random_heads({{{count, stride}}}, 5).front();
      HeadMatrix scores(count, stride), sums(count, width), plain_sums(count, width);
      store.dot(part, begin, end, queries.values.data(), count, scores.values.data(), stride);
      store.mix(part, begin, end, weights.values.data(), stride, count, sums.values.data());
      for (std::int64_t i = 0; i < count; ++i) {
        for (std::int64_t r = 0; r < rows.rows; ++r) {
          double score = 0;
          for (std::int64_t j = 0; j < width; ++j)
            score += static_cast<double>(queries.row(i)[j]) * static_cast<double>(rows.row(r)[j]);
          ASSERT_NEAR(scores.row(i)[r], score, 1e-3 * (1 + std::abs(score)));
        }
        for (std::int64_t j = 0; j < width; ++j) {
          double sum = 0;
          for (std::int64_t r = 0; r < rows.rows; ++r)
            sum += static_cast<double>(weights.row(i)[r]) * static_cast<double>(rows.row(r)[j]);
          ASSERT_NEAR(sums.row(i)[j], sum, 1e-3 * (1 + std::abs(sum)));
        }
      }
    }
  }
}

TEST(CorrectedStore, IsTheSumOfItsPiecesWithOutliersOnTop) {
  const RowStoreShape shape{{{50, 8}, {50, 8}}};
  const HeadMatrices rows = random_heads(shape);
  const CorrectedStore store = corrected(rows, corrected_forms().front(), 2);
  std::vector<Outlier> entries;
  for (std::int64_t part = 0; part < 2; ++part) {
    HeadMatrix expected(50, 8), actual(50, 8);
    store.codes().read(part, 0, 50, expected.values.data());
    for (std::int64_t r = 0; r < 50; ++r) {
      for (std::int64_t j = 0; j < 8; ++j) EXPECT_EQ(store.codes().value(part, r, j), expected.row(r)[j]);
    }
    store.low_rank()->add(part, 0, 50, expected.values.data());
    store.outliers()->list(part, 0, 50, entries);
    EXPECT_EQ(entries.size(), 8u * 2 * 3);
    for (const Outlier& entry : entries) {
      EXPECT_EQ(entry.value, rows[static_cast<std::size_t>(part)].row(entry.row)[entry.column]);
      expected.row(entry.row)[entry.column] = entry.value;
    }
    store.read(part, 0, 50, actual.values.data());
    EXPECT_EQ(actual.values, expected.values);
  }
}

TEST(CorrectedStore, ReadsBackTheBytesThatItCounts) {
  const RowStoreShape shape{{{33, 8}, {33, 12}}};
  for (const CorrectedStore::Form& form : corrected_forms()) {
    const CorrectedStore store = corrected(random_heads(shape), form, 2);
    const Bytes bytes = bytes_of(store);
    ByteReader reader(bytes, "test");
    const auto copy = CorrectedStore::read_from(reader, shape, form);
    reader.expect_end();
    EXPECT_EQ(bytes_of(*copy), bytes);
    const HeadMatrices before = read_all(store), after = read_all(*copy);
    for (std::size_t part = 0; part < 2; ++part) EXPECT_EQ(before[part].values, after[part].values);
    for (std::size_t length = 0; length < bytes.size(); length += 1 + length / 9) {
      ByteReader cut(ByteSpan(bytes).first(length), "test");
      EXPECT_THROW(CorrectedStore::read_from(cut, shape, form), Error) << length;
    }
  }
}

// The single number of a store is the one that read() gives, at every width and place of its bits.
TEST(UniformStoreValue, IsTheNumberThatRowsHave) {
  const RowStoreShape shape{{{21, 13}, {21, 5}}};
  const HeadMatrices rows = random_heads(shape);
  for (int bits = 1; bits <= 8; ++bits) {
    for (const auto axis : {UniformRowForm::Axis::channel, UniformRowForm::Axis::token}) {
      UniformRowForm form;
      form.bits = bits;
      form.axis = axis;
      form.group = 4;
      form.joint = axis == UniformRowForm::Axis::token && bits % 2 == 0;
      const auto store = UniformStore::encode(rows, form);
      const HeadMatrices read = read_all(*store);
      for (std::int64_t part = 0; part < 2; ++part) {
        for (std::int64_t r = 0; r < 21; ++r) {
          for (std::int64_t j = 0; j < store->width(part); ++j)
            ASSERT_EQ(store->value(part, r, j), read[static_cast<std::size_t>(part)].row(r)[j]);
        }
      }
    }
  }
}

}  // namespace
}  // namespace laconic
