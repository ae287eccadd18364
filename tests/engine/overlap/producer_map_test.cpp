#include "engine/overlap/producer_map.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <thread>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/overlap/pipelined_ring.h"
#include "engine/tensor/tensor.h"
#include "engine/transport/communication_thread.h"
#include "engine/transport/reductions.h"
#include "engine/transport/thread_world.h"

namespace laconic {
namespace {

struct Problem {
  ChunkLayout layout;
  std::vector<std::vector<float>> values;  // by rank, the whole product
  std::vector<std::vector<float>> wanted;  // by chunk, the sum in the order of the ring

  Problem(std::int64_t rows, std::int64_t columns, int ranks, const LayoutOptions& options)
      : layout(rows, columns, ranks, options) {
    for (int rank = 0; rank < ranks; ++rank) {
      RandomStream random(9, "overlap", "product", 0, static_cast<std::uint16_t>(rank));
      std::vector<float> own(static_cast<std::size_t>(rows * columns));
      for (float& value : own) value = random.gaussian() * std::exp(3 * random.gaussian());
      values.push_back(std::move(own));
    }
    fold();
  }

  // By the library's ring, which knows nothing of tiles.
  void fold() {
    wanted.assign(values.size(), {});
    std::vector<std::size_t> bounds;
    for (const std::int64_t row : layout.row_bounds())
      bounds.push_back(static_cast<std::size_t>(row * layout.columns()));
    run_ranks(static_cast<int>(values.size()), [&](Communicator& communicator) {
      std::vector<float> own = values[static_cast<std::size_t>(communicator.rank())];
      reduce_scatter(communicator, own, bounds);
      const auto chunk = static_cast<std::size_t>(ring_part_of(communicator.rank(), communicator.size()));
      wanted[chunk].assign(own.begin() + static_cast<std::ptrdiff_t>(bounds[chunk]),
                           own.begin() + static_cast<std::ptrdiff_t>(bounds[chunk + 1]));
    });
  }
};

LayoutOptions tiles_of(std::int64_t rows, std::int64_t columns, int subs) {
  LayoutOptions options;
  options.tile = {rows, columns};
  options.sub_chunks = subs;
  return options;
}

// Pauses that a seed decides: other schedules for other seeds.
class Pauses {
 public:
  Pauses(std::uint64_t seed, int rank, int thread)
      : random_(seed, "overlap", "pauses", static_cast<std::uint64_t>(thread),
                static_cast<std::uint16_t>(rank)) {}
  void maybe() {
    switch (random_.below(8)) {
      case 0: {
        const double until = steady_seconds() + 1e-6 * random_.below(40);
        while (steady_seconds() < until) {
        }
        break;
      }
      case 1:
      case 2:
        for (std::uint32_t i = random_.below(4); i > 0; --i) std::this_thread::yield();
        break;
      default:
        break;
    }
  }

