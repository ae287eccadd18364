#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "engine/base/error.h"
#include "methods/cache/cskv/latent_factors.h"
#include "methods/cache/pipeline.h"
#include "runtime/cache/uniform_store.h"
#include "runtime/rope.h"
#include "tests/methods/cache/random_bases.h"
#include "tests/runtime/cache/random_layer.h"

namespace laconic {
namespace {

using cskv::LatentFactors;
using cskv::LatentWeight;

std::vector<float> gaussian(std::int64_t count, std::uint64_t seed) {
  RandomStream random(seed, "test", "gaussian");
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = random.gaussian();
  return values;
}

// Inputs with a few strong directions.
SecondMoment uneven_moment(std::int64_t inputs, std::int64_t tokens, std::uint64_t seed) {
  std::vector<float> x = gaussian(tokens * inputs, seed);
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t j = 0; j < inputs; ++j)
      x[static_cast<std::size_t>(t * inputs + j)] *= 4.0f / static_cast<float>(1 + j);
  }
  SecondMoment moment(inputs);
  moment.add(x.data(), tokens);
  return moment;
}

std::vector<double> product(const LatentFactors& f) {
  std::vector<double> w(static_cast<std::size_t>(f.outputs * f.inputs));
  for (std::int64_t o = 0; o < f.outputs; ++o) {
    for (std::int64_t j = 0; j < f.inputs; ++j) {
      for (std::int64_t k = 0; k < f.rank; ++k)
        w[static_cast<std::size_t>(o * f.inputs + j)] +=
            static_cast<double>(f.up[static_cast<std::size_t>(o * f.rank + k)]) *
            static_cast<double>(f.down[static_cast<std::size_t>(k * f.inputs + j)]);
    }
  }
  return w;
}

// Worked example of card 20.
TEST(CskvFactors, WeighsChannelsByTheirActivations) {
  const std::vector<float> weight = {3, 0, 0, 1};
  const LatentWeight view{weight.data(), 2, 2};
  const std::vector<double> scale = cskv::activation_scale(std::vector<double>{1, 16}, 0.5);
  EXPECT_NEAR(scale[0], 1, 1e-5);
  EXPECT_NEAR(scale[1], 4, 1e-5);
  const LatentFactors asvd = cskv::scaled_factors(view, scale, 1);
  EXPECT_NEAR(asvd.down[0], 0, 1e-6);
  EXPECT_NEAR(asvd.down[1], 0.5, 1e-6);
  EXPECT_NEAR(asvd.up[0], 0, 1e-6);
  EXPECT_NEAR(asvd.up[1], 2, 1e-6);
  const LatentFactors svd = cskv::scaled_factors(view, std::vector<double>{1, 1}, 1);
  EXPECT_NEAR(svd.down[0], 1.7321, 1e-4);
  EXPECT_NEAR(svd.up[0], 1.7321, 1e-4);
  EXPECT_NEAR(svd.down[1], 0, 1e-6);
  EXPECT_NEAR(svd.up[1], 0, 1e-6);
}

TEST(CskvFactors, AllRanksGiveTheWeightBack) {
  const std::int64_t outputs = 12, inputs = 20;
  const std::vector<float> weight = gaussian(outputs * inputs, 1);
  const LatentWeight view{weight.data(), outputs, inputs};
  const SecondMoment moment = uneven_moment(inputs, 300, 2);
  std::vector<double> magnitude(static_cast<std::size_t>(inputs));
  for (std::size_t j = 0; j < magnitude.size(); ++j) magnitude[j] = 1 + static_cast<double>(j);
  for (const LatentFactors& factors :
       {cskv::scaled_factors(view, std::vector<double>(magnitude.size(), 1.0), outputs),
        cskv::scaled_factors(view, cskv::activation_scale(magnitude, 0.5), outputs),
        cskv::whitened_factors(view, moment, outputs)}) {
    const std::vector<double> w = product(factors);
    double error = 0, size = 0;
    for (std::size_t i = 0; i < w.size(); ++i) {
      error += std::pow(w[i] - static_cast<double>(weight[i]), 2);
      size += std::pow(static_cast<double>(weight[i]), 2);
    }
    EXPECT_LE(std::sqrt(error / size), 1e-4);
  }
}

