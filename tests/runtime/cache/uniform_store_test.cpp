#include "runtime/cache/uniform_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

HeadMatrices uniform_rows(std::int64_t parts, std::int64_t rows, std::int64_t width) {
  const RandomStream random(8, "uniform store", "rows");
  HeadMatrices matrices;
  std::uint64_t draw = 0;
  for (std::int64_t p = 0; p < parts; ++p) {
    matrices.emplace_back(rows, width);
    for (std::int64_t r = 0; r < rows; ++r) {
      // Channels of different means and spreads, as keys have them.
      for (std::int64_t j = 0; j < width; ++j)
        matrices.back().row(r)[j] = (1.0f + 0.3f * static_cast<float>(j % 5)) * random.gaussian_at(draw++) +
                                    static_cast<float>(j % 3);
    }
  }
  return matrices;
}

// A store of 2 parts under every kind of form, with rests of groups, tiles and words.
std::vector<UniformRowForm> store_forms() {
  std::vector<UniformRowForm> forms;
  for (const KvSide side : {KvSide::keys, KvSide::values}) {
    for (const auto axis : {UniformRowForm::Axis::token, UniformRowForm::Axis::channel}) {
      for (const bool joint : {false, true}) {
        if (joint && axis == UniformRowForm::Axis::channel) continue;
        for (int bits = 1; bits <= 8; ++bits) {
          for (const std::int64_t group : {0, 7, 32}) {
            UniformRowForm form;
            form.axis = axis;
            form.side = side;
            form.joint = joint;
            form.bits = bits;
            form.group = group;
            form.kind = bits % 3 == 0   ? GridKind::affine_zero
                        : bits % 3 == 1 ? GridKind::affine_min
                                        : GridKind::symmetric_full;
            form.f32_parameters = group == 7;
            forms.push_back(form);
          }
        }
      }
    }
  }
  return forms;
}

TEST(UniformStore, RowsAreTheNumbersOfTheirGrids) {
  const HeadMatrices rows = uniform_rows(2, 45, 20);
  for (const UniformRowForm& form : store_forms()) {
    const auto store = UniformStore::encode(rows, form);
    // The same grids, fitted on their own.
    HeadMatrix whole(45, 40);
    for (std::int64_t r = 0; r < 45; ++r) {
      for (std::int64_t p = 0; p < 2; ++p)
        std::copy(rows[static_cast<std::size_t>(p)].row(r), rows[static_cast<std::size_t>(p)].row(r) + 20,
                  whole.row(r) + 20 * p);
    }
    for (std::int64_t p = 0; p < 2; ++p) {
      const bool by_channel = form.axis == UniformRowForm::Axis::channel;
      HeadMatrix matrix = form.joint ? whole : rows[static_cast<std::size_t>(p)];
      if (by_channel) {
        HeadMatrix turned(matrix.width, matrix.rows);
        for (std::int64_t r = 0; r < matrix.rows; ++r) {
          for (std::int64_t j = 0; j < matrix.width; ++j) turned.row(j)[r] = matrix.row(r)[j];
        }
        matrix = std::move(turned);
      }
      const GridParameters fitted =
          fit_grid(matrix.values.data(), matrix.rows, matrix.width, {form.kind, form.bits, form.group},
                   ClipSearch::none, form.f32_parameters);
      const std::vector<std::uint8_t> codes = quantize(matrix.values.data(), fitted);
      const std::vector<float> wanted = dequantize(codes, fitted);
      std::vector<float> got(45 * 20);
      store->read(p, 0, 45, got.data());
      for (std::int64_t r = 0; r < 45; ++r) {
        for (std::int64_t j = 0; j < 20; ++j) {
          const std::int64_t column = form.joint ? 20 * p + j : j;
          const auto at = static_cast<std::size_t>(by_channel ? j * 45 + r : r * matrix.width + column);
          ASSERT_EQ(got[static_cast<std::size_t>(r * 20 + j)], wanted[at]) << form.bits << ' ' << form.group;
          ASSERT_EQ(store->code(p, r, j), codes[at]);
          ASSERT_EQ(store->value(p, r, j), wanted[at]);
        }
      }
      std::vector<float> middle(9 * 20);
      store->read(p, 17, 26, middle.data());
      EXPECT_TRUE(std::equal(middle.begin(), middle.end(), got.begin() + 17 * 20));
    }
  }
}

