// Stores made of stores: rows in classes, and rows with channel scales.
#include "runtime/cache/class_store.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "methods/cache/uniform_rows.h"
#include "runtime/cache/channel_scale_store.h"
#include "runtime/cache/exact_store.h"

namespace laconic {
namespace {

HeadMatrices random_rows(std::int64_t rows, std::int64_t width, float channel_factor = 1) {
  HeadMatrices parts;
  RandomStream random(3, "test", "rows");
  for (int part = 0; part < 2; ++part) {
    HeadMatrix& matrix = parts.emplace_back(rows, width);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t j = 0; j < width; ++j)
        matrix.row(r)[j] = random.gaussian() * (j == 1 ? channel_factor : 1);
    }
  }
  return parts;
}

std::shared_ptr<const RowCodec> token_grids(int bits) {
  UniformRowForm form;
  form.bits = bits;
  form.group = 0;
  return uniform_row_codec("grids", form, form);
}

// dot and mix over any run of rows are those of the rows that read() gives.
void expect_sums_of_rows(const RowStore& store) {
  RandomStream random(4, "test", "queries");
  for (std::int64_t part = 0; part < store.parts(); ++part) {
    const std::int64_t rows = store.rows(part), width = store.width(part), count = 3;
    for (const auto& [begin, end] : {std::pair{std::int64_t{0}, rows}, {rows / 3, rows - 1}, {1, 2}}) {
      std::vector<float> all(static_cast<std::size_t>((end - begin) * width));
      store.read(part, begin, end, all.data());
      std::vector<float> queries(static_cast<std::size_t>(count * width));
      for (float& q : queries) q = random.gaussian();
      const std::int64_t stride = end - begin + 5;
      std::vector<float> scores(static_cast<std::size_t>(count * stride), 7.0f), weights(scores.size());
      store.dot(part, begin, end, queries.data(), count, scores.data(), stride);
      for (float& w : weights) w = random.uniform();
      std::vector<float> sums(queries.size(), 0.5f);
      store.mix(part, begin, end, weights.data(), stride, count, sums.data());
      for (std::int64_t i = 0; i < count; ++i) {
        std::vector<double> sum(static_cast<std::size_t>(width), 0.5);
        for (std::int64_t r = 0; r < end - begin; ++r) {
          double dot = 0, size = 0;
          for (std::int64_t j = 0; j < width; ++j) {
            const auto x = static_cast<double>(all[static_cast<std::size_t>(r * width + j)]);
            const double product = x * static_cast<double>(queries[static_cast<std::size_t>(i * width + j)]);
            dot += product;
            size += std::abs(product);
            sum[static_cast<std::size_t>(j)] +=
                x * static_cast<double>(weights[static_cast<std::size_t>(i * stride + r)]);
          }
          EXPECT_NEAR(scores[static_cast<std::size_t>(i * stride + r)], dot, 1e-4 * (1 + size));
        }
        for (std::int64_t j = 0; j < width; ++j)
          EXPECT_NEAR(sums[static_cast<std::size_t>(i * width + j)], sum[static_cast<std::size_t>(j)],
                      1e-4 * (1 + std::abs(sum[static_cast<std::size_t>(j)])));
        for (std::int64_t r = end - begin; r < stride; ++r)
          EXPECT_EQ(scores[static_cast<std::size_t>(i * stride + r)], 7.0f);
      }
    }
  }
}

void expect_round_trip(const RowStore& store, const RowCodec& codec, const RowContext& context) {
  ByteWriter writer;
  store.write(writer);
  EXPECT_EQ(store.bytes().total(), writer.size());
  ByteReader reader(writer.span(), "test");
  const auto copy = codec.read(reader, shape_of(store), context);
  reader.expect_end();
  for (std::int64_t part = 0; part < store.parts(); ++part)
    EXPECT_EQ(read_all(*copy)[static_cast<std::size_t>(part)].values,
              read_all(store)[static_cast<std::size_t>(part)].values);
  for (std::size_t length = 0; length < writer.size(); ++length) {
    ByteReader cut(writer.span().first(length), "test");
    EXPECT_THROW(codec.read(cut, shape_of(store), context), Error) << length;
  }
}

