#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <map>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/coding/normalise.h"
#include "methods/cache/cachegen/coded_rows.h"
#include "methods/cache/cachegen/profile.h"
#include "methods/cache/cachegen/settings.h"
#include "methods/cache/pipeline.h"
#include "runtime/cache/stages.h"
#include "tests/runtime/cache/random_layer.h"
#include "tests/runtime/reference_model.h"

namespace laconic {
namespace {

using Form = RowSymbols::Form;

std::vector<std::int32_t> column(const RowSymbols& symbols, std::int64_t c) {
  std::vector<std::int32_t> numbers;
  for (std::int64_t r = 0; r < symbols.coded_rows(); ++r)
    numbers.push_back(symbols.numbers[static_cast<std::size_t>(r * symbols.columns + c)]);
  return numbers;
}

std::vector<float> expanded(const RowSymbols& symbols, const KeyTurns& turns = {}) {
  std::vector<float> rows(static_cast<std::size_t>(symbols.rows * symbols.columns)),
      values(static_cast<std::size_t>(symbols.rows));
  for (std::int64_t c = 0; c < symbols.columns; ++c) {
    symbols.expand(c, column(symbols, c), turns, values.data());
    for (std::int64_t r = 0; r < symbols.rows; ++r)
      rows[static_cast<std::size_t>(r * symbols.columns + c)] = values[static_cast<std::size_t>(r)];
  }
  return rows;
}

// Card 31, first example: two channels, groups of 10, steps 0.05 and 0.10.
TEST(CacheGen, DeltasToDecodedAnchors) {
  const std::vector<float> first = {1.00f, 1.10f, .95f,  1.30f, 1.05f, .90f,  1.20f,
                                    1.15f, 1.00f, 1.25f, -.50f, -.40f, -.65f, -.45f};
  std::vector<float> x;
  for (std::size_t t = 0; t < 14; ++t) {
    x.push_back(first[t]);
    x.push_back(2 * first[13 - t]);
  }
  const std::vector<float> steps = {0.05f, 0.10f};
  const RowSymbols symbols = anchor_symbols(x.data(), 14, 2, 10, steps, DType::f32);
  EXPECT_EQ(symbols.anchors, (std::vector<std::int8_t>{127, -114, -24, 127}));
  EXPECT_EQ(column(symbols, 0), (std::vector<std::int32_t>{2, -1, 6, 1, -2, 4, 3, 0, 5, 2, -3, 1}));
  EXPECT_EQ(column(symbols, 1), (std::vector<std::int32_t>{-4, 1, -1, 34, 29, 32, 33, 27, 30, -7, -4, -6}));
  const std::vector<float> back = expanded(symbols);
  EXPECT_NEAR(back[0], 1.00, 1e-6);
  EXPECT_NEAR(back[1], -0.89764, 1e-5);
  EXPECT_NEAR(back[20], -0.49134, 1e-5);
  EXPECT_NEAR(back[21], 2.6, 1e-6);
  double worst[2] = {0, 0};
  for (std::size_t i = 0; i < x.size(); ++i)
    worst[i % 2] = std::max(worst[i % 2], static_cast<double>(std::abs(back[i] - x[i])));
  EXPECT_NEAR(worst[0], 0.00866, 5e-6);
  EXPECT_NEAR(worst[1], 0.00236, 5e-6);
}

// Second example.
TEST(CacheGen, BinsOfAToken) {
  const std::vector<float> x = {0.3f, -1.4f, 0.7f, 0.05f};
  const RowSymbols symbols = bin_symbols(x.data(), 1, 4, 16, false, DType::f32);
  EXPECT_EQ(symbols.numbers, (std::vector<std::int32_t>{9, 0, 11, 7}));
  const std::vector<float> back = expanded(symbols);
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(back[i], (std::vector<double>{0.4, -1.4, 0.8, 0.0})[i], 1e-6);
}

// Third example; the count left over goes to the last interval (convention C9).
TEST(CacheGen, DistributionsOfTheReleasedCode) {
  const std::vector<std::uint64_t> counts = {0, 1, 5, 2};
  const std::vector<std::uint32_t> frequencies = normalise(counts, 65536, NormalisePolicy::spread);
  EXPECT_EQ(frequencies, (std::vector<std::uint32_t>{1, 8192, 40958, 65535 - 49151 + 1}));
}

TEST(CacheGen, LevelsScaleWithDepth) {
  // The 32 layers of the released table.
  std::vector<int> keys;
  for (std::int64_t layer = 0; layer < 32; ++layer)
    keys.push_back(level_bins(BinTable::layers_32, 1, KvSide::keys, layer, 32));
  EXPECT_EQ(std::count(keys.begin(), keys.end(), 16), 20);
  EXPECT_EQ(keys[19], 16);
  EXPECT_EQ(keys[20], 12);
  EXPECT_EQ(level_bins(BinTable::layers_32, 2, KvSide::keys, 9, 32), 32);
  EXPECT_EQ(level_bins(BinTable::layers_32, 2, KvSide::keys, 10, 32), 16);
  EXPECT_EQ(level_bins(BinTable::layers_32, 2, KvSide::values, 1, 32), 32);
  EXPECT_EQ(level_bins(BinTable::layers_32, 2, KvSide::values, 2, 32), 16);
  // 28 layers: boundaries 8, 17 and 1.
  EXPECT_EQ(level_bins(BinTable::layers_32, 2, KvSide::keys, 7, 28), 32);
  EXPECT_EQ(level_bins(BinTable::layers_32, 2, KvSide::keys, 8, 28), 16);
  EXPECT_EQ(level_bins(BinTable::layers_32, 1, KvSide::keys, 16, 28), 16);
  EXPECT_EQ(level_bins(BinTable::layers_32, 1, KvSide::keys, 17, 28), 12);
  EXPECT_EQ(level_bins(BinTable::layers_32, 2, KvSide::values, 1, 28), 16);
  // One layer is in the first third and below every boundary that is at least 1.
  EXPECT_EQ(level_bins(BinTable::layers_32, 2, KvSide::values, 0, 1), 32);
  EXPECT_EQ(third_step(0, 1), 0.5f);
  EXPECT_EQ(third_step(1, 3), 1.0f);
  EXPECT_EQ(third_step(2, 3), 1.5f);
  EXPECT_EQ(third_step(1, 6), 0.5f);
}

KvShape small_shape(std::int64_t heads = 2, std::int64_t head_dim = 8, std::int64_t layers = 3) {
  KvShape shape;
  shape.layers = layers;
  shape.kv_heads = heads;
  shape.heads = heads;
  shape.head_dim = head_dim;
  shape.hidden = heads * head_dim;
  ModelConfig config;
  config.head_dim = head_dim;
  config.max_positions = 4096;
  config.rope_theta = 10000;
  shape.rope = std::make_shared<const RopeTable>(config);
  return shape;
}

RowContext context_of(std::int64_t layer, KvSide side) {
  RowContext context;
  context.layer = layer;
  context.layers = 3;
  context.side = side;
  context.first_position = 40;
  context.turned_run = side == KvSide::keys;
  return context;
}

enum class Data { random, zero, constant, one_zero_token, wide };

HeadMatrices rows_of(Data data, std::int64_t heads, std::int64_t rows, std::int64_t width) {
  HeadMatrices made;
  RandomStream random(3, "test", "rows", static_cast<std::uint64_t>(rows));
  for (std::int64_t h = 0; h < heads; ++h) {
    made.emplace_back(rows, width);
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t j = 0; j < width; ++j) {
        float value = random.gaussian() * (1 + static_cast<float>(j)) + static_cast<float>(j - 3);
        if (data == Data::zero) value = 0;
        if (data == Data::constant) value = 1.5f;
        if (data == Data::one_zero_token && r % 10 == 0) value = 0;
        if (data == Data::wide && random.uniform() < 0.01f) value *= 800;
        made.back().row(r)[j] = rounded_to(DType::f16, value);
      }
    }
  }
  return made;
}