TEST(CskvFactors, WhitenedFactorsHaveTheLeastErrorThereIs) {
  const std::int64_t outputs = 12, inputs = 20;
  const std::vector<float> weight = gaussian(outputs * inputs, 3);
  const LatentWeight view{weight.data(), outputs, inputs};
  const SecondMoment moment = uneven_moment(inputs, 300, 4);
  const std::vector<double> least = cskv::least_errors(view, moment);
  ASSERT_EQ(least.size(), static_cast<std::size_t>(outputs) + 1);
  std::vector<double> ones(static_cast<std::size_t>(inputs), 1.0);
  for (const std::int64_t rank : {1, 4, 9}) {
    const double whitened = reconstruction_error(view, cskv::whitened_factors(view, moment, rank), moment);
    EXPECT_NEAR(whitened, least[static_cast<std::size_t>(rank)], 1e-5 * least[0]);
    EXPECT_LT(whitened, reconstruction_error(view, cskv::scaled_factors(view, ones, rank), moment));
    EXPECT_LT(whitened,
              reconstruction_error(view, cskv::random_factors(view, rank, RandomStream(1, "test", "factors")),
                                   moment));
  }
  // Fewer columns of a larger rank are the factors of the smaller one.
  const LatentFactors six = cskv::whitened_factors(view, moment, 6),
                      three = cskv::whitened_factors(view, moment, 3);
  for (std::size_t i = 0; i < three.down.size(); ++i) EXPECT_EQ(three.down[i], six.down[i]);
}

// The loss of keys before the turn is that of turned keys.
TEST(CskvFactors, RotationKeepsTheReconstructionError) {
  const std::int64_t d = 16, tokens = 50;
  std::vector<float> keys = gaussian(tokens * d, 5), rebuilt = gaussian(tokens * d, 6);
  const auto squares = [&] {
    double sum = 0;
    for (std::size_t i = 0; i < keys.size(); ++i)
      sum += std::pow(static_cast<double>(keys[i]) - static_cast<double>(rebuilt[i]), 2);
    return sum;
  };
  const double before = squares();
  std::vector<float> cosine, sine;
  rope_of(d)->fill(0, tokens, cosine, sine);
  for (std::int64_t t = 0; t < tokens; ++t) {
    rotate_half_split(keys.data() + t * d, d / 2, cosine.data() + t * d / 2, sine.data() + t * d / 2);
    rotate_half_split(rebuilt.data() + t * d, d / 2, cosine.data() + t * d / 2, sine.data() + t * d / 2);
  }
  EXPECT_NEAR(squares() / before, 1, 1e-6);
}

KvShape latent_shape() { return {1, 2, 4, 16, 24, {0}, rope_of(16)}; }

std::unique_ptr<KvCache> latent_cache(const RandomBases& bases, const std::string& pipeline,
                                      std::optional<std::int64_t> window = {}) {
  return CacheFactory(pipeline, {latent_shape(), {}, window, 0, bases.directory()}).make();
}