TEST(UniformStore, PackedProductsAreThoseOfTheRows) {
  const HeadMatrices rows = uniform_rows(2, 45, 20);
  float low = 0, high = 0;
  for (const HeadMatrix& part : rows) {
    low = std::min(low, *std::min_element(part.values.begin(), part.values.end()));
    high = std::max(high, *std::max_element(part.values.begin(), part.values.end()));
  }
  const double range = 2 * std::max(high, -low);  // of the widest grid, which may be symmetric
  const RandomStream random(8, "uniform store", "factors");
  for (const UniformRowForm& form : store_forms()) {
    const auto store = UniformStore::encode(rows, form);
    for (const std::int64_t count : {1, 4, 5}) {
      for (const auto& [begin, end] : {std::pair<std::int64_t, std::int64_t>{0, 45}, {13, 14}, {5, 40}}) {
        const std::int64_t here = end - begin;
        std::vector<float> queries(static_cast<std::size_t>(count * 20)),
            weights(static_cast<std::size_t>(count * here));
        for (std::size_t i = 0; i < queries.size(); ++i) queries[i] = random.gaussian_at(i);
        for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = std::abs(random.gaussian_at(i));
        const auto largest = [](const std::vector<float>& x) {
          float most = 0;
          for (const float v : x) most = std::max(most, std::abs(v));
          return static_cast<double>(most);
        };
        std::vector<float> scores(weights.size()), expanded = scores, sums(queries.size(), 1.0f),
                                                   mixed = sums;
        store->dot(1, begin, end, queries.data(), count, scores.data(), here);
        store->RowStore::dot(1, begin, end, queries.data(), count, expanded.data(), here);
        // Half a unit of each factor, and half of its codes: lane_product.h.
        for (std::size_t i = 0; i < scores.size(); ++i)
          ASSERT_NEAR(scores[i], expanded[i], 20 * largest(queries) * range / 4 / 32767 + 1e-4) << form.bits;
        store->mix(1, begin, end, weights.data(), here, count, sums.data());
        store->RowStore::mix(1, begin, end, weights.data(), here, count, mixed.data());
        for (std::size_t i = 0; i < sums.size(); ++i)
          ASSERT_NEAR(sums[i], mixed[i],
                      static_cast<double>(here) * largest(weights) * range / 4 / 32767 + 1e-4)
              << form.bits;
      }
    }
  }
}

TEST(UniformStore, TakesTheBytesThatItWritesAndReadsThemBack) {
  const HeadMatrices rows = uniform_rows(2, 45, 20);
  for (const UniformRowForm& form : store_forms()) {
    const auto store = UniformStore::encode(rows, form);
    ByteWriter writer;
    store->write(writer);
    ASSERT_EQ(store->bytes().total(), writer.size());
    ByteReader reader(writer.span(), "test");
    const auto copy = UniformStore::read_from(reader, shape_of(rows), form);
    reader.expect_end();
    ByteWriter again;
    copy->write(again);
    ASSERT_TRUE(
        std::equal(writer.span().begin(), writer.span().end(), again.span().begin(), again.span().end()));
    for (std::int64_t p = 0; p < 2; ++p) {
      std::vector<float> a(45 * 20), b(45 * 20);
      store->read(p, 0, 45, a.data());
      copy->read(p, 0, 45, b.data());
      ASSERT_EQ(a, b);
    }
    for (std::size_t length = 0; length < writer.size(); length += 1 + length / 5) {
      ByteReader cut(writer.span().first(length), "test");
      EXPECT_THROW(UniformStore::read_from(cut, shape_of(rows), form), Error);
    }
  }
}

TEST(UniformStore, HoldsBitsAndGridsAndNothingElse) {
  for (const int bits : {2, 3, 4, 8}) {
    for (const KvSide side : {KvSide::keys, KvSide::values}) {
      UniformRowForm form;
      form.bits = bits;
      form.side = side;
      form.axis = side == KvSide::keys ? UniformRowForm::Axis::channel : UniformRowForm::Axis::token;
      const auto store = UniformStore::encode(uniform_rows(3, 96, 64), form);
      EXPECT_EQ(store->bytes().payload, static_cast<std::uint64_t>(3 * 96 * 64 * bits / 8));
      EXPECT_EQ(store->bytes().scales, static_cast<std::uint64_t>(3 * 96 * 64 / 32 * 4));
      EXPECT_EQ(store->bytes().header, 1u);
    }
  }
}

TEST(UniformStore, EmptyRowsAndEmptyParts) {
  for (const UniformRowForm& form : store_forms()) {
    for (const auto& [rows, width] : {std::pair<std::int64_t, std::int64_t>{0, 20}, {9, 0}}) {
      const auto store = UniformStore::encode({HeadMatrix(rows, width), HeadMatrix(rows, width)}, form);
      ByteWriter writer;
      store->write(writer);
      ASSERT_EQ(store->bytes().total(), writer.size());
      std::vector<float> x(20, 1.0f), y(20, 2.0f);
      store->dot(0, 0, rows, x.data(), 1, y.data(), 20);
      store->mix(0, 0, rows, x.data(), 20, 1, y.data());
    }
  }
}

// A code beyond the last row, in a tail of words that is not full.
TEST(UniformStore, RefusesBitsThatNoCodeHas) {
  UniformRowForm form;
  form.bits = 2;
  form.group = 0;
  const HeadMatrices rows = uniform_rows(1, 3, 4);  // 6 bits of a byte for every channel
  const auto store = UniformStore::encode(rows, form);
  ByteWriter writer;
  store->write(writer);
  Bytes bytes = writer.take();
  bytes.back() |= std::byte{0x80};
  ByteReader reader(bytes, "test");
  try {
    UniformStore::read_from(reader, shape_of(rows), form);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
  }
}

}  // namespace
}  // namespace laconic