std::vector<std::pair<std::string, CodedRowForm>> all_forms() {
  std::vector<std::pair<std::string, CodedRowForm>> forms;
  for (const std::string text :
       {"level=3", "level=1", "level=2,delta_k=yes,delta_v=yes", "delta_k=no,turn=false", "steps=equal",
        "tables=adaptive", "tables=shared", "group=2,delta_k=yes", "scales=f32,delta_v=yes", "mode=direct",
        "mode=direct,level=1,key_scale=channel", "mode=direct,tables=adaptive", "mode=direct,tables=dense",
        "mode=direct,bins=70b", "fidelity=official"}) {
    Parameters parameters(method_named("cachegen").parameters);
    std::string rest = text;
    while (!rest.empty()) {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      const std::string item = rest.substr(0, comma);
      parameters.set(item.substr(0, item.find('=')), item.substr(item.find('=') + 1));
      rest = comma < rest.size() ? rest.substr(comma + 1) : "";
    }
    forms.emplace_back(text, cachegen_form(parameters));
  }
  return forms;
}

// What comes back from bytes is what the store decoded when it was made, and within half a step of the rows.
TEST(CacheGen, RowsComeBackExactlyFromTheirBytes) {
  const KvShape shape = small_shape();
  for (const auto& [name, form] : all_forms()) {
    const auto codec = coded_row_codec(name, form, shape.rope, nullptr);
    for (const Data data : {Data::random, Data::zero, Data::constant, Data::one_zero_token, Data::wide}) {
      for (const std::int64_t count : {1, 7, 64, 300}) {
        for (const KvSide side : {KvSide::keys, KvSide::values}) {
          const HeadMatrices rows = rows_of(data, 2, count, 8);
          const RowContext context = context_of(1, side);
          const auto store = codec->encode(rows, context);
          ByteWriter writer;
          store->write(writer);
          ASSERT_EQ(store->bytes().total(), writer.size());
          ByteReader reader(writer.span(), "test");
          const auto back = codec->read(reader, shape_of(rows), context);
          reader.expect_end();
          EXPECT_EQ(back->bytes().total(), writer.size());
          EXPECT_EQ(back->bytes().tables, store->bytes().tables);
          EXPECT_EQ(back->bytes().payload, store->bytes().payload);
          ByteWriter again;
          back->write(again);
          EXPECT_TRUE(std::equal(again.span().begin(), again.span().end(), writer.span().begin(),
                                 writer.span().end()));
          const HeadMatrices one = read_all(*store), other = read_all(*back);
          for (std::size_t h = 0; h < 2; ++h) ASSERT_EQ(one[h].values, other[h].values) << name;
        }
      }
    }
  }
}