// Plain attention over keys and values made of the stored factors in double, tokens of the window exact.
TEST(CskvCache, AttendsOverKeysAndValuesMadeOfLatents) {
  for (const bool bias : {false, true}) {
    const RandomBases bases(latent_shape());
    bases.cskv(5, 7, true, bias);
    const TrainedBase base(base_file(bases.directory(), "cskv"), "cskv");
    const RandomLayer layer(latent_shape(), 150);
    const auto cache = latent_cache(bases, "cskv(window=32)");
    layer.run(*cache, 0, 110, 110);
    ASSERT_EQ(cache->layer(0).window_rows(), 14);  // floor(110 / 32) 32 = 96 are compressed
    const std::vector<float> out = layer.run(*cache, 110, 1, 1);
    const std::int64_t d = 16, hidden = 24, tokens = 111, compressed = 96;
    std::vector<float> cosine, sine;
    rope_of(d)->fill(0, tokens, cosine, sine);
    for (std::int64_t head = 0; head < 4; ++head) {
      const std::int64_t kv = head / 2;
      HeadMatrix keys(tokens, d), values(tokens, d);
      for (std::int64_t t = 0; t < tokens; ++t) {
        const LayerRows row = layer.rows(t, 1);
        for (std::int64_t j = 0; j < d; ++j) {
          keys.row(t)[j] = rounded_to(DType::f16, row.keys[kv * d + j]);
          values.row(t)[j] = rounded_to(DType::f16, row.values[kv * d + j]);
        }
        if (t >= compressed) continue;
        for (const KvSide side : {KvSide::keys, KvSide::values}) {
          const std::int64_t rank = 2 * (side == KvSide::keys ? 5 : 7);
          const std::vector<float> down = base.numbers(cskv::latent_name(0, side, "down"), {rank, hidden}),
                                   up = base.numbers(cskv::latent_name(0, side, "up"), {2 * d, rank});
          std::vector<double> latent(static_cast<std::size_t>(rank));
          for (std::int64_t k = 0; k < rank; ++k) {
            double sum = 0;
            for (std::int64_t j = 0; j < hidden; ++j)
              sum += static_cast<double>(down[static_cast<std::size_t>(k * hidden + j)]) *
                     static_cast<double>(row.hidden[j]);
            latent[static_cast<std::size_t>(k)] =
                static_cast<double>(rounded_to(DType::f16, static_cast<float>(sum)));
          }
          for (std::int64_t j = 0; j < d; ++j) {
            double sum =
                bias ? static_cast<double>(base.numbers(cskv::latent_name(0, side, "bias"),
                                                        {2 * d})[static_cast<std::size_t>(kv * d + j)])
                     : 0;
            for (std::int64_t k = 0; k < rank; ++k)
              sum += latent[static_cast<std::size_t>(k)] *
                     static_cast<double>(up[static_cast<std::size_t>((kv * d + j) * rank + k)]);
            (side == KvSide::keys ? keys : values).row(t)[j] = static_cast<float>(sum);
          }
        }
        rotate_half_split(keys.row(t), d / 2, cosine.data() + t * d / 2, sine.data() + t * d / 2);
      }
      const std::vector<double> expected =
          plain_attention(layer.rows(110, 1).queries + head * d, keys, values,
                          std::vector<double>(static_cast<std::size_t>(tokens)),
                          std::vector<bool>(static_cast<std::size_t>(tokens), true));
      for (std::int64_t j = 0; j < d; ++j)
        EXPECT_NEAR(out[static_cast<std::size_t>(head * d + j)], expected[static_cast<std::size_t>(j)], 3e-3)
            << bias;
    }
  }
}

TEST(CskvCache, APromptAndLaterTokensMeetTheLongerPromptAtFlushBoundaries) {
  const RandomBases bases(latent_shape());
  bases.cskv(4, 4);
  for (const std::string pipeline :
       {"cskv", "cskv(window=16)", "cskv(bits=4)", "cskv(bits=4,grid=zero_clamped)"}) {
    const RandomLayer layer(latent_shape(), 200);
    const auto longer = latent_cache(bases, pipeline), grown = latent_cache(bases, pipeline);
    layer.run(*longer, 0, 160, 160);
    layer.run(*grown, 0, 96, 96);
    layer.run(*grown, 96, 64, 1);
    EXPECT_EQ(longer->layer(0).window_rows(), 0) << pipeline;
    EXPECT_EQ(grown->layer(0).window_rows(), 0) << pipeline;
    const auto rows_of = [](const KvCache& cache) {
      std::vector<float> all;
      for (const BlockRef& ref : cache.layer(0).blocks) {
        std::vector<float> part(static_cast<std::size_t>(ref.block->rows(1) * 16));
        ref.block->read(1, 0, ref.block->rows(1), part.data(), nullptr);
        all.insert(all.end(), part.begin(), part.end());
      }
      return all;
    };
    // Products of other numbers of rows may differ in their last bits, and a code then by a step.
    const std::vector<float> one = rows_of(*longer), other = rows_of(*grown);
    ASSERT_EQ(one.size(), other.size()) << pipeline;
    std::size_t apart = 0;
    for (std::size_t i = 0; i < one.size(); ++i) apart += std::abs(one[i] - other[i]) > 1e-5f ? 1 : 0;
    EXPECT_LE(apart, one.size() / 100) << pipeline;
  }
}

