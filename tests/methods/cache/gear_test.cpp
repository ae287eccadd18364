#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/math/subspace_iteration.h"
#include "engine/math/svd.h"
#include "methods/cache/gear/gear_rows.h"
#include "methods/cache/pipeline.h"
#include "runtime/transformer.h"
#include "tests/runtime/cache/random_layer.h"
#include "tests/runtime/reference_model.h"

namespace laconic {
namespace {

// Rows whose channels differ in size, with a few numbers that stand out: what keys look like.
HeadMatrices uneven_heads(std::int64_t heads, std::int64_t rows, std::int64_t width, std::uint64_t seed = 1) {
  RandomStream random(seed, "test", "uneven heads");
  HeadMatrices parts;
  for (std::int64_t h = 0; h < heads; ++h) {
    parts.emplace_back(rows, width);
    std::vector<float> common(static_cast<std::size_t>(width));
    for (float& x : common) x = random.gaussian();
    for (std::int64_t r = 0; r < rows; ++r) {
      const float along = random.gaussian();
      for (std::int64_t j = 0; j < width; ++j) {
        float x =
            random.gaussian() * (j % 5 == 0 ? 4.0f : 1.0f) + 2 * along * common[static_cast<std::size_t>(j)];
        if (random.below(60) == 0) x *= 6;
        parts.back().row(r)[j] = rounded_to(DType::f16, x);
      }
    }
  }
  return parts;
}

const CorrectedStore& corrected(const RowStore& store) { return dynamic_cast<const CorrectedStore&>(store); }

std::unique_ptr<const RowStore> encoded(const HeadMatrices& rows, const GearForm& form,
                                        KvSide side = KvSide::keys, bool prompt = true) {
  RowContext context;
  context.side = side;
  context.prompt = prompt;
  return gear_row_codec("gear", form)->encode(rows, context);
}

double squared_error(const HeadMatrices& a, const HeadMatrices& b) {
  double sum = 0;
  for (std::size_t part = 0; part < a.size(); ++part) {
    for (std::size_t i = 0; i < a[part].values.size(); ++i) {
      const double e = static_cast<double>(a[part].values[i]) - static_cast<double>(b[part].values[i]);
      sum += e * e;
    }
  }
  return sum;
}

double error_of(const HeadMatrices& rows, const GearForm& form, KvSide side = KvSide::keys) {
  return std::sqrt(squared_error(rows, read_all(*encoded(rows, form, side))));
}

GearForm worked_form() {
  GearForm form;
  form.backbone = GearForm::Backbone::kcvt;
  form.f32_parameters = true;
  form.prompt_rank = 0;
  form.outliers = 0;
  return form;
}

TEST(Gear, TheWorkedExample) {
  HeadMatrices x(1, HeadMatrix(4, 4));
  x[0].values = {1.3f, 10.9f, 2.7f,  -2.8f, 1.2f, 2.7f,  2.2f,  -1.3f,
                 -.5f, -2.8f, -9.5f, -1.7f, -.7f, -1.0f, -2.8f, 2.5f};
  const auto codes = [](const RowStore& store) {
    std::vector<int> list;
    for (std::int64_t r = 0; r < 4; ++r) {
      for (std::int64_t j = 0; j < 4; ++j) list.push_back(corrected(store).codes().code(0, r, j));
    }
    return list;
  };
  GearForm form = worked_form();
  EXPECT_EQ(codes(*encoded(x, form)), (std::vector<int>{3, 3, 3, 0, 3, 1, 3, 1, 0, 0, 0, 1, 0, 0, 2, 3}));
  EXPECT_NEAR(error_of(x, form), 2.6422, 5e-5);
  form.prompt_rank = 1;
  EXPECT_NEAR(error_of(x, form), 0.7624, 1e-3);

  // The one largest and the one smallest number of the matrix, (0, 1) and (2, 2).
  form.prompt_rank = 0;
  form.outliers_across = true;
  form.outliers = 0.1;
  const auto sparse = encoded(x, form);
  EXPECT_EQ(codes(*sparse), (std::vector<int>{3, 3, 3, 0, 3, 3, 3, 1, 0, 0, 1, 1, 0, 1, 0, 3}));
  std::vector<Outlier> outliers;
  corrected(*sparse).outliers()->list(0, 0, 4, outliers);
  ASSERT_EQ(outliers.size(), 2u);
  EXPECT_EQ(std::pair(outliers[0].row, outliers[0].column), std::pair(0, 1));
  EXPECT_EQ(std::pair(outliers[1].row, outliers[1].column), std::pair(2, 2));
  // The residual is masked; the outliers themselves are as near as f16 is.
  const HeadMatrix decoded = read_all(*sparse).front();
  std::vector<float> residual(16);
  double square = 0;
  for (std::size_t i = 0; i < 16; ++i) {
    const bool outlier = i == 1 || i == 10;
    if (outlier) {
      EXPECT_NEAR(decoded.values[i], x[0].values[i], 4e-3);
    }
    residual[i] = outlier ? 0 : x[0].values[i] - decoded.values[i];
    square += static_cast<double>(residual[i]) * static_cast<double>(residual[i]);
  }
  EXPECT_NEAR(std::sqrt(square), 0.9037, 5e-5);
  const SubspaceFactors factors = subspace_iteration(residual, 4, 4, {1, 1, 1, 1}, 1, 3);
  square = 0;
  for (std::size_t i = 0; i < 16; ++i) {
    if (i == 1 || i == 10) continue;
    const double e = static_cast<double>(residual[i]) -
                     static_cast<double>(factors.q[i / 4]) * static_cast<double>(factors.p[i % 4]);
    square += e * e;
  }
  EXPECT_NEAR(std::sqrt(square), 0.4223, 5e-5);
  // The codec starts elsewhere and rounds its factors to f16.
  form.prompt_rank = 1;
  form.loops = 8;
  EXPECT_NEAR(error_of(x, form), 0.4277, 5e-3);
}

TEST(Gear, EveryPartLessensTheError) {
  const HeadMatrices rows = uneven_heads(2, 96, 32);
  for (const auto backbone :
       {GearForm::Backbone::kivi, GearForm::Backbone::kcvt, GearForm::Backbone::per_token}) {
    for (const KvSide side : {KvSide::keys, KvSide::values}) {
      GearForm quant;
      quant.backbone = backbone;
      quant.group = 32;
      quant.prompt_rank = 0;
      quant.outliers = 0;
      GearForm outlier = quant, low_rank = quant, gear = quant;
      outlier.outliers = gear.outliers = 0.02;
      low_rank.prompt_rank = gear.prompt_rank = 2;
      EXPECT_LT(error_of(rows, outlier, side), error_of(rows, quant, side));
      EXPECT_LT(error_of(rows, low_rank, side), error_of(rows, quant, side));
      // A projection of the masked residual: never more than without, but for the rounding of its factors.
      EXPECT_LT(error_of(rows, gear, side), error_of(rows, outlier, side));
      EXPECT_LT(error_of(rows, gear, side), error_of(rows, low_rank, side));
    }
  }
}

TEST(Gear, TheLowRankPartNearsTheBestOneOfItsRank) {
  const HeadMatrices rows = uneven_heads(1, 128, 32);
  GearForm form;
  form.prompt_rank = 0;
  const HeadMatrices base = read_all(*encoded(rows, form));
  HeadMatrix residual(128, 32);
  for (std::size_t i = 0; i < residual.values.size(); ++i)
    residual.values[i] = rows[0].values[i] - base[0].values[i];  // zero at outliers
  const Svd svd = exact_svd(residual.values.data(), 128, 32);
  for (const std::int64_t rank : {1, 2, 4}) {
    double tail = 0;
    for (std::size_t i = static_cast<std::size_t>(rank); i < svd.values.size(); ++i)
      tail += static_cast<double>(svd.values[i]) * static_cast<double>(svd.values[i]);
    // The product on all numbers: outliers are masked in the residual, so L is their own there.
    form.prompt_rank = rank;
    form.loops = 8;
    const auto store = encoded(rows, form);
    HeadMatrix low_rank(128, 32);
    corrected(*store).low_rank()->add(0, 0, 128, low_rank.values.data());
    const double error = std::sqrt(squared_error({residual}, {low_rank}));
    EXPECT_GE(error, std::sqrt(tail) * (1 - 1e-4));
    EXPECT_LE(error, std::sqrt(tail) * 1.01);
  }
}

TEST(Gear, OutliersAreExactInF16) {
  const HeadMatrices rows = uneven_heads(2, 80, 16);
  for (const bool across : {false, true}) {
    for (const KvSide side : {KvSide::keys, KvSide::values}) {
      GearForm form;
      form.outliers_across = across;
      const auto store = encoded(rows, form, side);
      const HeadMatrices decoded = read_all(*store);
      std::vector<Outlier> outliers;
      for (std::size_t part = 0; part < 2; ++part) {
        corrected(*store).outliers()->list(static_cast<std::int64_t>(part), 0, 80, outliers);
        EXPECT_FALSE(outliers.empty());
        for (const Outlier& outlier : outliers)
          EXPECT_EQ(decoded[part].row(outlier.row)[outlier.column],
                    rows[part].row(outlier.row)[outlier.column]);
      }
    }
  }
}

// bits + grids + 16 r (n + d) / (n d) + s (16 + ceil(log2 length)), s from the counts that are really taken.
TEST(Gear, SizesFollowTheFormula) {
  const std::int64_t n = 256, d = 64, heads = 2, rank = 2;
  const HeadMatrices rows = uneven_heads(heads, n, d);
  const auto numbers = static_cast<double>(n * d * heads);
  for (const auto backbone : {GearForm::Backbone::kivi, GearForm::Backbone::kcvt}) {
    for (const KvSide side : {KvSide::keys, KvSide::values}) {
      for (const int bits : {2, 3, 4, 8}) {
        GearForm form;
        form.backbone = backbone;
        form.bits = bits;
        form.prompt_rank = rank;
        const bool keys = side == KvSide::keys;
        const double length = keys ? n : d * heads;
        const double share = 2 * std::ceil(0.01 * length) / length;
        const double group = backbone == GearForm::Backbone::kivi ? 64 : length;
        const double expected = bits + 32 / group +
                                16.0 * rank * static_cast<double>(n + d) / static_cast<double>(n * d) +
                                share * (16 + std::ceil(std::log2(length)));
        const KvBytes bytes = encoded(rows, form, side)->bytes();
        EXPECT_NEAR(8 * static_cast<double>(bytes.total() - bytes.header) / numbers, expected,
                    0.01 * expected);
        EXPECT_LT(bytes.header, 32u);
      }
    }
  }
}

TEST(Gear, AsksForTheRankOfItsBlock) {
  const HeadMatrices rows = uneven_heads(1, 64, 16);
  GearForm form;
  EXPECT_EQ(corrected(*encoded(rows, form, KvSide::keys, true)).low_rank()->rank(0), 4);
  EXPECT_EQ(corrected(*encoded(rows, form, KvSide::keys, false)).low_rank()->rank(0), 2);
}

TEST(Gear, LowersTheRankOfSmallBlocksAndKeepsThemReadable) {
  for (const std::int64_t count : {0, 1, 2, 3, 7}) {
    const HeadMatrices rows = uneven_heads(2, count, 16);
    for (const bool shared : {false, true}) {
      GearForm form;
      form.shared_factor = shared;
      const auto store = encoded(rows, form);
      EXPECT_EQ(corrected(*store).low_rank()->rank(1), count < 2 ? 0 : std::min<std::int64_t>(4, count));
      ByteWriter writer;
      store->write(writer);
      EXPECT_EQ(store->bytes().total(), writer.size());
      ByteReader reader(writer.span(), "test");
      const auto copy = gear_row_codec("gear", form)->read(reader, shape_of(rows), {});
      reader.expect_end();
      for (std::size_t part = 0; part < 2; ++part)
        EXPECT_EQ(read_all(*copy)[part].values, read_all(*store)[part].values);
    }
  }
}

// A short last group has a grid from its own tokens.
TEST(Gear, GroupsThatDoNotDivideTheBlockUseRealTokensOnly) {
  HeadMatrices rows = uneven_heads(1, 70, 8);
  for (float& x : rows[0].values) x += 100;  // a group widened to zero would have steps of 33
  GearForm form;
  form.prompt_rank = 0;
  form.outliers = 0;
  const auto store = encoded(rows, form);
  const HeadMatrix read = read_all(*store).front();
  for (std::int64_t r = 64; r < 70; ++r) {
    for (std::int64_t j = 0; j < 8; ++j) {
      float low = 1e9f, high = -1e9f;
      for (std::int64_t t = 64; t < 70; ++t) {
        low = std::min(low, rows[0].row(t)[j]);
        high = std::max(high, rows[0].row(t)[j]);
      }
      EXPECT_NEAR(read.row(r)[j], rows[0].row(r)[j], (high - low) / 6 + 0.15f);
    }
  }
}

TEST(Gear, CountsOutliersAlongTheVectorAndAlongChannelsAsTheReferenceCode) {
  const HeadMatrices rows = uneven_heads(2, 400, 16);
  GearForm form;
  std::vector<Outlier> outliers;
  corrected(*encoded(rows, form, KvSide::keys)).outliers()->list(0, 0, 400, outliers);
  EXPECT_EQ(outliers.size(), 16u * 2 * 4);  // ceil(0.01 * 400)
  corrected(*encoded(rows, form, KvSide::values)).outliers()->list(0, 0, 400, outliers);
  EXPECT_EQ(corrected(*encoded(rows, form, KvSide::values)).outliers()->count(), 400u * 2 * 1);  // of 32
  form.outliers = 0.2;
  form.outlier_count = GearForm::OutlierCount::official;
  EXPECT_EQ(corrected(*encoded(rows, form, KvSide::keys)).outliers()->count(),
            32u * 2 * 3);  // floor(.1 * 32)
  EXPECT_EQ(corrected(*encoded(rows, form, KvSide::values)).outliers()->count(), 400u * 2 * 3);
}

TEST(Gear, MaskingNeverHurts) {
  const HeadMatrices rows = uneven_heads(2, 128, 16);
  for (const KvSide side : {KvSide::keys, KvSide::values}) {
    GearForm masked;
    masked.loops = 8;
    GearForm whole = masked;
    whole.mask_outliers = false;
    EXPECT_LE(error_of(rows, masked, side), error_of(rows, whole, side) * 1.001);
  }
}

// Weighting by the queries lessens what they see of the error, at the same bytes.
TEST(Gear, QueryWeightsLessenTheErrorOfScores) {
  const KvShape shape{1, 2, 4, 16, 8, {}, nullptr};
  RandomLayer layer(shape, 200);
  RandomStream random(4, "test", "directions");
  std::vector<float> direction(16);
  for (float& x : direction) x = random.gaussian();
  for (std::int64_t i = 0; i < 200 * 4; ++i) {
    const float along = 6 * random.gaussian();
    for (std::int64_t j = 0; j < 16; ++j)
      layer.queries[static_cast<std::size_t>(i * 16 + j)] += along * direction[static_cast<std::size_t>(j)];
  }
  const LayerRows prompt = layer.rows(0, 200);
  const HeadMatrices rows = uneven_heads(2, 200, 16);
  RowContext context;
  context.prompt_rows = &prompt;
  context.shape = &shape;
  const auto score_error = [&](bool weighted) {
    GearForm form;
    form.query_weighted = weighted;
    form.prompt_rank = 2;
    form.loops = 8;
    const auto store = gear_row_codec("gear", form)->encode(rows, context);
    const HeadMatrices read = read_all(*store);
    double sum = 0;
    for (std::int64_t i = 0; i < 200; ++i) {
      for (std::int64_t head = 0; head < 4; ++head) {
        const float* query = prompt.queries + (i * 4 + head) * 16;
        const auto part = static_cast<std::size_t>(head / 2);
        for (std::int64_t r = 0; r < 200; ++r) {
          double e = 0;
          for (std::int64_t j = 0; j < 16; ++j)
            e += static_cast<double>(query[j]) *
                 static_cast<double>(rows[part].row(r)[j] - read[part].row(r)[j]);
          sum += e * e;
        }
      }
    }
    return std::pair(sum, store->bytes().total());
  };
  const auto [plain, plain_bytes] = score_error(false);
  const auto [weighted, weighted_bytes] = score_error(true);
  EXPECT_LT(weighted, 0.9 * plain);
  EXPECT_EQ(plain_bytes, weighted_bytes);
}

TEST(Gear, IsTheSameAtAnyNumberOfThreads) {
  const HeadMatrices rows = uneven_heads(4, 100, 16);
  const int threads = thread_count();
  std::vector<Bytes> written;
  for (const int count : {1, 3}) {
    set_thread_count(count);
    ByteWriter writer;
    encoded(rows, GearForm{})->write(writer);
    written.push_back(writer.take());
  }
  set_thread_count(threads);
  EXPECT_EQ(written[0], written[1]);
}

TEST(Gear, FactorsInEightBitsCostHalfAndLoseLittle) {
  const HeadMatrices rows = uneven_heads(2, 256, 64);
  GearForm form;
  form.prompt_rank = 2;
  form.outliers = 0;
  GearForm coded = form, none = form;
  coded.factor_bits = 8;
  none.prompt_rank = 0;
  const auto bytes = [&](const GearForm& of) {
    return static_cast<double>(encoded(rows, of)->bytes().total());
  };
  EXPECT_LT(bytes(coded) - bytes(none), 0.55 * (bytes(form) - bytes(none)));
  EXPECT_LT(error_of(rows, coded), error_of(rows, form) * 1.01);
}

TEST(Gear, RefusesNumbersThatAreNotFinite) {
  HeadMatrices rows = uneven_heads(2, 40, 8);
  rows[1].row(7)[3] = std::numeric_limits<float>::infinity();
  try {
    encoded(rows, GearForm{});
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_NE(std::string(error.what()).find("head 1 are not finite at row 7, channel 3"), std::string::npos)
        << error.what();
  }
}

TEST(Gear, RefusesParametersThatMakeNoSense) {
  const CacheRequest request{{1, 2, 4, 16, 8, {}, nullptr}, {}, {}, 0};
  const auto fault = [&](const std::string& text) -> std::string {
    try {
      CacheFactory(text, request);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      return error.what();
    }
    return "";
  };
  for (const char* bits : {"1", "5", "6", "7", "16"})
    EXPECT_NE(fault(std::string("gear(bits=") + bits + ")").find("bits"), std::string::npos);
  EXPECT_NE(fault("gear(outliers=-0.1)").find("outliers"), std::string::npos);
  EXPECT_NE(fault("gear(outliers=0.51)").find("outliers"), std::string::npos);
  EXPECT_NE(fault("gear(buffer=100)").find("multiple of 64"), std::string::npos);
  EXPECT_NE(fault("gear(backbone=kcvt,group=32)").find("group"), std::string::npos);
  EXPECT_NE(fault("gear(group=0)").find("kcvt"), std::string::npos);
  EXPECT_EQ(fault("gear(buffer=100,backbone=kcvt)"), "");
  EXPECT_EQ(fault("gear(bits=8,outliers=0.5,buffer=128)"), "");
}

TEST(Gear, VariantsLeavePartsOut) {
  const RandomLayer layer({1, 2, 4, 16, 8, {}, nullptr}, 200);
  const auto pieces = [&](const std::string& variant) {
    const auto cache = CacheFactory("gear(variant=" + variant + ")", {layer.shape, {}, {}, 0}).make();
    layer.run(*cache, 0, 200, 200);
    const auto& block = dynamic_cast<const StoredBlock&>(*cache->layer(0).blocks.front().block);
    const CorrectedStore& keys = corrected(block.keys());
    return std::pair(keys.low_rank().has_value(), keys.outliers().has_value());
  };
  EXPECT_EQ(pieces("gear"), std::pair(true, true));
  EXPECT_EQ(pieces("gear-l"), std::pair(true, false));
  EXPECT_EQ(pieces("outlier"), std::pair(false, true));
  EXPECT_EQ(pieces("quant"), std::pair(false, false));
}

// The bare backbone is KIVI.
TEST(Gear, TheBareBackboneIsKivi) {
  const RandomLayer layer({1, 2, 4, 16, 8, {}, nullptr}, 300);
  const CacheRequest request{layer.shape, {}, 0, 0};
  const auto kivi = CacheFactory("kivi(bits=2,group=32)", request).make();
  const auto quant = CacheFactory("gear(variant=quant,bits=2,group=32,buffer=32)", request).make();
  layer.run(*kivi, 0, 150, 150);
  layer.run(*quant, 0, 150, 150);
  const std::vector<float> plain = layer.run(*kivi, 150, 150, 1), bare = layer.run(*quant, 150, 150, 1);
  for (std::size_t i = 0; i < plain.size(); ++i) ASSERT_NEAR(plain[i], bare[i], 1e-4);  // 16-bit factors
}

// The buffer fills to its size and becomes one block with the rank of later blocks.
TEST(Gear, TheBufferBecomesABlockWhenItIsFull) {
  const RandomLayer layer({1, 2, 4, 16, 8, {}, nullptr}, 300);
  const auto cache = CacheFactory("gear(backbone=kcvt,buffer=20)", {layer.shape, {}, {}, 0}).make();
  layer.run(*cache, 0, 100, 100);
  EXPECT_EQ(cache->layer(0).window_rows(), 0);
  layer.run(*cache, 100, 19, 1);
  EXPECT_EQ(cache->layer(0).blocks.size(), 1u);
  EXPECT_EQ(cache->layer(0).window_rows(), 19);
  layer.run(*cache, 119, 1, 1);
  ASSERT_EQ(cache->layer(0).blocks.size(), 2u);
  EXPECT_EQ(cache->layer(0).window_rows(), 0);
  const auto& block = dynamic_cast<const StoredBlock&>(*cache->layer(0).blocks.back().block);
  EXPECT_EQ(block.rows(0), 20);
  EXPECT_EQ(corrected(block.keys()).low_rank()->rank(0), 2);
}

// A whole model with random weights: a prompt, then tokens one by one.
TEST(Gear, BringsAModelNearerToItsExactCacheThanTheBareBackbone) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("laconic-gear-" + std::to_string(::getpid()));
  reference::Description description;
  description.hidden = 64;
  description.head_dim = 16;
  description.max_positions = 256;
  reference::write_model(folder, description, reference::random_weights(description, 3, DType::f32),
                         DType::f32, "");
  const Transformer model = Transformer::load(folder);
  std::filesystem::remove_all(folder);
  RandomStream random(9, "test", "tokens");
  std::vector<std::int32_t> tokens(200);
  for (std::int32_t& token : tokens)
    token = static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(description.vocabulary)));
  const auto logits = [&](const std::string& pipeline) {
    const auto cache = CacheFactory(pipeline, {model.kv_shape(), {}, {}, 0}).make();
    model.forward(std::span(tokens).first(120), cache.get(), true);
    std::vector<float> all;
    for (std::size_t t = 120; t < tokens.size(); ++t) {
      const std::vector<float> one = model.forward(std::span(tokens).subspan(t, 1), cache.get());
      all.insert(all.end(), one.begin(), one.end());
    }
    return all;
  };
  const std::vector<float> exact = logits("f16");
  const auto distance = [&](const std::string& pipeline) {
    const std::vector<float> some = logits(pipeline);
    double sum = 0;
    for (std::size_t i = 0; i < some.size(); ++i)
      sum += static_cast<double>(some[i] - exact[i]) * static_cast<double>(some[i] - exact[i]);
    return sum;
  };
  const double gear = distance("gear(group=32,buffer=32)");
  EXPECT_LT(gear, 0.7 * distance("gear(group=32,buffer=32,variant=quant)"));
  EXPECT_LT(gear, distance("gear(group=32,buffer=32,variant=gear-l)"));
  EXPECT_LT(gear, distance("gear(group=32,buffer=32,variant=outlier)"));
  EXPECT_LT(distance("gear(bits=8,backbone=kcvt)"), 0.01 * gear);
}

}  // namespace
}  // namespace laconic