TEST(CacheGen, ErrorsStayWithinHalfAStep) {
  const KvShape shape = small_shape();
  const std::int64_t count = 300;
  for (const auto& [name, form] : all_forms()) {
    for (const KvSide side : {KvSide::keys, KvSide::values}) {
      const HeadMatrices rows = rows_of(Data::random, 1, count, 8);
      const float* x = rows.front().values.data();
      const RowContext context = context_of(1, side);
      const KeyTurns turns =
          side == KvSide::keys ? KeyTurns(*shape.rope, 8, context.first_position, count) : KeyTurns();
      const RowSymbols symbols = row_symbols(x, count, 8, form, context, turns);
      const std::vector<float> back = expanded(symbols, turns);
      for (std::int64_t r = 0; r < count; ++r) {
        if (symbols.form == Form::anchors && r % symbols.group == 0) continue;
        for (std::int64_t c = 0; c < 8; ++c) {
          double step = 0;
          if (symbols.bins > 0) {
            const double peak =
                symbols.peaks[static_cast<std::size_t>(symbols.form == Form::token_bins ? r : c)];
            step = peak / (symbols.bins / 2 - 1);
          } else {
            step = symbols.steps.front();
          }
          const auto at = static_cast<std::size_t>(r * 8 + c);
          EXPECT_LE(std::abs(back[at] - x[at]), 0.5 * step * (1 + 1e-4)) << name;
        }
      }
    }
  }
}

