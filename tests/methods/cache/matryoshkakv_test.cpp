#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/math/linear_algebra.h"
#include "methods/cache/matryoshkakv/rotated_map.h"
#include "methods/cache/matryoshkakv/rotation.h"
#include "methods/cache/pipeline.h"
#include "tests/methods/cache/random_bases.h"
#include "tests/runtime/cache/random_layer.h"

namespace laconic {
namespace {

using matryoshkakv::make_bases;
using matryoshkakv::ModelBases;
using matryoshkakv::RankTable;
using matryoshkakv::read_bases;
using matryoshkakv::RotatedMap;

KvShape rotated_shape() { return {1, 2, 4, 16, 24, {0}, nullptr}; }

std::shared_ptr<const ModelBases> bases_of(const RandomBases& random) {
  return read_bases(rotated_shape(),
                    TrainedBase(base_file(random.directory(), "matryoshkakv"), "matryoshkakv"));
}

std::unique_ptr<KvCache> rotated_cache(const RandomBases& bases, const std::string& pipeline) {
  return CacheFactory(pipeline, {rotated_shape(), {}, {}, 0, bases.directory()}).make();
}

// U^T U of the first columns.
double farthest_from_orthonormal(const std::vector<float>& columns, std::int64_t d) {
  double worst = 0;
  for (std::int64_t a = 0; a < d; ++a) {
    for (std::int64_t b = 0; b < d; ++b) {
      double sum = a == b ? -1 : 0;
      for (std::int64_t j = 0; j < d; ++j)
        sum += static_cast<double>(columns[static_cast<std::size_t>(a * d + j)]) *
               static_cast<double>(columns[static_cast<std::size_t>(b * d + j)]);
      worst = std::max(worst, std::abs(sum));
    }
  }
  return worst;
}

TEST(MatryoshkaBasis, StoredBasesAreOrthogonal) {
  for (const std::int64_t d : {8, 64, 128}) {
    RandomStream random(1, "test", "free");
    std::vector<float> free(static_cast<std::size_t>(d * (d - 1) / 2));
    for (float& x : free) x = rounded_to(DType::f16, random.gaussian());
    const KvShape shape{1, 1, 1, d, 8, {0}, nullptr};
    const std::vector<float> mean(static_cast<std::size_t>(d));
    const auto bases = make_bases(shape, {free, free}, {mean, mean});
    EXPECT_LE(farthest_from_orthonormal(bases->heads[0].columns, d), 1e-5) << d;
  }
}

// The error that r columns leave is the sum of the eigenvalues that are left out, and less than with any
// other basis.
TEST(MatryoshkaBasis, PrincipalColumnsLeaveTheDiscardedEigenvalues) {
  const std::int64_t d = 12, tokens = 400;
  RandomStream random(2, "test", "rows");
  std::vector<float> rows(static_cast<std::size_t>(tokens * d));
  for (std::size_t i = 0; i < rows.size(); ++i)
    rows[i] = 3.0f + random.gaussian() * 5.0f / static_cast<float>(1 + i % static_cast<std::size_t>(d));
  SecondMoment moment(d);
  moment.add(rows.data(), tokens);
  std::vector<double> mean(static_cast<std::size_t>(d));
  for (std::size_t i = 0; i < rows.size(); ++i)
    mean[i % static_cast<std::size_t>(d)] += static_cast<double>(rows[i]) / static_cast<double>(tokens);
  const std::vector<double> covariance = matryoshkakv::covariance_of(moment, mean, "test");
  const std::vector<double> u = matryoshkakv::principal_basis(covariance, d);
  const std::vector<double> eigenvalues = symmetric_eigen(covariance, d).values;
  const auto left_by = [&](const std::vector<double>& basis, std::int64_t rank) {
    double sum = 0;
    for (std::int64_t t = 0; t < tokens; ++t) {
      std::vector<double> x(static_cast<std::size_t>(d));
      double square = 0, kept = 0;
      for (std::int64_t j = 0; j < d; ++j) {
        x[static_cast<std::size_t>(j)] = static_cast<double>(rows[static_cast<std::size_t>(t * d + j)]) -
                                         mean[static_cast<std::size_t>(j)];
        square += x[static_cast<std::size_t>(j)] * x[static_cast<std::size_t>(j)];
      }
      for (std::int64_t k = 0; k < rank; ++k) {
        double dot = 0;
        for (std::int64_t j = 0; j < d; ++j)
          dot += x[static_cast<std::size_t>(j)] * basis[static_cast<std::size_t>(j * d + k)];
        kept += dot * dot;
      }
      sum += (square - kept) / static_cast<double>(tokens);
    }
    return sum;
  };
  for (const std::int64_t rank : {1, 4, 11}) {
    double discarded = 0;
    for (std::int64_t k = rank; k < d; ++k) discarded += eigenvalues[static_cast<std::size_t>(k)];
    EXPECT_NEAR(left_by(u, rank), discarded, 1e-4 * discarded + 1e-9) << rank;
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      RandomStream other(seed, "test", "orthogonal");
      std::vector<double> a(static_cast<std::size_t>(d * d)), symmetric(a.size());
      for (double& value : a) value = static_cast<double>(other.gaussian());
      for (std::int64_t i = 0; i < d; ++i) {
        for (std::int64_t j = 0; j < d; ++j)
          symmetric[static_cast<std::size_t>(i * d + j)] =
              a[static_cast<std::size_t>(i * d + j)] + a[static_cast<std::size_t>(j * d + i)];
      }
      EXPECT_LT(left_by(u, rank), left_by(symmetric_eigen(symmetric, d).vectors, rank));
    }
  }
}

TEST(MatryoshkaBasis, FewTokensGetARidgeAndDamageIsNamed) {
  SecondMoment moment(4);
  const std::vector<float> row = {1, 2, 3, 4};
  moment.add(row.data(), 1);
  const std::vector<double> mean = {1, 2, 3, 4};
  const std::vector<double> covariance = matryoshkakv::covariance_of(moment, mean, "keys");
  EXPECT_GE(covariance[0], 0);
  moment.mean()[5] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THROW(matryoshkakv::covariance_of(moment, mean, "keys"), Error);
}

TEST(MatryoshkaBasis, FreeNumbersArePackedBelowTheDiagonal) {
  const std::vector<double> u = {0.6, -0.8, 0.8, 0.6};
  const std::vector<float> packed = matryoshkakv::packed_free(u, 2);
  ASSERT_EQ(packed.size(), 1u);
  EXPECT_NEAR(packed[0], 1, 1e-7);
  EXPECT_EQ(matryoshkakv::unpacked_free(packed, 2),
            (std::vector<double>{0, 0, static_cast<double>(packed[0]), 0}));
}

// With all columns, latents of 32 bits are the rows.
TEST(MatryoshkaCache, AllColumnsChangeNothing) {
  const RandomBases bases(rotated_shape());
  bases.matryoshka();
  const RandomLayer layer(rotated_shape(), 150);
  const auto exact = CacheFactory("f16", {rotated_shape(), {}, 0, 0}).make();
  const auto rotated = rotated_cache(bases, "matryoshkakv(rank=1) + f32");
  layer.run(*exact, 0, 100, 100);
  layer.run(*rotated, 0, 100, 100);
  const std::vector<float> a = layer.run(*exact, 100, 50, 1), b = layer.run(*rotated, 100, 50, 1);
  for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], 2e-3) << i;
}

