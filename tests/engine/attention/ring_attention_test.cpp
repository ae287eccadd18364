#include "engine/attention/ring_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/transport/thread_world.h"

namespace laconic {
namespace {

using Floats = std::vector<float>;

Floats normal_numbers(std::size_t count, std::string_view name) {
  const RandomStream random(7, "ring attention", name);
  Floats values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = random.gaussian_at(i);
  return values;
}

// Packed sequences one after another, all rows: [tokens, heads, head_dim].
struct Problem {
  RingShape shape;
  std::vector<std::uint32_t> lengths;
  Floats q, k, v, out_gradient;

  Problem(RingShape of_shape, std::vector<std::uint32_t> of_lengths)
      : shape(of_shape), lengths(std::move(of_lengths)) {
    const auto rows = static_cast<std::size_t>(std::accumulate(lengths.begin(), lengths.end(), 0u));
    const auto wide = rows * static_cast<std::size_t>(shape.heads * shape.head_dim);
    const auto narrow = rows * static_cast<std::size_t>(shape.kv_heads * shape.head_dim);
    q = normal_numbers(wide, "q");
    k = normal_numbers(narrow, "k");
    v = normal_numbers(narrow, "v");
    out_gradient = normal_numbers(wide, "dO");
  }
};

struct Answer {
  Floats out, dq, dk, dv;
};

// By the definition, in f64, sequence by sequence.
Answer dense(const Problem& p) {
  Answer answer{Floats(p.q.size()), Floats(p.q.size()), Floats(p.k.size()), Floats(p.k.size())};
  const std::int64_t d = p.shape.head_dim, group = p.shape.heads / p.shape.kv_heads;
  std::vector<double> dk(p.k.size()), dv(p.k.size());
  std::int64_t first = 0;
  for (const std::uint32_t length : p.lengths) {
    for (std::int64_t h = 0; h < p.shape.heads; ++h) {
      const auto q_at = [&](std::int64_t row) { return ((first + row) * p.shape.heads + h) * d; };
      const auto k_at = [&](std::int64_t row) { return ((first + row) * p.shape.kv_heads + h / group) * d; };
      for (std::int64_t i = 0; i < length; ++i) {
        std::vector<double> weight(static_cast<std::size_t>(i + 1)), slope(weight.size());
        double top = -1e300, sum = 0, mean = 0;
        for (std::int64_t j = 0; j <= i; ++j) {
          double score = 0;
          for (std::int64_t c = 0; c < d; ++c)
            score += static_cast<double>(p.q[static_cast<std::size_t>(q_at(i) + c)]) *
                     p.k[static_cast<std::size_t>(k_at(j) + c)];
          top = std::max(top, weight[static_cast<std::size_t>(j)] = score * p.shape.scale);
        }
        for (double& w : weight) sum += w = std::exp(w - top);
        for (double& w : weight) w /= sum;
        for (std::int64_t c = 0; c < d; ++c) {
          double value = 0;
          for (std::int64_t j = 0; j <= i; ++j)
            value += weight[static_cast<std::size_t>(j)] * p.v[static_cast<std::size_t>(k_at(j) + c)];
          answer.out[static_cast<std::size_t>(q_at(i) + c)] = static_cast<float>(value);
        }
        for (std::int64_t j = 0; j <= i; ++j) {
          for (std::int64_t c = 0; c < d; ++c) {
            const double g = p.out_gradient[static_cast<std::size_t>(q_at(i) + c)];
            slope[static_cast<std::size_t>(j)] += g * p.v[static_cast<std::size_t>(k_at(j) + c)];
            dv[static_cast<std::size_t>(k_at(j) + c)] += weight[static_cast<std::size_t>(j)] * g;
          }
          mean += weight[static_cast<std::size_t>(j)] * slope[static_cast<std::size_t>(j)];
        }
        for (std::int64_t c = 0; c < d; ++c) {
          double dq = 0;
          for (std::int64_t j = 0; j <= i; ++j) {
            const auto at = static_cast<std::size_t>(j);
            const double ds = weight[at] * (slope[at] - mean) * p.shape.scale;
            dq += ds * p.k[static_cast<std::size_t>(k_at(j) + c)];
            dk[static_cast<std::size_t>(k_at(j) + c)] += ds * p.q[static_cast<std::size_t>(q_at(i) + c)];
          }
          answer.dq[static_cast<std::size_t>(q_at(i) + c)] = static_cast<float>(dq);
        }
      }
    }
    first += length;
  }
  for (std::size_t i = 0; i < dk.size(); ++i) {
    answer.dk[i] = static_cast<float>(dk[i]);
    answer.dv[i] = static_cast<float>(dv[i]);
  }
  return answer;
}

// Rows of a member out of all rows, and back.
void copy_rows(const Problem& p, std::size_t members, std::size_t member, std::int64_t width, Floats& all,
               Floats& own, bool gather) {
  std::vector<std::int64_t> first(p.lengths.size(), 0);
  for (std::size_t s = 1; s < first.size(); ++s) first[s] = first[s - 1] + p.lengths[s - 1];
  if (gather) own.resize(static_cast<std::size_t>(ring_rows(p.lengths, members, member) * width));
  for (const RingPiece& piece : ring_pieces(p.lengths, members, member)) {
    const auto from = all.begin() + (first[piece.sequence] + piece.position) * width;
    const auto to = own.begin() + piece.row * width;
    if (gather)
      std::copy_n(from, piece.count * width, to);
    else
      std::copy_n(to, piece.count * width, from);
  }
}

// `ranks`: of a world that may hold others. Returns the pairs of each member.
Answer by_ring(const Problem& p, const std::vector<std::uint16_t>& ranks, int world,
               std::vector<std::uint64_t>* pairs = nullptr) {
  Answer answer{Floats(p.q.size()), Floats(p.q.size()), Floats(p.k.size()), Floats(p.k.size())};
  if (pairs != nullptr) pairs->assign(ranks.size(), 0);
  run_ranks(world, [&](Communicator& communicator) {
    const auto place = std::find(ranks.begin(), ranks.end(), communicator.rank());
    if (place == ranks.end()) return;
    const auto member = static_cast<std::size_t>(place - ranks.begin());
    const std::int64_t wide = p.shape.heads * p.shape.head_dim, narrow = p.shape.kv_heads * p.shape.head_dim;
    Problem all = p;
    Floats q, k, v, g;
    copy_rows(p, ranks.size(), member, wide, all.q, q, true);
    copy_rows(p, ranks.size(), member, narrow, all.k, k, true);
    copy_rows(p, ranks.size(), member, narrow, all.v, v, true);
    copy_rows(p, ranks.size(), member, wide, all.out_gradient, g, true);
    const RingGroup group{&communicator, ranks, member, 4};
    Floats out(q.size()), sums(q.size() / static_cast<std::size_t>(p.shape.head_dim));
    const std::uint64_t seen = ring_attention(p.shape, p.lengths, group, {q, k, v, out, sums});
    if (pairs != nullptr) (*pairs)[member] = seen;
    Floats dq(q.size()), dk(k.size()), dv(k.size());
    ring_attention_backward(p.shape, p.lengths, group, {q, k, v, out, sums, g, dq, dk, dv});
    copy_rows(p, ranks.size(), member, wide, answer.out, out, false);
    copy_rows(p, ranks.size(), member, wide, answer.dq, dq, false);
    copy_rows(p, ranks.size(), member, narrow, answer.dk, dk, false);
    copy_rows(p, ranks.size(), member, narrow, answer.dv, dv, false);
  });
  return answer;
}

void expect_near(const Floats& a, const Floats& b, double tolerance, const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(double{a[i]} - b[i]));
  EXPECT_LE(worst, tolerance) << what;
}

TEST(RingAttention, EqualsDenseAttentionForwardAndBackward) {
  // Uneven lengths, one below 2 N for every N, one of a single token, one over several tiles.
  const Problem problem({2, 2, 8, 0.35f}, {37, 1, 5, 310, 64});
  const Answer wanted = dense(problem);
  for (int n = 1; n <= 5; ++n) {
    std::vector<std::uint16_t> ranks(static_cast<std::size_t>(n));
    std::iota(ranks.begin(), ranks.end(), std::uint16_t{0});
    const Answer got = by_ring(problem, ranks, n);
    const std::string what = "N = " + std::to_string(n);
    expect_near(got.out, wanted.out, 3e-6, what + ", out");
    expect_near(got.dq, wanted.dq, 2e-5, what + ", dQ");
    expect_near(got.dk, wanted.dk, 2e-5, what + ", dK");
    expect_near(got.dv, wanted.dv, 2e-5, what + ", dV");
  }
}

TEST(RingAttention, QueryHeadsShareKeyHeads) {
  const Problem problem({4, 2, 4, 0.5f}, {23, 40});
  const Answer wanted = dense(problem), got = by_ring(problem, {0, 1, 2}, 3);
  expect_near(got.out, wanted.out, 3e-6, "out");
  expect_near(got.dk, wanted.dk, 2e-5, "dK");
  expect_near(got.dv, wanted.dv, 2e-5, "dV");
}

TEST(RingAttention, GroupsAreAnyRanksInAnyOrder) {
  const Problem problem({1, 1, 8, 0.3f}, {50, 9});
  const Answer wanted = dense(problem), got = by_ring(problem, {4, 1, 3}, 6);
  expect_near(got.out, wanted.out, 3e-6, "out");
  expect_near(got.dq, wanted.dq, 2e-5, "dQ");
}

TEST(RingAttention, MembersHoldEqualRowsAndEqualCausalAreas) {
  const Problem problem({1, 1, 4, 0.5f}, {800, 240});
  std::vector<std::uint64_t> pairs;
  by_ring(problem, {0, 1, 2, 3}, 4, &pairs);
  std::uint64_t all = 0;
  for (const std::uint32_t length : problem.lengths) all += std::uint64_t{length} * (length + 1) / 2;
  EXPECT_EQ(std::accumulate(pairs.begin(), pairs.end(), std::uint64_t{0}), all);
  for (std::size_t member = 0; member < 4; ++member) {
    EXPECT_EQ(ring_rows(problem.lengths, 4, member), 260);
    EXPECT_EQ(pairs[member], all / 4);
  }
}

TEST(RingAttention, PiecesCoverEverySequenceOnce) {
  const std::vector<std::uint32_t> lengths = {1, 7, 100, 3};
  for (std::size_t n = 1; n <= 5; ++n) {
    std::vector<std::vector<int>> seen;
    for (const std::uint32_t length : lengths) seen.emplace_back(length, 0);
    for (std::size_t member = 0; member < n; ++member) {
      std::int64_t row = 0;
      for (const RingPiece& piece : ring_pieces(lengths, n, member)) {
        EXPECT_EQ(piece.row, row);
        row += piece.count;
        for (std::int64_t i = 0; i < piece.count; ++i)
          ++seen[piece.sequence][static_cast<std::size_t>(piece.position + i)];
      }
      EXPECT_EQ(row, ring_rows(lengths, n, member));
    }
    for (const auto& tokens : seen)
      EXPECT_EQ(std::count(tokens.begin(), tokens.end(), 1), std::ssize(tokens));
  }
}

TEST(RingAttention, LargeScoresStayFinite) {
  Problem problem({1, 1, 4, 1.0f}, {30});
  for (float& x : problem.q) x *= 100;
  const Answer wanted = dense(problem), got = by_ring(problem, {0, 1}, 2);
  expect_near(got.out, wanted.out, 1e-4, "out");
}

TEST(RingAttention, RefusesShapesThatDoNotFit) {
  const std::uint16_t alone[] = {0};
  Floats x(8), sums(2);
  const std::vector<std::uint32_t> lengths = {2};
  EXPECT_THROW(ring_attention({3, 2, 1, 1}, lengths, {nullptr, alone, 0, 0}, {x, x, x, x, sums}), Error);
  EXPECT_THROW(ring_attention({1, 1, 2, 1}, lengths, {nullptr, alone, 0, 0}, {x, x, x, x, sums}), Error);
  const std::uint16_t two[] = {0, 1};
  EXPECT_THROW(ring_attention({1, 1, 8, 1}, lengths, {nullptr, two, 0, 0}, {x, x, x, x, sums}), Error);
}

TEST(RingAttention, ABlockOfAnotherSizeIsRefused) {
  EXPECT_THROW(
      run_ranks(
          2,
          [](Communicator& communicator) {
            const std::uint16_t ranks[] = {0, 1};
            // The ranks do not agree on how long the sequence is.
            const std::vector<std::uint32_t> lengths = {communicator.rank() == 0 ? 8u : 12u};
            const auto member = static_cast<std::size_t>(communicator.rank());
            const auto rows = static_cast<std::size_t>(ring_rows(lengths, 2, member));
            Floats x(rows * 2), out(rows * 2), sums(rows);
            ring_attention({1, 1, 2, 1}, lengths, {&communicator, ranks, member, 0}, {x, x, x, out, sums});
          }),
      Error);
}

}  // namespace
}  // namespace laconic
