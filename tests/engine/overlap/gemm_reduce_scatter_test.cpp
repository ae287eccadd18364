#include "engine/overlap/gemm_reduce_scatter.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/transport/reductions.h"
#include "engine/transport/thread_world.h"

namespace laconic {
namespace {

std::vector<float> matrix(std::string_view name, int rank, std::int64_t count) {
  RandomStream random(4, "gemm reduce-scatter", name, 0, static_cast<std::uint16_t>(rank));
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = random.gaussian();
  return values;
}

struct Sizes {
  std::int64_t rows, columns, depth;
};

OverlapPlan small_plan(OverlapForm form, ReduceScatterRoute route, bool staggered, int workers) {
  OverlapPlan plan;
  plan.form = form;
  plan.route = route;
  plan.staggered = staggered;
  plan.workers = workers;
  plan.layout.tile = {8, 32};
  plan.layout.sub_chunks = 3;
  return plan;
}

// By rank: its rows, of two runs of one object.
std::vector<std::vector<float>> chunks_of(int ranks, const Sizes& sizes, const OverlapPlan& plan) {
  std::vector<std::vector<float>> chunks(static_cast<std::size_t>(ranks));
  ThreadWorld world(ranks);
  run_rank_threads(ranks, [&](int rank) {
    CommunicationThread thread([&] { return world.communicator(rank); });
    const std::vector<float> a = matrix("a", rank, sizes.rows * sizes.depth),
                             b = matrix("b", rank, sizes.depth * sizes.columns);
    const PackedColumns packed(b.data(), sizes.columns, sizes.depth, sizes.columns);
    GemmReduceScatter product(rank, ranks, sizes.rows, sizes.columns, plan);
    for (int round = 0; round < 2; ++round) {
      const OverlapTimes times = product.run(a.data(), sizes.depth, packed, thread);
      EXPECT_LE(times.product, times.total);
      const auto own = product.own_rows();
      if (round == 1) {
        EXPECT_EQ(std::memcmp(chunks[static_cast<std::size_t>(rank)].data(), own.data(), own.size_bytes()),
                  0);
      }
      chunks[static_cast<std::size_t>(rank)].assign(own.begin(), own.end());
    }
  });
  return chunks;
}

TEST(GemmReduceScatter, EveryFormLeavesTheSameBits) {
  for (int ranks = 1; ranks <= 5; ++ranks) {
    const Sizes sizes{ranks * 17 + 8, 70, 300};
    const auto wanted =
        chunks_of(ranks, sizes, small_plan(OverlapForm::sequential, ReduceScatterRoute::ring, true, 1));
    using Form = OverlapForm;
    using Route = ReduceScatterRoute;
    for (const OverlapPlan& plan : {small_plan(Form::triggered, Route::ring, true, 1),
                                    small_plan(Form::triggered, Route::ring, true, 3),
                                    small_plan(Form::triggered, Route::ring, false, 2),
                                    small_plan(Form::triggered, Route::direct, true, 2),
                                    small_plan(Form::whole_chunks, Route::ring, true, 2),
                                    small_plan(Form::sequential, Route::ring, true, 2)}) {
      const auto chunks = chunks_of(ranks, sizes, plan);
      for (int rank = 0; rank < ranks; ++rank) {
        const auto& got = chunks[static_cast<std::size_t>(rank)];
        const auto& expected = wanted[static_cast<std::size_t>(rank)];
        ASSERT_EQ(got.size(), expected.size());
        EXPECT_EQ(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)), 0)
            << "rank " << rank << " of " << ranks;
      }
    }
  }
}

TEST(GemmReduceScatter, IsTheSumOfTheProducts) {
  const int ranks = 3;
  const Sizes sizes{30, 40, 50};
  const auto chunks =
      chunks_of(ranks, sizes, small_plan(OverlapForm::triggered, ReduceScatterRoute::ring, true, 1));
  std::vector<double> sum(static_cast<std::size_t>(sizes.rows * sizes.columns), 0);
  for (int rank = 0; rank < ranks; ++rank) {
    const std::vector<float> a = matrix("a", rank, sizes.rows * sizes.depth),
                             b = matrix("b", rank, sizes.depth * sizes.columns);
    for (std::int64_t i = 0; i < sizes.rows; ++i) {
      for (std::int64_t t = 0; t < sizes.depth; ++t) {
        for (std::int64_t j = 0; j < sizes.columns; ++j) {
          sum[static_cast<std::size_t>(i * sizes.columns + j)] +=
              static_cast<double>(a[static_cast<std::size_t>(i * sizes.depth + t)]) *
              static_cast<double>(b[static_cast<std::size_t>(t * sizes.columns + j)]);
        }
      }
    }
  }
  std::size_t at = 0;
  for (int chunk = 0; chunk < ranks; ++chunk) {
    const int owner = (chunk + ranks - 1) % ranks;
    for (const float value : chunks[static_cast<std::size_t>(owner)]) EXPECT_NEAR(value, sum[at++], 1e-4);
  }
  EXPECT_EQ(at, sum.size());
}

TEST(GemmReduceScatter, RefusesPlansThatDoNotFit) {
  OverlapPlan plan;
  EXPECT_THROW(GemmReduceScatter(0, 3, 200, 64, plan), Error);  // tiles of 128 rows
  plan.workers = 0;
  EXPECT_THROW(GemmReduceScatter(0, 1, 200, 64, plan), Error);
  plan = small_plan(OverlapForm::sequential, ReduceScatterRoute::direct, true, 1);
  EXPECT_THROW(GemmReduceScatter(0, 2, 200, 64, plan), Error);
}

// With a link so slow that it decides, the time is that of the model: nothing but the link is on its path.
TEST(GemmReduceScatter, ALimitedLinkTakesItsTime) {
  const int ranks = 2;
  const std::int64_t rows = 64, columns = 64, depth = 8;
  const double bytes_of_chunk = rows * columns * 4 / 2.0, seconds = 0.1;
  ThreadWorld world(ranks, {bytes_of_chunk / seconds, 0.01});
  const double begin = steady_seconds();  // before any rank's
  run_rank_threads(ranks, [&](int rank) {
    CommunicationThread thread([&] { return world.communicator(rank); });
    const std::vector<float> a = matrix("a", rank, rows * depth), b = matrix("b", rank, depth * columns);
    const PackedColumns packed(b.data(), columns, depth, columns);
    GemmReduceScatter product(rank, ranks, rows, columns,
                              small_plan(OverlapForm::triggered, ReduceScatterRoute::ring, true, 1));
    product.run(a.data(), depth, packed, thread);
    EXPECT_GE(steady_seconds() - begin, seconds + 0.01 - 1e-3);
  });
}

}  // namespace
}  // namespace laconic