TEST(CskvCache, LatentsOnGridsStayWithinHalfAStep) {
  const std::int64_t rows = 96, heads = 2, per_head = 8, window = 32;
  HeadMatrices latents(1, HeadMatrix(rows, heads * per_head));
  latents[0].values = gaussian(rows * heads * per_head, 9);
  for (const int bits : {3, 4, 8}) {
    for (const KvSide side : {KvSide::keys, KvSide::values}) {
      UniformRowForm form;
      form.bits = bits;
      form.axis = side == KvSide::keys ? UniformRowForm::Axis::channel : UniformRowForm::Axis::token;
      form.group = side == KvSide::keys ? window : per_head;
      const auto store = UniformStore::encode(latents, form);
      const HeadMatrix back = std::move(read_all(*store).front());
      const auto group_of = [&](std::int64_t r, std::int64_t j) {
        return side == KvSide::keys ? r / window * 1000 + j : r * 1000 + j / per_head;
      };
      std::map<std::int64_t, std::pair<float, float>> ranges;
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t j = 0; j < latents[0].width; ++j) {
          const float x = latents[0].row(r)[j];
          auto& range = ranges.try_emplace(group_of(r, j), x, x).first->second;
          range = {std::min(range.first, x), std::max(range.second, x)};
        }
      }
      for (std::int64_t r = 0; r < rows; ++r) {
        for (std::int64_t j = 0; j < latents[0].width; ++j) {
          const auto [low, high] = ranges.at(group_of(r, j));
          const float step = (high - low) / static_cast<float>((1 << bits) - 1);
          // Steps and offsets are f16.
          const float slack = (std::abs(low) + (high - low)) / 1024;
          ASSERT_LE(std::abs(back.row(r)[j] - latents[0].row(r)[j]), step / 2 + slack) << bits;
        }
      }
    }
  }
}

TEST(CskvCache, CountsItsLatents) {
  const RandomBases bases(latent_shape());
  bases.cskv(4, 12);
  const RandomLayer layer(latent_shape(), 96);
  const auto cache = latent_cache(bases, "cskv");
  layer.run(*cache, 0, 96, 96);
  EXPECT_EQ(cache->bytes().payload, 96u * (2 * 4 + 2 * 12) * 2);
  // The window holds the latents of its tokens too.
  layer.run(*cache, 0 + 96, 0, 1);
  const auto longer = latent_cache(bases, "cskv");
  layer.run(*longer, 0, 80, 80);
  EXPECT_EQ(longer->bytes().window, 16u * (2 * 2 * 16 + 2 * 4 + 2 * 12) * 2);
}

TEST(CskvCache, TakesFewerColumnsOfAnUntrainedBaseOnly) {
  const RandomBases bases(latent_shape());
  bases.cskv(8, 8, true, false, "start");
  bases.cskv(8, 8, false, false, "trained");
  const RandomLayer layer(latent_shape(), 96);
  const auto half = latent_cache(bases, "cskv(base=start,rank=0.25)");
  layer.run(*half, 0, 96, 96);
  EXPECT_EQ(half->bytes().payload, 96u * 2 * (2 * 4) * 2);
  const auto fault = [&](const std::string& pipeline) -> std::string {
    try {
      latent_cache(bases, pipeline);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(fault("cskv(base=trained,rank=0.5)"), "");
  EXPECT_NE(fault("cskv(base=trained,rank=0.25)").find("cannot be cut"), std::string::npos);
  EXPECT_NE(fault("cskv(base=start,rank=0.75)").find("16 numbers per token"), std::string::npos);
  EXPECT_NE(fault("cskv(base=start,rank=0.01)").find("0.0625"), std::string::npos);
  EXPECT_NE(fault("cskv(base=other)").find("laconic kv train"), std::string::npos);
  EXPECT_NE(fault("cskv(base=start,bits=4,window=0)").find("window"), std::string::npos);
  EXPECT_NE(fault("cskv(base=start,bits=4) + kivi").find("both decide about bits"), std::string::npos);
  EXPECT_EQ(fault("cskv(base=start) + kivi(bits=4)"), "");
}

TEST(CskvCache, AnEmptyCacheIsAnEmptyView) {
  const RandomBases bases(latent_shape());
  bases.cskv(4, 4);
  const auto cache = latent_cache(bases, "cskv");
  EXPECT_EQ(cache->length(), 0);
  ByteWriter writer;
  cache->write_layer(0, writer);
  EXPECT_EQ(writer.size(), cache->bytes().total());
}

}  // namespace
}  // namespace laconic