// Mixed with an exact window, attention is plain attention over projected and expanded keys and values: the
// terms with means must be there.
TEST(MatryoshkaCache, AttendsOverExpandedRowsBesideTheWindow) {
  const RandomBases bases(rotated_shape());
  bases.matryoshka();
  const auto all = bases_of(bases);
  const RandomLayer layer(rotated_shape(), 120);
  const auto cache = rotated_cache(bases, "matryoshkakv(rank=0.375,window=20) + f32");
  layer.run(*cache, 0, 100, 100);
  const std::int64_t d = 16, rank = 6, tokens = 101, compressed = 80;
  const std::vector<float> out = layer.run(*cache, 100, 1, 1);
  const RankTable table(rotated_shape(), rank);
  for (std::int64_t head = 0; head < 4; ++head) {
    const std::int64_t kv = head / 2;
    HeadMatrix keys(tokens, d), values(tokens, d);
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (const KvSide side : {KvSide::keys, KvSide::values}) {
        const matryoshkakv::HeadBasis& basis = all->heads[table.index(0, side, kv)];
        const LayerRows row = layer.rows(t, 1);
        const float* from = (side == KvSide::keys ? row.keys : row.values) + kv * d;
        float* to = (side == KvSide::keys ? keys : values).row(t);
        std::vector<double> x(static_cast<std::size_t>(d)), y(basis.mean.begin(), basis.mean.end());
        for (std::int64_t j = 0; j < d; ++j)
          x[static_cast<std::size_t>(j)] =
              static_cast<double>(rounded_to(DType::f16, from[j])) - y[static_cast<std::size_t>(j)];
        for (std::int64_t k = 0; k < rank; ++k) {
          double latent = 0;
          for (std::int64_t j = 0; j < d; ++j)
            latent += x[static_cast<std::size_t>(j)] *
                      static_cast<double>(basis.columns[static_cast<std::size_t>(k * d + j)]);
          for (std::int64_t j = 0; j < d; ++j)
            y[static_cast<std::size_t>(j)] +=
                latent * static_cast<double>(basis.columns[static_cast<std::size_t>(k * d + j)]);
        }
        for (std::int64_t j = 0; j < d; ++j)
          to[j] = t < compressed ? static_cast<float>(y[static_cast<std::size_t>(j)])
                                 : rounded_to(DType::f16, from[j]);
      }
    }
    const std::vector<double> expected =
        plain_attention(layer.rows(100, 1).queries + head * d, keys, values,
                        std::vector<double>(static_cast<std::size_t>(tokens)),
                        std::vector<bool>(static_cast<std::size_t>(tokens), true));
    for (std::int64_t j = 0; j < d; ++j)
      EXPECT_NEAR(out[static_cast<std::size_t>(head * d + j)], expected[static_cast<std::size_t>(j)], 2e-5);
  }
}

