#include "runtime/cache/kv_cache.h"

#include <gtest/gtest.h>

#include <limits>

#include "engine/base/error.h"
#include "methods/cache/pipeline.h"
#include "tests/runtime/cache/random_layer.h"

namespace laconic {
namespace {

KvShape small_shape(std::int64_t window = 0) { return {1, 2, 4, 16, 24, {window}, nullptr}; }

std::unique_ptr<KvCache> cache_of(const std::string& pipeline, const KvShape& shape = small_shape()) {
  return CacheFactory(pipeline, {shape, {}, {}, 0}).make();
}

void expect_near(const std::vector<float>& a, const std::vector<float>& b, float tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], tolerance) << "at " << i;
}

Bytes written(const KvCache& cache) {
  ByteWriter writer;
  cache.write_layer(0, writer);
  return writer.take();
}

// What attention has to see: every row that the blocks and the window say they hold. Packed rows meet factors
// rounded to 16 bits (lane_product.h).
void expect_plain_attention(const RandomLayer& layer, const KvCache& before, const KvCache& after,
                            std::int64_t position, const float* out) {
  const KvLayerState& state = before.layer(0);
  const std::int64_t d = layer.shape.head_dim, window = layer.shape.window_of(0);
  for (std::int64_t h = 0; h < layer.shape.kv_heads; ++h) {
    std::int64_t count = 0;
    for (const BlockRef& ref : state.blocks) count += ref.block->rows(h);
    const std::int64_t recent = state.window_rows();
    HeadMatrix keys(count + recent + 1, d), values(count + recent + 1, d);
    std::vector<double> log_weights(static_cast<std::size_t>(count + recent + 1));
    std::vector<bool> visible(static_cast<std::size_t>(count + recent + 1), true);
    std::int64_t at = 0;
    for (const BlockRef& ref : state.blocks) {
      const std::int64_t rows = ref.block->rows(h);
      ref.block->read(h, 0, rows, keys.row(at), values.row(at));
      const auto positions = ref.block->index().positions(h);
      for (std::int64_t r = 0; r < rows; ++r) {
        const auto i = static_cast<std::size_t>(at + r);
        if (!ref.block->log_weights(h).empty())
          log_weights[i] = static_cast<double>(ref.block->log_weights(h)[static_cast<std::size_t>(r)]);
        const std::int32_t p = positions[static_cast<std::size_t>(r)];
        visible[i] = p < ref.position_end && (window == 0 || p > position - window);
      }
      at += rows;
    }
    if (recent > 0) {
      state.keys.read(h, 0, recent, keys.row(at));
      state.values.read(h, 0, recent, values.row(at));
      for (std::int64_t r = 0; r < recent; ++r)
        visible[static_cast<std::size_t>(at + r)] =
            window == 0 || state.window_first() + r > position - window;
    }
    const LayerRows own = layer.rows(position, 1);
    for (std::int64_t j = 0; j < d; ++j) {
      keys.row(at + recent)[j] = rounded_to(state.keys.dtype(), own.keys[h * d + j]);
      values.row(at + recent)[j] = rounded_to(state.keys.dtype(), own.values[h * d + j]);
    }
    for (std::int64_t g = 0; g < layer.shape.group(); ++g) {
      const std::int64_t head = h * layer.shape.group() + g;
      const std::vector<double> expected =
          plain_attention(own.queries + head * d, keys, values, log_weights, visible);
      for (std::int64_t j = 0; j < d; ++j)
        ASSERT_NEAR(out[head * d + j], expected[static_cast<std::size_t>(j)], 2e-4) << after.layer(0).tokens;
    }
  }
}

class EveryCache : public testing::TestWithParam<std::string> {};

TEST_P(EveryCache, AttendsOverExactlyWhatItHolds) {
  for (const std::int64_t sliding : {0, 40}) {
    const RandomLayer layer(small_shape(sliding), 220);
    const auto cache = cache_of(GetParam(), layer.shape);
    layer.run(*cache, 0, 150, 150);
    for (std::int64_t t = 150; t < 220; ++t) {
      const auto before = cache->fork();
      const std::vector<float> out = layer.run(*cache, t, 1, 1);
      expect_plain_attention(layer, *before, *cache, t, out.data());
    }
  }
}

TEST_P(EveryCache, RowsInGroupsGiveWhatSingleRowsGive) {
  const RandomLayer layer(small_shape(), 300);
  const auto single = cache_of(GetParam()), grouped = cache_of(GetParam());
  layer.run(*single, 0, 100, 100);
  layer.run(*grouped, 0, 100, 100);
  expect_near(layer.run(*single, 100, 200, 1), layer.run(*grouped, 100, 200, 77), 2e-4f);
  EXPECT_EQ(single->length(), 300);
  EXPECT_EQ(written(*single).size(), written(*grouped).size());
}

