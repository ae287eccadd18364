// What attention must move between a fast memory of M words and a slow one that holds everything (a word is
// one number): exact words of three schedules and a lower bound for all. Saha and Ye 2024, arXiv 2402.07443;
// the constants are derived here.
//
//   fa1    FlashAttention (Dao et al. 2022): keys and values in blocks of Bc = M / (4 d) rows; every block
//   passes over
//          all query rows, whose O, l, m are read and written each time.  2 N d + ceil(N / Bc) N (3 d + 4)
//   qstat  Br = (M - 2 d) / (2 d + 3) query rows stay with their O, m, l and one score each; keys and values
//   stream by,
//          one row at a time.                                             2 N d + 2 N d ceil(N / Br)
//   small  for M < d^2: tiles of b x b scores, b^2 + 4 b <= M, are written to slow memory and read back.
//                                                                          about 4 N^2 d / b + N^2
//
// Lower bound: cut a run into epochs of M transfers. In one at most 2 M words are accessible, so at most M^2
// / d products belong to dot products that start and end in it (q + k rows of d words make q k pairs), and by
// Loomis and Whitney at most 2 M^1.5 to the at most 4 M sums that cross its ends. Hence P pairs of d products
// take at least
//   P d / (M / d + 2 sqrt(M)) - M
// transfers, for classical multiplication; and every row that counts is read or written once (4 N d without a
// mask).
#pragma once

#include <cstdint>
#include <string_view>

#include "engine/attention/mask.h"

namespace laconic {

struct AttentionShape {
  std::int64_t queries = 0, keys = 0, head_dim = 0;
  AttentionMask mask;
};

// Refuses (Error(usage)) sides below 1, more than 2^24 rows or 4096 columns: all counts then fit 64 bits.
void validate(const AttentionShape& shape);

enum class AttentionSchedule { fa1, qstat, small };
constexpr AttentionSchedule attention_schedules[] = {AttentionSchedule::fa1, AttentionSchedule::qstat,
                                                     AttentionSchedule::small};
std::string_view name_of(AttentionSchedule schedule);

// Those of a schedule are set, the others 0. fa1: Br is the block of query rows that a mask removes as one.
struct ScheduleTiles {
  std::int64_t Br = 0, Bc = 0, b = 0;
  bool operator==(const ScheduleTiles&) const = default;
};

// The least M: 4 d + 8 words for fa1 and qstat, 12 for small.
std::int64_t minimum_words(AttentionSchedule schedule, std::int64_t head_dim);
// The largest tiles that fit; below the minimum Error(usage) names it.
ScheduleTiles tiles_of(AttentionSchedule schedule, const AttentionShape& shape, std::int64_t words);

struct MovedWords {
  std::uint64_t reads = 0, writes = 0;  // words
  std::uint64_t total() const { return reads + writes; }
  bool operator==(const MovedWords&) const = default;
};
// Exactly what a run of the schedule moves (scheduled_attention.h). A mask removes tiles, never parts of one.
MovedWords traffic_of(AttentionSchedule schedule, const AttentionShape& shape, const ScheduleTiles& tiles);

// Words of keys and values among the reads: what a compressed cache makes cheaper.
std::uint64_t key_value_reads(AttentionSchedule schedule, const AttentionShape& shape,
                              const ScheduleTiles& tiles);

// Pairs of a query and a key that it sees.
std::uint64_t visible_pairs(const AttentionShape& shape);
// Words that any schedule of classical multiplication moves, to the nearest integer.
std::uint64_t least_traffic(const AttentionShape& shape, std::int64_t words);

// Degrees of freedom of a q x k block of Q K^T with inner size d, the rank of its derivative: d (q + k - d),
// or q k where one side is below d. An epoch that emits the block takes as many words, by whatever way it
// multiplies.
std::int64_t degrees_of_freedom(std::int64_t q, std::int64_t k, std::int64_t d);

}  // namespace laconic