// Folding the values' basis into the output projection W [out, heads d] of the layer:
//   W_h (U_r sums + mass mu) = (W_h U_r) sums + mass (W_h mu)
TEST(MatryoshkaCache, FoldingIntoTheOutputProjectionGivesTheSame) {
  const RandomBases random(rotated_shape());
  random.matryoshka();
  const auto bases = bases_of(random);
  const std::int64_t d = 16, rank = 6, width = 24;
  const auto map = rotated_map(rotated_shape(), bases, RankTable(rotated_shape(), rank));
  const auto block =
      map->block(0, TokenIndex::run(2, 0, 0), std::make_unique<ExactStore>(DType::f16, 2, rank),
                 std::make_unique<ExactStore>(DType::f16, 2, rank));
  const std::vector<float> w = random.numbers("output", width * d, 0.3f),
                           sums = random.numbers("sums", rank, 1.0f);
  const float mass = 0.7f;
  std::vector<float> expanded(static_cast<std::size_t>(d));
  block->basis()->expand(1, sums.data(), &mass, 1, expanded.data());
  const matryoshkakv::HeadBasis& basis = bases->heads[map->ranks().index(0, KvSide::values, 1)];
  for (std::int64_t o = 0; o < width; ++o) {
    double apart = 0, folded = 0, bias = 0;
    for (std::int64_t j = 0; j < d; ++j) {
      const double weight = static_cast<double>(w[static_cast<std::size_t>(o * d + j)]);
      apart += weight * static_cast<double>(expanded[static_cast<std::size_t>(j)]);
      bias += weight * static_cast<double>(basis.mean[static_cast<std::size_t>(j)]);
    }
    for (std::int64_t k = 0; k < rank; ++k) {
      double column = 0;
      for (std::int64_t j = 0; j < d; ++j)
        column += static_cast<double>(w[static_cast<std::size_t>(o * d + j)]) *
                  static_cast<double>(basis.columns[static_cast<std::size_t>(k * d + j)]);
      folded += column * static_cast<double>(sums[static_cast<std::size_t>(k)]);
    }
    EXPECT_NEAR(apart, folded + static_cast<double>(mass) * bias, 1e-5);
  }
}