TEST(ClassStore, HoldsEveryClassAsItsOwnCodecWould) {
  const HeadMatrices rows = random_rows(40, 6);
  for (const std::int64_t first : {0, 1, 25, 40}) {
    const std::vector<std::int64_t> classes = {first, 40 - first};
    RowContext context;
    context.class_rows = classes;
    const auto codec = class_row_codec({exact_row_codec(DType::f32), token_grids(3)});
    const auto store = codec->encode(rows, context);
    HeadMatrices rest;
    for (const HeadMatrix& part : rows) {
      rest.emplace_back(40 - first, 6);
      std::copy(part.row(first), part.row(40), rest.back().values.begin());
    }
    const HeadMatrices decoded = read_all(*store);
    const HeadMatrices decoded_rest = read_all(*token_grids(3)->encode(rest, {}));
    for (std::size_t part = 0; part < rows.size(); ++part) {
      EXPECT_TRUE(std::equal(rows[part].row(0), rows[part].row(first), decoded[part].row(0)));
      EXPECT_TRUE(std::equal(decoded_rest[part].values.begin(), decoded_rest[part].values.end(),
                             decoded[part].row(first)));
    }
    expect_sums_of_rows(*store);
    expect_round_trip(*store, *codec, context);
  }
}

TEST(ClassStore, RefusesAnotherNumberOfClasses) {
  const auto codec = class_row_codec({exact_row_codec(DType::f16), exact_row_codec(DType::f16)});
  const Bytes bytes(400);
  for (const std::vector<std::int64_t>& classes :
       {std::vector<std::int64_t>{}, {10}, {4, 4, 2}, {4, 4}, {8, 8}}) {
    RowContext context;
    context.class_rows = classes;
    ByteReader reader(bytes, "test");
    try {
      codec->read(reader, {{{10, 3}}}, context);
      ADD_FAILURE() << classes.size();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    }
  }
}

TEST(ChannelScaleStore, DividesByRootsOfTheLargestNumbers) {
  const HeadMatrices rows = random_rows(50, 8, 100);
  const auto codec = channel_scaled_codec(token_grids(8));
  const auto store = codec->encode(rows, {});
  const auto& scaled = dynamic_cast<const ChannelScaleStore&>(*store);
  for (std::int64_t part = 0; part < 2; ++part) {
    const HeadMatrix& from = rows[static_cast<std::size_t>(part)];
    for (std::int64_t j = 0; j < 8; ++j) {
      float largest = 0;
      for (std::int64_t r = 0; r < 50; ++r) largest = std::max(largest, std::abs(from.row(r)[j]));
      EXPECT_EQ(scaled.scales(part)[static_cast<std::size_t>(j)], rounded_to(DType::f16, std::sqrt(largest)));
    }
  }
  expect_sums_of_rows(*store);
  expect_round_trip(*store, *codec, {});
}

TEST(ChannelScaleStore, ChannelsOfZerosAreExactAndHugeOnesGetWiderScales) {
  HeadMatrices rows = random_rows(9, 4);
  for (std::int64_t r = 0; r < 9; ++r) rows[0].row(r)[2] = 0;
  const auto codec = channel_scaled_codec(token_grids(2));
  const HeadMatrices decoded = read_all(*codec->encode(rows, {}));
  for (std::int64_t r = 0; r < 9; ++r) EXPECT_EQ(decoded[0].row(r)[2], 0.0f);

  for (std::int64_t r = 0; r < 9; ++r) rows[0].row(r)[2] = 1e20f;
  const auto store = codec->encode(rows, {});
  EXPECT_EQ(dynamic_cast<const ChannelScaleStore&>(*store).scales(0)[2], 1e10f);
  expect_round_trip(*store, *codec, {});
}

TEST(ChannelScaleStore, RefusesScalesThatAreNone) {
  const auto codec = channel_scaled_codec(exact_row_codec(DType::f16));
  for (const std::uint16_t bad : {0x7c00, 0x7e00, 0xbc00}) {  // infinity, NaN, -1
    ByteWriter writer;
    writer.u8(0);
    writer.u16(bad);
    for (int i = 0; i < 8; ++i) writer.u16(0);
    ByteReader reader(writer.span(), "test");
    EXPECT_THROW(codec->read(reader, {{{2, 1}}}, {}), Error);
  }
}

}  // namespace
}  // namespace laconic
