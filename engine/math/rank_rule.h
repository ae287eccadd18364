// How many singular values to keep. With s_1 >= s_2 >= ... the values and E = sum s_i^2:
//   fixed(r)             r, at most all
//   energy(e)            least r with s_1^2 + ... + s_r^2 >= e E; at least 1
//   value(t)             how many s_i >= t
//   fraction(q)          q of all, to the nearest; at least 1
//   relative_error(d)    least r with s_{r+1}^2 + ... <= d^2 / cuts E; `cuts` truncations in a row, each by
//   this
//                        rule, stay within d of the whole (Oseledets 2011)
// Values at or below 1e-7 s_1 are rounding: energy, value and relative_error never keep them.
#pragma once

#include <cstdint>
#include <span>

namespace laconic {

struct RankRule {
  enum class Kind { fixed, energy, value, fraction, relative_error };
  Kind kind = Kind::fixed;
  double parameter = 1;
  int cuts = 1;

  // Whether the rank depends on the singular values and not on their number alone.
  bool needs_values() const { return kind != Kind::fixed && kind != Kind::fraction; }
};

inline constexpr double relative_rank_cutoff = 1e-7;

// `values` descending and not negative.
std::int64_t rank_of(const RankRule& rule, std::span<const double> values);
std::int64_t rank_of(const RankRule& rule, std::span<const float> values);
// The same for rules that do not need values: of `count` of them.
std::int64_t rank_of(const RankRule& rule, std::int64_t count);

// Factors [rows, rank] and [rank, columns] hold fewer numbers than the matrix. Keep it dense otherwise.
constexpr bool factors_are_smaller(std::int64_t rank, std::int64_t rows, std::int64_t columns) {
  return rank > 0 && rank * (rows + columns) < rows * columns;
}

}  // namespace laconic