std::vector<Bytes> blocks_of(const KvCache& cache) {
  std::vector<Bytes> all;
  for (const BlockRef& ref : cache.layer(0).blocks) {
    ByteWriter writer;
    ref.block->write(writer);
    all.push_back(writer.take());
  }
  return all;
}

TEST(MatryoshkaCache, ShrinkingIsTheSameAsEncodingWithFewerColumns) {
  const RandomBases random(rotated_shape());
  random.matryoshka();
  const auto bases = bases_of(random);
  const RandomLayer layer(rotated_shape(), 200);
  RankTable ragged(rotated_shape(), 12);
  std::int64_t next = 0;
  for (std::int64_t& rank : ragged.all()) rank = next += 3;
  const auto map_of = [&](const RankTable& ranks) { return rotated_map(rotated_shape(), bases, ranks); };
  const auto cache_of = [&](const std::shared_ptr<const RotatedMap>& map) {
    KvStages stages;
    stages.canonical = "matryoshkakv";
    stages.features = map;
    return std::make_unique<KvCache>(rotated_shape(), std::vector<std::shared_ptr<const KvCodec>>{
                                                          make_stage_codec(rotated_shape(), 0, stages)});
  };
  const auto wide = cache_of(map_of(RankTable(rotated_shape(), 12)));
  const auto narrow = cache_of(map_of(ragged));
  for (KvCache* cache : {wide.get(), narrow.get()}) {
    layer.run(*cache, 0, 100, 100);
    layer.run(*cache, 100, 70, 1);
  }
  const auto cut = shrunk(*wide, map_of(ragged), "matryoshkakv");
  EXPECT_EQ(blocks_of(*cut), blocks_of(*narrow));
  EXPECT_EQ(cut->bytes().total(), narrow->bytes().total());
  EXPECT_EQ(layer.run(*cut, 170, 20, 1), layer.run(*narrow, 170, 20, 1));
  EXPECT_EQ(cut->bytes().payload % 2, 0u);
  // Stored and read back first.
  ByteWriter writer;
  wide->write_layer(0, writer);
  const auto loaded = cache_of(map_of(RankTable(rotated_shape(), 12)));
  ByteReader reader(writer.span(), "test");
  loaded->read_layer(0, reader);
  EXPECT_EQ(blocks_of(*shrunk(*loaded, map_of(ragged), "matryoshkakv")), blocks_of(*narrow));
  // Never to more.
  EXPECT_THROW(shrunk(*narrow, map_of(RankTable(rotated_shape(), 12)), "matryoshkakv"), Error);
}

TEST(MatryoshkaCache, LatentsOnGridsAreNotShrunk) {
  const RandomBases random(rotated_shape());
  random.matryoshka();
  const RandomLayer layer(rotated_shape(), 120);
  const auto cache = rotated_cache(random, "matryoshkakv(rank=0.5) + kivi(bits=4)");
  layer.run(*cache, 0, 120, 120);
  const auto map = rotated_map(rotated_shape(), bases_of(random), RankTable(rotated_shape(), 4));
  try {
    shrunk(*cache, map, "matryoshkakv");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
  }
}