 private:
  RandomStream random_;
};

enum class Route { ring, ring_unstaggered, direct };
OutputMap map_of(Route route, int rank, int ranks) {
  return route == Route::direct ? direct_reduce_scatter_map(rank, ranks)
                                : ring_reduce_scatter_map(rank, ranks, route == Route::ring);
}

void produce(ProducerMap& map, const std::vector<float>& values, Pauses pauses) {
  const ChunkLayout& layout = map.layout();
  for (int tile; (tile = map.next_tile()) >= 0;) {
    pauses.maybe();
    const TileArea& area = layout.tiles()[static_cast<std::size_t>(tile)].area;
    map.tile_done(tile, values.data() + area.row * layout.columns() + area.column, layout.columns(), 1e-5);
    pauses.maybe();
  }
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

std::span<const float> chunk_of(std::span<const float> output, const ChunkLayout& layout, int chunk) {
  return output.subspan(
      static_cast<std::size_t>(layout.row_bounds()[static_cast<std::size_t>(chunk)] * layout.columns()),
      static_cast<std::size_t>(layout.chunk_numbers(chunk)));
}

// Every rank's chunk is compared with the ring's; every sub-chunk must have triggered once.
std::vector<MemoryTraffic> run_and_check(const Problem& problem, Route route, int producers,
                                         std::uint64_t seed, const ProducerMapOptions& options = {}) {
  const int ranks = static_cast<int>(problem.values.size());
  std::vector<MemoryTraffic> traffic(problem.values.size());
  run_ranks(ranks, [&](Communicator& communicator) {
    const int rank = communicator.rank();
    Tensor output(DType::f32, {problem.layout.rows(), problem.layout.columns()});
    ProducerMap map(problem.layout, map_of(route, rank, ranks), output.f32(), options);
    std::vector<std::thread> threads;
    for (int i = 0; i < producers; ++i) {
      threads.emplace_back(
          [&, i] { produce(map, problem.values[static_cast<std::size_t>(rank)], Pauses(seed, rank, i)); });
    }
    map.communicate(communicator);
    for (std::thread& thread : threads) thread.join();
    const int own = ring_part_of(rank, ranks);
    EXPECT_TRUE(
        same_bits(chunk_of(output.f32(), problem.layout, own), problem.wanted[static_cast<std::size_t>(own)]))
        << "rank " << rank << " of " << ranks << ", seed " << seed;
    for (std::size_t sub = 0; sub < problem.layout.sub_chunks().size(); ++sub)
      EXPECT_EQ(map.triggers(static_cast<int>(sub)), 1);
    traffic[static_cast<std::size_t>(rank)] = map.traffic();
  });
  return traffic;
}

struct Shape4 {
  std::int64_t rows, columns;
  int ranks;
  LayoutOptions options;
};
std::vector<Shape4> shapes() {
  std::vector<Shape4> all;
  for (int ranks = 1; ranks <= 5; ++ranks) {
    all.push_back({5 * ranks + 2, 70, ranks, tiles_of(3, 32, 2)});  // chunks of whole tiles, an odd rest
    LayoutOptions odd = tiles_of(3, 64, 3);
    odd.row_bounds = {0};
    for (int i = 0; i < ranks; ++i)
      odd.row_bounds.push_back(odd.row_bounds.back() + 4 + i);  // no multiples of 3
    all.push_back({odd.row_bounds.back(), 33, ranks, odd});
  }
  return all;
}

TEST(ProducerMap, LeavesTheBitsOfTheRingOnEveryRoute) {
  for (const Shape4& shape : shapes()) {
    const Problem problem(shape.rows, shape.columns, shape.ranks, shape.options);
    for (const Route route : {Route::ring, Route::ring_unstaggered, Route::direct})
      run_and_check(problem, route, 2, 1);
  }
}

// A thousand in the nightly suite: on a busy machine each takes tens of milliseconds.
TEST(ProducerMap, LeavesTheBitsOfTheRingOverManySchedules) {
  const char* nightly = std::getenv("LACONIC_NIGHTLY");
  const std::uint64_t schedules = nightly != nullptr && *nightly != '\0' ? 1000 : 200;
  std::vector<Problem> problems;
  for (const Shape4& shape : shapes())
    problems.emplace_back(shape.rows, shape.columns, shape.ranks, shape.options);
  ProducerMapOptions options;
  options.least_poll = 20e-6;
  options.most_poll = 40e-6;
  options.compute_first.quantum = 400;
  options.compute_first.starvation_limit = 50e-6;
  for (std::uint64_t seed = 0; seed < schedules; ++seed) {
    const auto route = seed % 3 == 0 ? Route::direct : seed % 3 == 1 ? Route::ring : Route::ring_unstaggered;
    run_and_check(problems[seed % problems.size()], route, 1 + static_cast<int>(seed / 7 % 2), seed, options);
    if (HasFailure()) break;
  }
}

TEST(ProducerMap, AlonePutsTheProductInPlaceAndSendsNothing) {
  const Problem problem(10, 40, 1, tiles_of(4, 32, 2));
  run_ranks(1, [&](Communicator& communicator) {
    Tensor output(DType::f32, {10, 40});
    ProducerMap map(problem.layout, ring_reduce_scatter_map(0, 1), output.f32());
    produce(map, problem.values[0], Pauses(0, 0, 0));
    map.communicate(communicator);
    EXPECT_TRUE(same_bits(output.f32(), problem.values[0]));
    EXPECT_EQ(communicator.traffic().sent_messages, 0u);
  });
}

TEST(ProducerMap, CountsMemoryAsThePaperDoes) {
  for (int ranks = 2; ranks <= 8; ++ranks) {
    const Problem problem(8 * ranks, 64, ranks, tiles_of(4, 32, 2));
    const std::uint64_t c = 8 * 64 * sizeof(float);
    const auto n = static_cast<std::uint64_t>(ranks);
    for (const MemoryTraffic& traffic : run_and_check(problem, Route::ring, 1, 2)) {
      EXPECT_EQ(traffic.reads, (n - 2) * c);
      EXPECT_EQ(traffic.gemm_writes + traffic.updates, 2 * (n - 1) * c);
      EXPECT_EQ(traffic.remote_writes, c);
    }
    run_ranks(ranks, [&](Communicator& communicator) {
      Tensor output =
          Tensor::from_f32({8 * ranks, 64}, problem.values[static_cast<std::size_t>(communicator.rank())]);
      std::vector<Bytes> spare;
      const MemoryTraffic traffic =
          pipelined_ring_reduce_scatter(communicator, problem.layout, output.f32(), {}, spare);
      EXPECT_EQ(traffic.reads, (2 * n - 1) * c);
      EXPECT_EQ(traffic.updates, n * c);
      const int own = ring_part_of(communicator.rank(), ranks);
      EXPECT_TRUE(same_bits(chunk_of(output.f32(), problem.layout, own),
                            problem.wanted[static_cast<std::size_t>(own)]));
    });
  }
}

TEST(ProducerMap, NotANumberFlowsThrough) {
  Problem problem(12, 32, 3, tiles_of(2, 32, 2));
  problem.values[1][5] = std::numeric_limits<float>::quiet_NaN();
  problem.values[2][32 * 9 + 1] = std::numeric_limits<float>::infinity();
  problem.values[0][32 * 9 + 1] = -std::numeric_limits<float>::infinity();
  problem.fold();
  for (const Route route : {Route::ring, Route::direct}) run_and_check(problem, route, 1, 3);
  EXPECT_TRUE(std::isnan(problem.wanted[0][5]));
}

// Eight bits with one scale for each sub-chunk.
SubChunkCodec bytes_with_scale() {
  return {
      [](std::span<const float> numbers) {
        float largest = 0;
        for (const float value : numbers) largest = std::max(largest, std::abs(value));
        ByteWriter writer;
        writer.write(largest);
        for (const float value : numbers)
          writer.write(static_cast<std::int8_t>(largest == 0 ? 0 : std::nearbyint(value / largest * 127)));
        return writer.take();
      },
      [](ByteSpan bytes, std::span<float> numbers) {
        ByteReader reader(bytes, "test");
        const float largest = reader.f32();
        for (float& value : numbers) value = reader.read<std::int8_t>() * (largest / 127);
        reader.expect_end();
      }};
}

TEST(ProducerMap, ACodecGivesTheSameBitsWithAndWithoutOverlap) {
  Problem problem(22, 70, 4, tiles_of(5, 32, 2));
  const SubChunkCodec codec = bytes_with_scale();
  std::uint64_t sent = 0;
  run_ranks(4, [&](Communicator& communicator) {
    Tensor output = Tensor::from_f32({22, 70}, problem.values[static_cast<std::size_t>(communicator.rank())]);
    std::vector<Bytes> spare;
    pipelined_ring_reduce_scatter(communicator, problem.layout, output.f32(), codec, spare);
    const int own = ring_part_of(communicator.rank(), 4);
    const auto chunk = chunk_of(output.f32(), problem.layout, own);
    EXPECT_FALSE(same_bits(chunk, problem.wanted[static_cast<std::size_t>(own)]));
    problem.wanted[static_cast<std::size_t>(own)].assign(chunk.begin(), chunk.end());
    if (communicator.rank() == 0) sent = communicator.traffic().sent_bytes;
  });
  EXPECT_LT(sent, 3u * 22 * 70 * 4 / 4 / 3);
  ProducerMapOptions options;
  options.codec = codec;
  for (std::uint64_t seed = 0; seed < 20; ++seed) run_and_check(problem, Route::ring, 2, seed, options);
}

TEST(ProducerMap, RefusesOutputsThatAreUnalignedOrShort) {
  const ChunkLayout layout(8, 32, 2, tiles_of(4, 32, 1));
  Tensor output(DType::f32, {9, 32});
  const OutputMap map = ring_reduce_scatter_map(0, 2);
  EXPECT_NO_THROW(ProducerMap(layout, map, output.f32().subspan(0, 256)));
  EXPECT_THROW(ProducerMap(layout, map, output.f32().subspan(1, 256)), Error);
  EXPECT_THROW(ProducerMap(layout, map, output.f32().subspan(0, 255)), Error);
  OutputMap unowned = map;
  unowned.entries.pop_back();
  EXPECT_THROW(ProducerMap(layout, unowned, output.f32().subspan(0, 256)), Error);
}

// Rank 1 leaves after its first sub-chunk: the others get an error, and their producers stop.
TEST(ProducerMap, ALostPeerEndsTheRound) {
  const Problem problem(24, 32, 3, tiles_of(2, 32, 2));
  std::atomic<int> failed{0}, left_over{0};
  run_ranks(3, [&](Communicator& communicator) {
    const int rank = communicator.rank();
    Tensor output(DType::f32, {24, 32});
    ProducerMap map(problem.layout, ring_reduce_scatter_map(rank, 3), output.f32());
    if (rank == 1) {
      Bytes frame(sub_chunk_header_bytes +
                  static_cast<std::size_t>(problem.layout.sub_chunk(1, 0).numbers) * 4);
      write_sub_chunk_header(1, 0, frame);
      communicator.send(2, communicator.next_collective_tag(), frame);
      return;
    }
    std::thread producer([&] {
      int made = 0;
      for (int tile; (tile = map.next_tile()) >= 0; ++made) {
        const TileArea& area = problem.layout.tiles()[static_cast<std::size_t>(tile)].area;
        // The last tiles wait until the round has failed.
        if (made == 10) {
          for (int i = 0; i < 4000 && failed < 2; ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        map.tile_done(
            tile, problem.values[static_cast<std::size_t>(rank)].data() + area.row * 32 + area.column, 32);
      }
      if (made < static_cast<int>(problem.layout.tiles().size())) ++left_over;
    });
    try {
      map.communicate(communicator);
      ADD_FAILURE() << "rank " << rank << " saw no fault";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::io);
      ++failed;
      communicator.abandon("it has lost a peer");  // the rank that waits for this one is told
    }
    producer.join();
  });
  EXPECT_EQ(failed, 2);
  EXPECT_EQ(left_over, 2) << "producers stop when the round has failed";
}

TEST(ProducerMap, AFaultOfTheProducerEndsTheRound) {
  const Problem problem(8, 32, 2, tiles_of(2, 32, 1));
  run_ranks(2, [&](Communicator& communicator) {
    Tensor output(DType::f32, {8, 32});
    ProducerMap map(problem.layout, ring_reduce_scatter_map(communicator.rank(), 2), output.f32());
    map.cancel(std::make_exception_ptr(Error(ErrorKind::interrupted, "stopped")));
    try {
      map.communicate(communicator);
      ADD_FAILURE() << "no fault";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::interrupted);
    }
    EXPECT_EQ(map.next_tile(), -1);
  });
}

TEST(ProducerMap, ASilentPeerIsAnErrorAfterTheTimeout) {
  const Problem problem(8, 32, 2, tiles_of(2, 32, 1));
  std::atomic<bool> over{false};
  run_ranks(2, [&](Communicator& communicator) {
    if (communicator.rank() == 1) {
      for (int i = 0; i < 10000 && !over; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return;
    }
    communicator.set_timeout(0.05);
    Tensor output(DType::f32, {8, 32});
    ProducerMap map(problem.layout, ring_reduce_scatter_map(0, 2), output.f32());
    produce(map, problem.values[0], Pauses(0, 0, 0));
    try {
      map.communicate(communicator);
      ADD_FAILURE() << "no fault";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::io);
    }
    over = true;
  });
}

TEST(ProducerMap, RefusesFramesThatAreNotAwaited) {
  const Problem problem(12, 32, 3, tiles_of(2, 32, 1));
  const auto refuses = [&](const std::vector<std::pair<int, int>>& frames) {
    run_ranks(3, [&](Communicator& communicator) {
      const int rank = communicator.rank();
      if (rank == 2) {  // in place of what rank 0 awaits
        const std::uint32_t tag = communicator.next_collective_tag();
        for (const auto& [chunk, sub] : frames) {
          Bytes frame(sub_chunk_header_bytes + 4 * 32 * 4);
          write_sub_chunk_header(chunk, sub, frame);
          communicator.send(0, tag, frame);
        }
      }
      if (rank != 0) return;
      Tensor output(DType::f32, {12, 32});
      ProducerMap map(problem.layout, ring_reduce_scatter_map(0, 3), output.f32());
      try {
        map.communicate(communicator);
        ADD_FAILURE() << "not refused";
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::corrupt) << error.what();
      }
    });
  };
  refuses({{0, 0}});  // rank 0 makes chunk 0 alone
  refuses({{7, 0}});
  refuses({{2, 0}, {2, 0}});  // twice
}

// The first sub-chunk arrives before its own tiles, when tiles are quick; the others when they are made and
// tiles have become slow.
TEST(ProducerMap, AdditionsGiveWayToASlowProductButNotForEver) {
  const Problem problem(16, 32, 2, tiles_of(2, 32, 4));
  std::atomic<int> stage{0};
  const auto wait_for = [&](int wanted) {
    for (int i = 0; i < 10000 && stage < wanted; ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
  };
  run_ranks(2, [&](Communicator& communicator) {
    if (communicator.rank() == 1) {
      const std::uint32_t tag = communicator.next_collective_tag();
      for (int sub = 0; sub < 4; ++sub) {
        wait_for(sub == 0 ? 1 : 2);
        Bytes frame(sub_chunk_header_bytes + 2 * 32 * 4);
        write_sub_chunk_header(1, sub, frame);
        std::memcpy(frame.data() + sub_chunk_header_bytes, problem.values[1].data() + (8 + 2 * sub) * 32,
                    2 * 32 * 4);
        communicator.send(0, tag, frame);
      }
      return;
    }
    Tensor output(DType::f32, {16, 32});
    ProducerMapOptions options;
    options.compute_first.quantum = 64;
    options.compute_first.starvation_limit = 3e-3;
    ProducerMap map(problem.layout, ring_reduce_scatter_map(0, 2), output.f32(), options);
    std::thread producer([&] {
      double seconds = 1e-6;
      int made = 0;
      for (int tile; (tile = map.next_tile()) >= 0; seconds *= 2) {
        if (made == 7) stage = 2;
        if (made == 1 || made == 7) std::this_thread::sleep_for(std::chrono::milliseconds(60));
        map.tile_done(
            tile,
            problem.values[0].data() + problem.layout.tiles()[static_cast<std::size_t>(tile)].area.row * 32,
            32, seconds);
        if (++made == 1) stage = 1;
      }
    });
    map.communicate(communicator);
    producer.join();
    EXPECT_GT(map.longest_hold(), 0);
    // The thread looks again every poll; a busy machine may wake it late.
    EXPECT_LT(map.longest_hold(), 3e-3 + 0.2);
    EXPECT_TRUE(same_bits(chunk_of(output.f32(), problem.layout, 1), problem.wanted[1]));
  });
}

}  // namespace
}  // namespace laconic
