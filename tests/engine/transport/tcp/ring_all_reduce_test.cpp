#include "engine/transport/tcp/ring_all_reduce.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "engine/base/error.h"
#include "engine/tensor/dtype.h"
#include "engine/transport/tcp/fold_kernel.h"
#include "tests/engine/transport/tcp/peer_group.h"

namespace laconic {
namespace {

using testing::HasSubstr;

std::uint64_t next_sequence() {
  static std::atomic<std::uint64_t> sequence = 100;
  return ++sequence;
}

std::string what_of(const std::exception_ptr& fault) {
  if (fault == nullptr) return "";
  try {
    std::rethrow_exception(fault);
  } catch (const std::exception& error) {
    return error.what();
  }
}

// Seeded elements of a type: integers of any bits, floats around 1.
Bytes elements(NumberType type, std::size_t count, std::size_t member) {
  RandomStream random(7, "elements", std::string(name_of(type)), member);
  Bytes bytes(count * size_of(type));
  for (std::size_t i = 0; i < count; ++i) {
    std::byte* at = bytes.data() + i * size_of(type);
    const float value = 0.5f + random.uniform() * (i % 3 == 0 ? -2.0f : 1.0f);
    switch (type) {
      case NumberType::f16:
        convert_from_f32({&value, 1}, DType::f16, at);
        break;
      case NumberType::bf16:
        convert_from_f32({&value, 1}, DType::bf16, at);
        break;
      case NumberType::f32:
        std::memcpy(at, &value, 4);
        break;
      case NumberType::f64: {
        const double wide = static_cast<double>(value) * 1.000000001;
        std::memcpy(at, &wide, 8);
        break;
      }
      default:
        for (std::size_t b = 0; b < size_of(type); ++b) at[b] = static_cast<std::byte>(random.bits());
    }
  }
  return bytes;
}

// One process folds in the order of the ring: chunk c from member c on.
Bytes reference(NumberType type, ReduceOp op, const std::vector<Bytes>& inputs, std::size_t count,
                bool by_rank = false) {
  const std::size_t members = inputs.size(), size = size_of(type);
  const auto bounds = chunk_bounds(count, members);
  const bool half = type == NumberType::f16 || type == NumberType::bf16;
  const DType half_dtype = type == NumberType::f16 ? DType::f16 : DType::bf16;
  Bytes result(count * size);
  for (std::size_t chunk = 0; chunk < members; ++chunk) {
    const std::size_t begin = bounds[chunk], n = bounds[chunk + 1] - begin;
    if (n == 0) continue;
    const auto operand = [&](std::size_t i) {
      const Bytes& from = inputs[by_rank ? i : (chunk + i) % members];
      Bytes piece(from.begin() + static_cast<std::ptrdiff_t>(begin * size),
                  from.begin() + static_cast<std::ptrdiff_t>((begin + n) * size));
      if (!half) return piece;
      Bytes wide(n * 4);
      convert_to_f32_scalar(half_dtype, piece.data(), {reinterpret_cast<float*>(wide.data()), n});
      return wide;
    };
    const NumberType work = half ? NumberType::f32 : type;
    Bytes sum = operand(0);
    for (std::size_t i = 1; i < members; ++i)
      fold_numbers_scalar(work, op, sum.data(), operand(i).data(), sum.data(), n);
    if (op == ReduceOp::avg) divide_numbers(work, members, sum.data(), n);
    if (half) {
      convert_from_f32_scalar({reinterpret_cast<float*>(sum.data()), n}, half_dtype,
                              result.data() + begin * size);
    } else {
      std::memcpy(result.data() + begin * size, sum.data(), sum.size());
    }
  }
  return result;
}

struct Outcome {
  std::vector<Bytes> results;
  std::vector<AllReduceTraffic> traffic;
  std::vector<std::exception_ptr> faults;
};

Outcome reduce(PeerGroup& group, AllReduceRequest request, const std::vector<Bytes>& inputs, bool in_place) {
  Outcome outcome;
  outcome.results.resize(group.size());
  outcome.traffic.resize(group.size());
  request.sequence = next_sequence();
  request.count = inputs[0].size() / size_of(request.type);
  outcome.faults = group.run([&](std::size_t member) {
    Bytes& result = outcome.results[member];
    result = in_place ? inputs[member] : Bytes(inputs[member].size());
    AllReduceRequest own = request;
    own.source = in_place ? result.data() : inputs[member].data();
    own.destination = result.data();
    AbortToken token;
    AllReduce operation(group.links(member), group.ring(member), own);
    outcome.traffic[member] = operation.run(token);
  });
  for (const auto& fault : outcome.faults) EXPECT_EQ(what_of(fault), "");
  return outcome;
}

// Many f32 numbers, made quickly: multiples of 2^-12 in [-1, 1).
std::vector<Bytes> large_inputs(std::size_t count, std::size_t members) {
  std::vector<Bytes> inputs;
  std::uint32_t state = 12345;
  for (std::size_t member = 0; member < members; ++member) {
    std::vector<float> values(count);
    for (float& value : values) {
      state = state * 1664525 + 1013904223;
      value = static_cast<float>(static_cast<std::int32_t>(state) >> 19) * 0x1p-12f;
    }
    Bytes bytes(count * 4);
    std::memcpy(bytes.data(), values.data(), bytes.size());
    inputs.push_back(std::move(bytes));
  }
  return inputs;
}

std::vector<Bytes> inputs_of(NumberType type, std::size_t count, std::size_t members) {
  std::vector<Bytes> inputs;
  for (std::size_t member = 0; member < members; ++member) inputs.push_back(elements(type, count, member));
  return inputs;
}

Bytes of_floats(const std::vector<float>& values) {
  Bytes bytes(values.size() * 4);
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}
std::vector<float> floats(const Bytes& bytes) {
  std::vector<float> values(bytes.size() / 4);
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

TEST(AllReduces, ChunksAreThoseOfTheCard) {
  EXPECT_EQ(chunk_bounds(4, 3), (std::vector<std::size_t>{0, 2, 3, 4}));
  EXPECT_EQ(chunk_bounds(1, 3), (std::vector<std::size_t>{0, 1, 1, 1}));
}

TEST(AllReduces, TheOrderOfFoldingIsTheRings) {
  PeerGroup group(3);
  AllReduceRequest request;
  const std::vector<Bytes> inputs = {of_floats({1, 1, 1}), of_floats({1e8f, 1e8f, 1e8f}),
                                     of_floats({-1e8f, -1e8f, -1e8f})};
  for (const Bytes& result : reduce(group, request, inputs, false).results)
    EXPECT_EQ(floats(result), (std::vector<float>{0, 1, 0}));
}

class AllReduceSizes : public testing::TestWithParam<std::size_t> {};
INSTANTIATE_TEST_SUITE_P(Members, AllReduceSizes, testing::Values(2, 3, 4, 5));

// Every type and operation at every awkward size: bit for bit the single-process fold, in place as well.
TEST_P(AllReduceSizes, EqualTheFoldOfOneProcess) {
  const std::size_t members = GetParam();
  PeerGroup group(members);
  for (int type = 0; type < number_types; ++type) {
    for (int op = 0; op < reduce_ops; ++op) {
      AllReduceRequest request;
      request.type = static_cast<NumberType>(type);
      request.op = static_cast<ReduceOp>(op);
      const std::vector<std::size_t> counts = {1, members - 1, members, members + 1, 1025};
      std::vector<std::vector<Bytes>> inputs;
      std::vector<Bytes> expected;
      for (const std::size_t count : counts) {
        inputs.push_back(inputs_of(request.type, count, members));
        expected.push_back(reference(request.type, request.op, inputs.back(), count));
      }
      const std::uint64_t first = next_sequence() * 100;
      const auto faults = group.run([&](std::size_t member) {
        AllReduceRequest own = request;
        own.sequence = first;
        for (std::size_t k = 0; k < counts.size(); ++k) {
          for (const bool in_place : {false, true}) {
            Bytes result = in_place ? inputs[k][member] : Bytes(inputs[k][member].size());
            own.source = in_place ? result.data() : inputs[k][member].data();
            own.destination = result.data();
            own.count = counts[k];
            ++own.sequence;
            AbortToken token;
            AllReduce(group.links(member), group.ring(member), own).run(token);
            EXPECT_EQ(result, expected[k]) << name_of(own.type) << " " << name_of(own.op) << " " << counts[k];
          }
        }
      });
      for (const auto& fault : faults) ASSERT_EQ(what_of(fault), "");
    }
  }
}

TEST_P(AllReduceSizes, DirectExchangeFoldsInTheOrderOfMembers) {
  const std::size_t members = GetParam();
  PeerGroup group(members, {}, true);
  for (int type = 0; type < number_types; ++type) {
    AllReduceRequest request;
    request.type = static_cast<NumberType>(type);
    request.op = static_cast<ReduceOp>(type % reduce_ops);
    request.algorithm = AllReduceAlgorithm::direct;
    for (const std::size_t count : {std::size_t{1}, members - 1, members, members + 1, std::size_t{1025}}) {
      const auto inputs = inputs_of(request.type, count, members);
      const Bytes expected = reference(request.type, request.op, inputs, count, true);
      for (const bool in_place : {false, true}) {
        for (const Bytes& result : reduce(group, request, inputs, in_place).results)
          ASSERT_EQ(result, expected) << name_of(request.type) << " " << count;
      }
    }
  }
}

// Many pieces, several connections, with and without keys and TLS.
TEST(AllReduces, LargeVectorsAreStripedOverConnections) {
  for (int protection = 0; protection < 3; ++protection) {
    PeerLinkOptions options;
    options.pool_size = 3;
    if (protection > 0) options.link.key = Key{std::byte{9}};
    options.link.tls = protection == 2;
    PeerGroup group(3, options, true);
    for (const NumberType type : {NumberType::f32, NumberType::bf16}) {
      AllReduceRequest request;
      request.type = type;
      request.op = ReduceOp::avg;
      const std::size_t count = 300001;
      auto inputs = large_inputs(count, 3);
      // Any bytes below the exponent of infinity are bf16 numbers as well.
      if (type == NumberType::bf16) {
        for (Bytes& bytes : inputs) {
          bytes.resize(2 * count);
          for (std::size_t i = 1; i < bytes.size(); i += 2) bytes[i] &= std::byte{0xBF};
        }
      }
      const Bytes expected = reference(type, request.op, inputs, count);
      for (const int stripes : {1, 3}) {
        request.stripes = stripes;
        for (const bool in_place : {false, true}) {
          const Outcome outcome = reduce(group, request, inputs, in_place);
          for (const Bytes& result : outcome.results) EXPECT_TRUE(result == expected) << stripes << in_place;
        }
      }
      request.algorithm = AllReduceAlgorithm::direct;
      const Bytes by_rank = reference(type, request.op, inputs, count, true);
      const Outcome outcome = reduce(group, request, inputs, true);
      for (const Bytes& result : outcome.results) EXPECT_TRUE(result == by_rank);
    }
  }
}

// 2 (P - 1) / P of the vector, and 24 bytes a frame; the sockets' own counts agree.
TEST(AllReduces, BytesAreThoseOfTheRing) {
  PeerGroup group(4);
  AllReduceRequest request;
  const std::size_t count = 40000;
  const std::uint64_t before = group.links(1).sent_bytes();
  const Outcome outcome = reduce(group, request, inputs_of(NumberType::f32, count, 4), false);
  for (const AllReduceTraffic& traffic : outcome.traffic) {
    EXPECT_EQ(traffic.sent_bytes, 2 * 3 * (count / 4 * 4 + 24));
    EXPECT_EQ(traffic.received_bytes, traffic.sent_bytes);
  }
  EXPECT_EQ(group.links(1).sent_bytes() - before, outcome.traffic[1].sent_bytes);
}

class QuantizedReduces : public testing::TestWithParam<std::tuple<int, int, int>> {};
INSTANTIATE_TEST_SUITE_P(Kinds, QuantizedReduces,
                         testing::Combine(testing::Values(1, 2), testing::Values(8, 16),
                                          testing::Values(0, 1, 2)));

TEST_P(QuantizedReduces, AllMembersHoldTheSameBitsWithinTheBound) {
  const auto [kind, bits, rounding] = GetParam();
  for (const std::size_t members : {std::size_t{2}, std::size_t{4}}) {
    PeerGroup group(members, {}, true);
    for (const AllReduceAlgorithm algorithm : {AllReduceAlgorithm::ring, AllReduceAlgorithm::direct}) {
      for (const NumberType type : {NumberType::f32, NumberType::f64, NumberType::bf16}) {
        if (type == NumberType::bf16 && bits == 16) continue;
        AllReduceRequest request;
        request.type = type;
        request.algorithm = algorithm;
        request.quantization.kind = static_cast<QuantizationKind>(kind);
        request.quantization.bits = bits;
        request.quantization.rounding = static_cast<WireRounding>(rounding);
        request.quantization.block = 64;
        for (const std::size_t count : {std::size_t{1}, std::size_t{members + 1}, std::size_t{5000}}) {
          const auto inputs = inputs_of(type, count, members);
          const Outcome outcome = reduce(group, request, inputs, true);
          for (const Bytes& result : outcome.results) ASSERT_EQ(result, outcome.results[0]);
          const Bytes exact = reference(type, request.op, inputs, count);
          // Values lie in [-1.5, 1.5]: a partial sum of k of them spans at most 3k, a step is that / Q, and
          // rounding is off by at most one step (half for the nearest); the last bits of bf16 come on top.
          const double steps = (1 << bits) - 1;
          double bound = 0;
          const double share = rounding == 0 ? 0.5 : 1.0;
          for (std::size_t k = 1; k <= members; ++k)
            bound += share * 3.0 * static_cast<double>(k) / steps * 1.001;
          if (algorithm == AllReduceAlgorithm::direct)
            bound = share * 3.0 * 2 * static_cast<double>(members) / steps * 1.001;
          for (std::size_t i = 0; i < count; ++i) {
            double a = 0, b = 0;
            if (type == NumberType::f64) {
              std::memcpy(&a, exact.data() + 8 * i, 8);
              std::memcpy(&b, outcome.results[0].data() + 8 * i, 8);
            } else if (type == NumberType::f32) {
              a = static_cast<double>(floats(exact)[i]),
              b = static_cast<double>(floats(outcome.results[0])[i]);
            } else {
              float x, y;
              convert_to_f32(DType::bf16, exact.data() + 2 * i, {&x, 1});
              convert_to_f32(DType::bf16, outcome.results[0].data() + 2 * i, {&y, 1});
              a = static_cast<double>(x), b = static_cast<double>(y);
            }
            const double slack = type == NumberType::bf16 ? std::abs(a) * 0x1p-7 : 1e-5;
            ASSERT_NEAR(a, b, bound + slack) << "number " << i << " of " << count;
          }
        }
      }
    }
  }
}

TEST(AllReduces, EightBitsTakeAQuarterOfTheBytes) {
  PeerGroup group(4);
  AllReduceRequest request;
  const std::size_t count = 400000;
  const auto inputs = inputs_of(NumberType::f32, count, 4);
  const Outcome full = reduce(group, request, inputs, false);
  request.quantization.kind = QuantizationKind::min_max;
  const Outcome small = reduce(group, request, inputs, false);
  EXPECT_LE(small.traffic[0].sent_bytes, full.traffic[0].sent_bytes * 0.27);
}

TEST(AllReduces, NumbersThatAreNoneFailTheOperationAndTheSourceComesBack) {
  PeerGroup group(2);
  auto inputs = inputs_of(NumberType::f32, 5000, 2);
  const float bad = std::numeric_limits<float>::quiet_NaN();
  std::memcpy(inputs[1].data() + 4 * 1234, &bad, 4);
  AllReduceRequest request;
  request.count = 5000;
  request.sequence = next_sequence();
  request.quantization.kind = QuantizationKind::min_max;
  AbortToken tokens[2];
  std::vector<Bytes> buffers = inputs;
  const auto faults = group.run([&](std::size_t member) {
    AllReduceRequest own = request;
    own.source = own.destination = buffers[member].data();
    AllReduce operation(group.links(member), group.ring(member), own);
    try {
      operation.run(tokens[member]);
    } catch (...) {
      // As the master does: whoever fails makes it fail everywhere.
      tokens[1 - member].abort("another member failed");
      throw;
    }
  });
  const std::string reasons = what_of(faults[0]) + "|" + what_of(faults[1]);
  EXPECT_THAT(reasons, HasSubstr("number 1234 of a quantised reduction is NaN"));
  EXPECT_NE(faults[0], nullptr);
  EXPECT_NE(faults[1], nullptr);
  EXPECT_EQ(buffers, inputs);
  // The connections go on.
  request.quantization = {};
  EXPECT_TRUE(reduce(group, request, inputs_of(NumberType::f32, 10, 2), true).results[0].size() == 40);
}

TEST(AllReduces, ConcurrentTagsShareConnections) {
  PeerLinkOptions options;
  options.pool_size = 2;
  PeerGroup group(3, options);
  constexpr std::size_t operations = 6, count = 60000;
  std::vector<std::vector<Bytes>> inputs, buffers;
  std::vector<std::uint64_t> sequences;
  for (std::size_t k = 0; k < operations; ++k) {
    inputs.push_back(inputs_of(NumberType::i32, count + k, 3));
    sequences.push_back(next_sequence());
  }
  buffers = inputs;
  const auto faults = group.run([&](std::size_t member) {
    std::vector<std::thread> threads;
    for (std::size_t k = 0; k < operations; ++k) {
      threads.emplace_back([&, k] {
        AllReduceRequest request;
        request.type = NumberType::i32;
        request.tag = k;
        request.sequence = sequences[k];
        request.count = count + k;
        request.source = request.destination = buffers[k][member].data();
        AbortToken token;
        AllReduce(group.links(member), group.ring(member), request).run(token);
      });
    }
    for (std::thread& thread : threads) thread.join();
  });
  for (const auto& fault : faults) EXPECT_EQ(what_of(fault), "");
  for (std::size_t k = 0; k < operations; ++k) {
    const Bytes expected = reference(NumberType::i32, ReduceOp::sum, inputs[k], count + k);
    for (const Bytes& result : buffers[k]) EXPECT_TRUE(result == expected) << k;
  }
}

// A member that never takes part: the others are aborted from outside, keep their numbers, and the same
// connections carry the next operation, whatever was left of the old one.
TEST(AllReduces, AnAbortedOperationLeavesSourceAndConnectionsIntact) {
  for (const bool keyed : {false, true}) {
    PeerLinkOptions options;
    if (keyed) options.link.key = Key{std::byte{9}};
    PeerGroup group(3, options);
    const auto inputs = large_inputs(3000000, 3);
    std::vector<Bytes> buffers = inputs;
    const std::uint64_t sequence = next_sequence();
    const auto faults = group.run([&](std::size_t member) {
      AllReduceRequest request;
      request.count = 3000000;
      request.sequence = sequence;
      request.source = request.destination = buffers[member].data();
      AllReduce operation(group.links(member), group.ring(member), request);
      if (member == 1) return;
      AbortToken token;
      std::thread aborter([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        token.abort("the master said so");
      });
      const auto start = Clock::now();
      try {
        operation.run(token);
      } catch (...) {
        EXPECT_LT(std::chrono::duration<double>(Clock::now() - start).count(), 1.5);
        aborter.join();
        throw;
      }
      aborter.join();
    });
    EXPECT_THAT(what_of(faults[0]), HasSubstr("the master said so"));
    EXPECT_THAT(what_of(faults[2]), HasSubstr("the master said so"));
    EXPECT_TRUE(buffers == inputs);
    AllReduceRequest request;
    const Outcome outcome = reduce(group, request, inputs, true);
    const Bytes expected = reference(NumberType::f32, ReduceOp::sum, inputs, 3000000);
    for (const Bytes& result : outcome.results) EXPECT_TRUE(result == expected);
  }
}

TEST(AllReduces, AMemberThatDiesFailsItsNeighbours) {
  PeerGroup group(3);
  const auto inputs = large_inputs(2000000, 3);
  std::vector<Bytes> buffers = inputs;
  const std::uint64_t sequence = next_sequence();
  const auto faults = group.run([&](std::size_t member) {
    if (member == 2) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      return group.kill(2);
    }
    AllReduceRequest request;
    request.count = 2000000;
    request.sequence = sequence;
    request.source = request.destination = buffers[member].data();
    AbortToken token;
    AllReduce(group.links(member), group.ring(member), request).run(token);
  });
  EXPECT_THAT(what_of(faults[0]), HasSubstr("peer 03000000"));
  EXPECT_THAT(what_of(faults[1]), HasSubstr("peer 03000000"));
  EXPECT_TRUE(buffers[0] == inputs[0]);
  EXPECT_TRUE(buffers[1] == inputs[1]);
}

TEST(AllReduces, SuccessCanStillBeUndone) {
  PeerGroup group(2);
  const auto inputs = inputs_of(NumberType::f32, 1000, 2);
  std::vector<Bytes> buffers = inputs;
  const std::uint64_t sequence = next_sequence();
  const auto faults = group.run([&](std::size_t member) {
    AllReduceRequest request;
    request.count = 1000;
    request.sequence = sequence;
    request.source = request.destination = buffers[member].data();
    AbortToken token;
    AllReduce operation(group.links(member), group.ring(member), request);
    operation.run(token);
    EXPECT_NE(buffers[member], inputs[member]);
    operation.undo();
  });
  EXPECT_EQ(buffers, inputs);
}

TEST(AllReduces, WhatNobodyShouldStartIsRefused) {
  PeerGroup group(2);
  std::vector<float> values(10);
  const auto attempt = [&](auto change) {
    AllReduceRequest request;
    request.count = 10;
    request.source = request.destination = values.data();
    change(request);
    EXPECT_THROW(AllReduce(group.links(0), group.ring(0), request), Error);
  };
  attempt([](AllReduceRequest& r) { r.count = 0; });
  attempt([](AllReduceRequest& r) { r.source = nullptr; });
  attempt([&](AllReduceRequest& r) { r.destination = values.data() + 1; });
  attempt([](AllReduceRequest& r) { r.stripes = 0; });
  attempt([](AllReduceRequest& r) { r.quantization = {QuantizationKind::min_max, 7}; });
  attempt([](AllReduceRequest& r) { r.quantization = {QuantizationKind::min_max, 8, 100}; });
  attempt([](AllReduceRequest& r) {
    r.quantization.kind = QuantizationKind::min_max;
    r.type = NumberType::i32;
  });
  attempt([](AllReduceRequest& r) {
    r.quantization = {QuantizationKind::min_max, 16};
    r.type = NumberType::bf16;
  });
}

}  // namespace
}  // namespace laconic
