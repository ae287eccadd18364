// Cached rows as whole numbers, the lossy half of CacheGen. x is a row over all heads of one side of a layer.
//
//   form          number                              decoded                            parameters
//   plain         n = round(x / w)                    n w                                w
//   anchors       n = round((x - a') / w)             a' + n w                           w, m and q of
//   anchors
//                 a' = q / 127 m the decoded first token of a group of G, q = round(a / m 127), m = max |a|
//                 over the row; the anchors themselves have no numbers (CacheGen, steps 1 to 3)
//   turned_mean   n = round((x - R_t u) / w)          R_t u + n w                        w, u
//                 keys about the mean u of the keys before they were turned by their positions (R_t)
//   token_bins    n = round(x / m C) + C              (n - C) / C m                      m of each token
//   channel_bins  the same                            the same                           m of each channel
//                 m = max |x| of the token or channel, C = bins / 2 - 1 (the released code's quantiser)
//
// Rounding is to nearest even; parameters are rounded to their type first. An all-zero token, channel or
// group has m = 0 and decodes to zeros. Decoded numbers lie within the range of f16.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/tensor/dtype.h"
#include "runtime/rope.h"

namespace laconic {

// cos and sin of the angles that turn the keys of a run of tokens, one line per pair of channels: [half,
// rows]. Positions are those of the model's rotary table.
struct KeyTurns {
  KeyTurns() = default;
  KeyTurns(const RopeTable& rope, std::int64_t head_dim, std::int64_t first, std::int64_t rows);
  std::int64_t head_dim = 0, rows = 0;
  std::vector<float> cosine, sine;
};

struct RowSymbols {
  enum class Form : std::uint8_t { plain, anchors, turned_mean, token_bins, channel_bins };
  Form form = Form::plain;
  DType parameters = DType::f16;  // or f32
  std::int64_t rows = 0, columns = 0;
  std::int64_t group = 0;             // anchors: tokens of a group
  int bins = 0;                       // 4 to 254, even
  std::vector<float> steps;           // w: one, or one per column (never stored)
  std::vector<float> peaks;           // m: of each group, token or channel
  std::vector<std::int8_t> anchors;   // q [groups, columns]
  std::vector<float> means;           // u [columns]
  std::vector<std::int32_t> numbers;  // [coded_rows, columns]

  std::int64_t groups() const { return (rows + group - 1) / group; }
  std::int64_t coded_rows() const { return form == Form::anchors ? rows - groups() : rows; }
  // Values of a column, [rows], from its numbers [coded_rows].
  void expand(std::int64_t column, std::span<const std::int32_t> of_column, const KeyTurns& turns,
              float* out) const;
  // Everything but form, parameters, rows, columns and numbers.
  void write_parameters(ByteWriter& writer) const;
  static RowSymbols read_parameters(ByteReader& reader, Form form, DType parameters, std::int64_t rows,
                                    std::int64_t columns);
};

// x [rows, columns], finite. `steps`: one, or one per column. `dtype`: f16 becomes f32 where it would lose
// more than 2^-10 of a parameter.
RowSymbols plain_symbols(const float* x, std::int64_t rows, std::int64_t columns,
                         std::span<const float> steps, DType dtype);
RowSymbols anchor_symbols(const float* x, std::int64_t rows, std::int64_t columns, std::int64_t group,
                          std::span<const float> steps, DType dtype);
RowSymbols turned_symbols(const float* x, std::int64_t rows, std::int64_t columns, const KeyTurns& turns,
                          std::span<const float> steps, DType dtype);
RowSymbols bin_symbols(const float* x, std::int64_t rows, std::int64_t columns, int bins, bool by_channel,
                       DType dtype);

// What is left of the rows when their reference is taken away, as far as choosing it and a step needs:
// variance inside the channels, mean over channels, and for anchors the deviation of all deltas together.
struct RowSpread {
  double plain = 0;         // variances
  double anchors = 0;       // of the deltas, tokens that are not anchors
  double turned_mean = -1;  // less than 0: there are no turns
  double delta_deviation = 0;
  double largest = 0;  // magnitude of a number
};
RowSpread spread_of(const float* x, std::int64_t rows, std::int64_t columns, std::int64_t group,
                    const KeyTurns& turns);

}  // namespace laconic