TEST(MatryoshkaCache, CountsEveryHeadsColumns) {
  const RandomBases random(rotated_shape());
  // Steps of 4 columns; entries are keys of both heads, then values of both.
  random.matryoshka({4, 0, 0, 3, 1, 2, 2, 2, 0});
  const RandomLayer layer(rotated_shape(), 96);
  const auto cache = rotated_cache(random, "matryoshkakv(rank=0.5,window=0)");
  layer.run(*cache, 0, 96, 96);
  // A mean of 8 columns: all 8 steps; the heads keep 4, 12, 4 and 12.
  EXPECT_EQ(cache->bytes().payload, 96u * (4 + 12 + 4 + 12) * 2);
  const auto larger = rotated_cache(random, "matryoshkakv(rank=0.75,window=0)");
  layer.run(*larger, 0, 96, 96);
  EXPECT_EQ(larger->bytes().payload, 96u * (8 + 12 + 16 + 12) * 2);
  const auto uniform = rotated_cache(random, "matryoshkakv(rank=0.5,ranks=uniform,window=0)");
  layer.run(*uniform, 0, 96, 96);
  EXPECT_EQ(uniform->bytes().payload, 96u * 4 * 8 * 2);
}

TEST(MatryoshkaCache, RefusesWhatDoesNotFit) {
  const RandomBases random(rotated_shape());
  random.matryoshka();
  random.matryoshka({4, 0, 0}, "short");
  random.matryoshka({4, 0, 0, 0, 0}, "wrong");
  const auto fault = [&](const std::string& pipeline, const KvShape& shape) -> std::string {
    try {
      CacheFactory(pipeline, {shape, {}, {}, 0, random.directory()});
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_NE(fault("matryoshkakv(ranks=searched)", rotated_shape()).find("search"), std::string::npos);
  EXPECT_NE(fault("matryoshkakv(rank=0.02)", rotated_shape()).find("0.0625"), std::string::npos);
  EXPECT_NE(fault("matryoshkakv(base=short,ranks=searched,rank=0.5)", rotated_shape()).find("end"),
            std::string::npos);
  EXPECT_EQ(fault("matryoshkakv(base=short,rank=0.5)", rotated_shape()), "");
  EXPECT_NE(
      fault("matryoshkakv(base=wrong,ranks=searched,rank=0.25)", rotated_shape()).find("cannot go lower"),
      std::string::npos);
  EXPECT_NE(fault("matryoshkakv(base=short,ranks=searched,rank=0.1)", rotated_shape()).find("0.25"),
            std::string::npos);
  EXPECT_NE(fault("matryoshkakv", {1, 4, 4, 16, 24, {0}, nullptr}).find("shape"), std::string::npos);
  EXPECT_NE(fault("matryoshkakv", {2, 2, 4, 16, 24, {0, 0}, nullptr}).find("layers.1"), std::string::npos);
}

TEST(MatryoshkaCache, BlocksOfAnotherBasisAreRefused) {
  const RandomBases own(rotated_shape(), 1), other(rotated_shape(), 2);
  own.matryoshka();
  other.matryoshka();
  const RandomLayer layer(rotated_shape(), 96);
  const auto cache = rotated_cache(own, "matryoshkakv");
  layer.run(*cache, 0, 96, 96);
  ByteWriter writer;
  cache->write_layer(0, writer);
  for (const RandomBases* bases : {&own, &other}) {
    const auto copy = rotated_cache(*bases, "matryoshkakv");
    ByteReader reader(writer.span(), "test");
    if (bases == &own) {
      EXPECT_NO_THROW(copy->read_layer(0, reader));
    } else {
      EXPECT_THROW(copy->read_layer(0, reader), Error);
    }
  }
}

}  // namespace
}  // namespace laconic