TEST(CacheGen, TheReferenceFollowsTheVariances) {
  const KvShape shape = small_shape(1);
  const std::int64_t count = 200;
  RandomStream random(5, "test", "walk");
  std::vector<float> walk(count * 8), noise(count * 8), turning(count * 8), u(8);
  for (float& value : u) value = 4 * random.gaussian();
  const KeyTurns turns(*shape.rope, 8, 0, count);
  for (std::int64_t r = 0; r < count; ++r) {
    for (std::int64_t c = 0; c < 8; ++c) {
      const auto at = static_cast<std::size_t>(r * 8 + c);
      noise[at] = random.gaussian();
      walk[at] = (r > 0 ? walk[at - 8] : 0) + 0.1f * random.gaussian();
      const std::size_t angle = static_cast<std::size_t>(c % 4 * count + r);
      turning[at] = c < 4 ? u[static_cast<std::size_t>(c)] * turns.cosine[angle] -
                                u[static_cast<std::size_t>(c + 4)] * turns.sine[angle]
                          : u[static_cast<std::size_t>(c)] * turns.cosine[angle] +
                                u[static_cast<std::size_t>(c - 4)] * turns.sine[angle];
      turning[at] += 0.1f * random.gaussian();
    }
  }
  CodedRowForm form;
  const RowContext context = context_of(0, KvSide::keys);
  EXPECT_EQ(row_symbols(walk.data(), count, 8, form, context, {}).form, Form::anchors);
  EXPECT_EQ(row_symbols(noise.data(), count, 8, form, context, {}).form, Form::plain);
  const RowSymbols turned = row_symbols(turning.data(), count, 8, form, context, turns);
  EXPECT_EQ(turned.form, Form::turned_mean);
  for (std::size_t c = 0; c < 8; ++c) EXPECT_NEAR(turned.means[c], u[c], 0.05);
  form.delta_keys = CodedRowForm::Reference::yes;
  EXPECT_EQ(row_symbols(noise.data(), count, 8, form, context, turns).form, Form::anchors);
  form.delta_keys = CodedRowForm::Reference::no;
  form.turned_mean = false;
  EXPECT_EQ(row_symbols(turning.data(), count, 8, form, context, turns).form, Form::plain);
}

// The coder comes close to the entropy of what it codes: within 1 % where the numbers follow their tables.
TEST(CacheGen, StreamsAreNearTheEntropy) {
  const std::int64_t count = 1500, width = 64;
  const HeadMatrices rows = [&] {
    HeadMatrices made;
    RandomStream random(9, "test", "entropy");
    made.emplace_back(count, width);
    for (float& value : made.back().values) value = random.gaussian();
    return made;
  }();
  CodedRowForm form;
  form.delta_values = CodedRowForm::Reference::no;
  const RowContext context = context_of(1, KvSide::values);
  const RowSymbols symbols = row_symbols(rows.front().values.data(), count, width, form, context, {});
  double bits = 0;
  for (std::int64_t c = 0; c < width; ++c) {
    std::map<std::int32_t, double> counts;
    for (const std::int32_t number : column(symbols, c)) ++counts[number];
    for (const auto& [number, seen] : counts) bits -= seen * std::log2(seen / static_cast<double>(count));
  }
  const auto store = coded_row_codec("test", form, nullptr, nullptr)->encode(rows, context);
  EXPECT_LE(static_cast<double>(store->bytes().payload), 1.01 * bits / 8);
}

TEST(CacheGen, HeadsOfDifferentLengthsAreCodedApart) {
  const auto codec = coded_row_codec("test", CodedRowForm(), nullptr, nullptr);
  HeadMatrices rows = rows_of(Data::random, 3, 40, 8);
  rows[1] = rows_of(Data::random, 1, 17, 8).front();
  rows[2] = HeadMatrix(0, 8);
  const RowContext context = context_of(2, KvSide::values);
  const auto store = codec->encode(rows, context);
  ByteWriter writer;
  store->write(writer);
  ByteReader reader(writer.span(), "test");
  const auto back = codec->read(reader, shape_of(rows), context);
  reader.expect_end();
  for (std::size_t h = 0; h < 3; ++h) EXPECT_EQ(read_all(*store)[h].values, read_all(*back)[h].values);
  const HeadMatrices none = {HeadMatrix(0, 8), HeadMatrix(0, 8)};
  EXPECT_EQ(codec->encode(none, context)->bytes().total(), 0u);
}