TEST_P(EveryCache, CountsTheBytesThatItWritesAndReadsThemBack) {
  const RandomLayer layer(small_shape(), 260);
  const auto cache = cache_of(GetParam());
  for (const std::int64_t tokens : {1, 20, 99, 40}) {
    layer.run(*cache, cache->length(), tokens, tokens);
    const Bytes bytes = written(*cache);
    EXPECT_EQ(cache->bytes().total(), bytes.size());
    const auto copy = cache_of(GetParam());
    ByteReader reader(bytes, "test");
    copy->read_layer(0, reader);
    reader.expect_end();
    EXPECT_EQ(written(*copy), bytes);
    const auto fork = cache->fork();
    EXPECT_EQ(layer.run(*fork, cache->length(), 60, 60), layer.run(*copy, cache->length(), 60, 60));
  }
}

TEST_P(EveryCache, RefusesDamagedBytesWithoutHarm) {
  const RandomLayer layer(small_shape(), 160);
  const auto cache = cache_of(GetParam());
  layer.run(*cache, 0, 120, 120);
  layer.run(*cache, 120, 40, 40);
  const Bytes bytes = written(*cache);
  for (std::size_t length = 0; length < bytes.size(); length += 1 + length / 7) {
    const auto copy = cache_of(GetParam());
    ByteReader reader(ByteSpan(bytes).first(length), "test");
    EXPECT_THROW(
        {
          copy->read_layer(0, reader);
          reader.expect_end();
        },
        Error);
  }
  RandomStream random(1, "test", "damage");
  for (int i = 0; i < 300; ++i) {
    Bytes damaged = bytes;
    damaged[random.below(static_cast<std::uint32_t>(damaged.size()))] ^=
        static_cast<std::byte>(1u << random.below(8));
    const auto copy = cache_of(GetParam());
    ByteReader reader(damaged, "test");
    try {
      copy->read_layer(0, reader);
      layer.run(*copy, 0, 0, 1);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    }
  }
}

TEST_P(EveryCache, ForksGoTheirOwnWay) {
  const RandomLayer layer(small_shape(), 240), other(small_shape(), 240, 2);
  const auto cache = cache_of(GetParam());
  layer.run(*cache, 0, 130, 130);
  const auto fork = cache->fork(), alone = cache_of(GetParam());
  layer.run(*alone, 0, 130, 130);
  other.run(*fork, 130, 100, 9);
  EXPECT_EQ(layer.run(*cache, 130, 100, 10), layer.run(*alone, 130, 100, 10));
}

TEST_P(EveryCache, RefusesNumbersThatAreNotFinite) {
  RandomLayer layer(small_shape(), 80);
  const auto cache = cache_of(GetParam());
  layer.keys[37] = std::numeric_limits<float>::quiet_NaN();
  try {
    layer.run(*cache, 0, 80, 80);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_NE(std::string(error.what()).find("keys of layer 0"), std::string::npos) << error.what();
  }
}

TEST_P(EveryCache, TruncatesToAnyLengthOrRefuses) {
  const RandomLayer layer(small_shape(), 300), other(small_shape(), 300, 3);
  const auto cache = cache_of(GetParam());
  layer.run(*cache, 0, 120, 120);
  layer.run(*cache, 120, 60, 60);
  for (const std::int64_t length : {175, 150, 60, 0}) {
    if (!cache->can_truncate(length)) {
      EXPECT_THROW(cache->truncate(length), Error);
      continue;
    }
    cache->truncate(length);
    EXPECT_EQ(cache->length(), length);
    const auto before = cache->fork();
    const std::vector<float> out = other.run(*cache, length, 1, 1);
    expect_plain_attention(other, *before, *cache, length, out.data());
    EXPECT_EQ(cache->bytes().total(), written(*cache).size());
    cache->truncate(length);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Pipelines, EveryCache,
    testing::Values("f32", "f16", "bf16", "per-token", "per-token(bits=4,joint=true)",
                    "per-token(bits=4,group=8,kind=symmetric_full)", "kivi(bits=2)", "kivi(bits=3,group=16)",
                    "gear(group=32)", "gear(backbone=kcvt,bits=4,buffer=20)",
                    "gear(backbone=per-token,group=0,bits=3,factor-scope=layer)",
                    "gear(group=32,factor-bits=8,outlier-scope=side,weighting=queries)", "ems(budget=64)",
                    "ems(budget=48,tau=0.01,rho=3,bias=true,heads=shared)",
                    "h2o(budget=48) + per-token(bits=4)", "snapkv(budget=48,later=kept) + kivi(bits=4)",
                    "sliding-window(budget=48)", "zipcache",
                    "zipcache(bits=16,3,ratio=0.3,keys=cst,span=head,flush=40)",
                    "zipcache(fidelity=official,flush=40)"),
    [](const auto& tested) {
      std::string name;
      for (const char c : tested.param) name += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
      return name;
    });

TEST(KvCacheAppend, APromptAndLaterTokensMeetTheLongerPromptAtFlushBoundaries) {
  const RandomLayer layer(small_shape(), 300);
  const auto longer = cache_of("kivi(bits=4)"), grown = cache_of("kivi(bits=4)");
  layer.run(*longer, 0, 192, 192);
  layer.run(*grown, 0, 128, 128);
  layer.run(*grown, 128, 64, 1);
  EXPECT_EQ(longer->layer(0).window_rows(), grown->layer(0).window_rows());
  expect_near(layer.run(*longer, 192, 20, 1), layer.run(*grown, 192, 20, 1), 1e-4f);
}

}  // namespace
}  // namespace laconic