TEST(CacheGen, HostileBytesAreRefused) {
  const KvShape shape = small_shape();
  for (const auto& [name, form] : all_forms()) {
    const auto codec = coded_row_codec(name, form, shape.rope, nullptr);
    const HeadMatrices rows = rows_of(Data::random, 2, 33, 8);
    const RowContext context = context_of(1, KvSide::keys);
    ByteWriter writer;
    codec->encode(rows, context)->write(writer);
    const Bytes good(writer.span().begin(), writer.span().end());
    for (std::size_t i = 0; i < good.size(); ++i) {
      Bytes damaged = good;
      damaged[i] ^= static_cast<std::byte>(1 << (i % 8));
      ByteReader reader(damaged, "test");
      try {
        const auto store = codec->read(reader, shape_of(rows), context);
        for (const HeadMatrix& head : read_all(*store)) {
          for (const float value : head.values) EXPECT_TRUE(std::isfinite(value));
        }
      } catch (const Error& error) {
        EXPECT_TRUE(error.kind() == ErrorKind::corrupt || error.kind() == ErrorKind::input) << error.what();
      }
    }
    for (std::size_t size = 0; size < good.size(); size += 13) {
      ByteReader reader(ByteSpan(good).first(size), "test");
      EXPECT_THROW(codec->read(reader, shape_of(rows), context), Error);
    }
    ByteReader reader(good, "test");
    const RowStoreShape absurd{{{std::int64_t{1} << 27, 8}, {std::int64_t{1} << 27, 8}}};
    EXPECT_THROW(codec->read(reader, absurd, context), Error);
  }
}

TEST(CacheGen, ACacheIsReadBackAndGoesOnTheSame) {
  KvShape shape = small_shape(2, 8, 1);
  const RandomLayer layer(shape, 200);
  for (const std::string pipeline : {"cachegen", "cachegen(mode=direct,level=1)", "cachegen(delta_k=yes)"}) {
    CacheRequest request;
    request.shape = shape;
    const CacheFactory factory(pipeline, request);
    const auto cache = factory.make();
    layer.run(*cache, 0, 150, 150);
    ByteWriter writer;
    cache->write_layer(0, writer);
    EXPECT_EQ(cache->bytes().total(), writer.size());
    const auto other = factory.make();
    ByteReader reader(writer.span(), "test");
    other->read_layer(0, reader);
    reader.expect_end();
    const std::vector<float> single = layer.run(*cache, 150, 50, 1), grouped = layer.run(*other, 150, 50, 7);
    for (std::size_t i = 0; i < single.size(); ++i) ASSERT_NEAR(single[i], grouped[i], 1e-5);
    EXPECT_LT(cache->bytes().total(), 200u * 2 * 2 * 16);
  }
}

TEST(CacheGen, SettingsThatContradictEachOtherAreRefused) {
  CacheRequest request;
  request.shape = small_shape(2, 8, 1);
  const auto fault = [&](const std::string& text) -> std::string {
    try {
      CacheFactory(text, request);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(fault("cachegen(tables=dense)").find("mode=direct"), std::string::npos);
  EXPECT_NE(fault("cachegen(fidelity=official,mode=delta)").find("mode=direct"), std::string::npos);
  EXPECT_NE(fault("cachegen(mode=direct,bins=70b,level=3)").find("level=2"), std::string::npos);
  EXPECT_NE(fault("cachegen(level=0)").find("1 to 3"), std::string::npos);
  EXPECT_NE(fault("cachegen(tables=profile)").find("kv train"), std::string::npos);
}

// A small random model end to end, and its profile.
class CacheGenModel : public testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::temp_directory_path() / ("cachegen-" + std::to_string(getpid()));
    std::filesystem::create_directories(directory_);
    reference::Description description;
    description.max_positions = 256;
    write_model(directory_, description, reference::random_weights(description, 1, DType::f32), DType::f32,
                "");
    model_ = std::make_unique<Transformer>(Transformer::load(directory_));
    for (std::int32_t i = 0; i < 160; ++i) tokens_.push_back(1 + (i * i + 7 * i) % 60);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  CacheRequest request() const {
    CacheRequest asked;
    asked.shape = model_->kv_shape();
    asked.model = directory_;
    return asked;
  }
  std::filesystem::path directory_;
  std::unique_ptr<Transformer> model_;
  std::vector<std::int32_t> tokens_;
};

TEST_F(CacheGenModel, FinerLevelsAreNearerToTheExactCache) {
  const auto after = [&](const std::string& pipeline, std::uint64_t* bytes) {
    const auto cache = CacheFactory(pipeline, request()).make();
    model_->forward(std::span(tokens_).first(120), cache.get(), true);
    const std::vector<float> logits = model_->forward(std::span(tokens_).subspan(120), cache.get());
    if (bytes != nullptr) *bytes = cache->bytes().total();
    return logits;
  };
  const std::vector<float> exact = after("f32", nullptr);
  double before = 1e300;
  std::uint64_t more = 0;
  for (const std::string level : {"1", "2", "3"}) {
    std::uint64_t bytes = 0;
    const std::vector<float> logits = after("cachegen(level=" + level + ")", &bytes);
    double error = 0;
    for (std::size_t i = 0; i < logits.size(); ++i)
      error += (logits[i] - exact[i]) * static_cast<double>(logits[i] - exact[i]);
    EXPECT_LT(error, before);
    EXPECT_GT(bytes, more);
    before = error;
    more = bytes;
  }
}

// Distributions of one text code another one, without tables in its records.
TEST(CacheGen, AProfileReplacesTheTablesOfChunks) {
  const KvShape shape = small_shape();
  CodedRowForm form;
  const auto learnt_from = [&](std::uint64_t identity) {
    std::vector<CodingProfile::Side> sides;
    for (std::int64_t layer = 0; layer < 3; ++layer) {
      for (const KvSide side : {KvSide::keys, KvSide::values}) {
        const std::int64_t count = 400;
        const HeadMatrices rows = rows_of(Data::random, 2, count, 8);
        std::vector<float> x;
        for (std::int64_t r = 0; r < count; ++r) {
          for (const HeadMatrix& head : rows) x.insert(x.end(), head.row(r), head.row(r) + 8);
        }
        RowContext context = context_of(layer, side);
        const KeyTurns turns =
            side == KvSide::keys ? KeyTurns(*shape.rope, 8, context.first_position, count) : KeyTurns();
        const RowSymbols symbols = row_symbols(x.data(), count, 16, form, context, turns);
        sides.push_back({symbols.form, ColumnTables::fit(symbols.numbers.data(), symbols.coded_rows(), 16, 16,
                                                         ColumnTables::Choice::smallest, true)});
      }
    }
    return std::make_shared<const CodingProfile>(identity, 16, std::move(sides));
  };
  const auto own = coded_row_codec("own", form, shape.rope, nullptr);
  form.tables = CodedRowForm::Tables::profile;
  const auto profiled = coded_row_codec("profiled", form, shape.rope, learnt_from(1));
  const auto other = coded_row_codec("other", form, shape.rope, learnt_from(2));
  for (const Data data : {Data::random, Data::wide, Data::zero}) {
    for (const KvSide side : {KvSide::keys, KvSide::values}) {
      const HeadMatrices rows = rows_of(data, 2, 77, 8);
      const RowContext context = context_of(2, side);
      const auto store = profiled->encode(rows, context);
      EXPECT_EQ(store->bytes().tables, 0u);
      if (data == Data::random) {
        EXPECT_LT(store->bytes().total(), own->encode(rows, context)->bytes().total());
      }
      ByteWriter writer;
      store->write(writer);
      ByteReader reader(writer.span(), "test");
      const auto back = profiled->read(reader, shape_of(rows), context);
      reader.expect_end();
      for (std::size_t h = 0; h < 2; ++h) EXPECT_EQ(read_all(*store)[h].values, read_all(*back)[h].values);
      for (const auto& codec : {own, other}) {
        ByteReader again(writer.span(), "test");
        EXPECT_THROW(codec->read(again, shape_of(rows), context), Error);
      }
    }
  }
  // Rows of another width have no distributions.
  EXPECT_THROW(profiled->encode(rows_of(Data::random, 3, 20, 8), context_of(0, KvSide::keys)), Error);
}

}  // namespace
}  // namespace laconic
