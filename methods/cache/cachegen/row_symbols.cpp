#include "methods/cache/cachegen/row_symbols.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/base/finite.h"

namespace laconic {
namespace {

constexpr float most_f16 = 65504;
constexpr std::int64_t most_group = 1 << 16;

float within_f16(float value) { return std::clamp(value, -most_f16, most_f16); }

// The type in which all of the parameters keep 11 bits.
DType type_for(std::initializer_list<std::span<const float>> parameters, DType wished) {
  if (wished == DType::f32) return wished;
  for (const std::span<const float> list : parameters) {
    for (const float value : list) {
      if (!(std::abs(rounded_to(DType::f16, value) - value) <= std::abs(value) * 0x1p-10f)) return DType::f32;
    }
  }
  return DType::f16;
}

void round_all(std::vector<float>& values, DType dtype) {
  for (float& value : values) value = rounded_to(dtype, value);
}

std::int32_t symbol_of(float difference, float step) {
  if (step == 0) return 0;
  const float number = std::nearbyint(difference / step);
  require(std::abs(number) <= 0x1p30f, "a step is not so small that numbers leave 30 bits");
  return static_cast<std::int32_t>(number);
}

float anchor_value(std::int8_t q, float peak) { return static_cast<float>(q) / 127.0f * peak; }

RowSymbols empty_symbols(RowSymbols::Form form, std::int64_t rows, std::int64_t columns) {
  RowSymbols symbols;
  symbols.form = form;
  symbols.rows = rows;
  symbols.columns = columns;
  return symbols;
}

float step_of(const RowSymbols& symbols, std::int64_t column) {
  return symbols.steps[symbols.steps.size() == 1 ? 0 : static_cast<std::size_t>(column)];
}

// The mean of a pair of channels turned by the angle of row r.
float turned_part(const RowSymbols& symbols, const KeyTurns& turns, std::int64_t column, std::int64_t row) {
  const std::int64_t half = turns.head_dim / 2, j = column % turns.head_dim, pair = j % half;
  const std::size_t at = static_cast<std::size_t>(pair * turns.rows + row);
  const auto c = static_cast<std::size_t>(column), h = static_cast<std::size_t>(half);
  if (j < half) return symbols.means[c] * turns.cosine[at] - symbols.means[c + h] * turns.sine[at];
  return symbols.means[c] * turns.cosine[at] + symbols.means[c - h] * turns.sine[at];
}

void write_numbers(ByteWriter& writer, const std::vector<float>& numbers, DType dtype) {
  Bytes stored(numbers.size() * size_of(dtype));
  convert_from_f32(numbers, dtype, stored.data());
  writer.append(stored);
}

std::vector<float> read_numbers(ByteReader& reader, std::int64_t count, DType dtype) {
  if (static_cast<std::uint64_t>(count) > reader.remaining() / size_of(dtype))
    reader.corrupt("parameters are cut off");
  std::vector<float> numbers(static_cast<std::size_t>(count));
  convert_to_f32(dtype, reader.take(numbers.size() * size_of(dtype)).data(), numbers);
  if (!all_finite(numbers)) reader.corrupt("a parameter that is not finite");
  return numbers;
}

// Sum over columns of the variance inside each, of rows that `counts` picks.
template <class Value, class Counts>
double variance_inside(std::int64_t rows, std::int64_t columns, const Value& value, const Counts& counts) {
  std::vector<double> sums(static_cast<std::size_t>(columns)), squares(sums.size());
  double picked = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    if (!counts(r)) continue;
    ++picked;
    for (std::int64_t c = 0; c < columns; ++c) {
      const double v = value(r, c);
      sums[static_cast<std::size_t>(c)] += v;
      squares[static_cast<std::size_t>(c)] += v * v;
    }
  }
  double variance = 0;
  for (std::size_t c = 0; c < sums.size() && picked > 0; ++c)
    variance += std::max(0.0, squares[c] / picked - sums[c] / picked * (sums[c] / picked));
  return variance / static_cast<double>(columns);
}

// Peaks and codes of the first tokens of all groups.
void make_anchors(const float* x, RowSymbols& symbols) {
  const std::int64_t columns = symbols.columns;
  for (std::int64_t g = 0; g < symbols.groups(); ++g) {
    const float* row = x + g * symbols.group * columns;
    float peak = 0;
    for (std::int64_t c = 0; c < columns; ++c) peak = std::max(peak, std::abs(row[c]));
    symbols.peaks.push_back(peak);
  }
}

void code_anchors(const float* x, RowSymbols& symbols) {
  const std::int64_t columns = symbols.columns;
  symbols.anchors.resize(static_cast<std::size_t>(symbols.groups() * columns));
  for (std::int64_t g = 0; g < symbols.groups(); ++g) {
    const float* row = x + g * symbols.group * columns;
    const float peak = symbols.peaks[static_cast<std::size_t>(g)];
    for (std::int64_t c = 0; c < columns; ++c) {
      const float q = peak == 0 ? 0 : std::nearbyint(row[c] / peak * 127.0f);
      symbols.anchors[static_cast<std::size_t>(g * columns + c)] =
          static_cast<std::int8_t>(std::clamp(q, -127.0f, 127.0f));
    }
  }
}

// The mean over tokens of the keys turned back; amplitudes of cos and sin cancel.
std::vector<float> mean_before_turns(const float* x, std::int64_t rows, std::int64_t columns,
                                     const KeyTurns& turns) {
  const std::int64_t half = turns.head_dim / 2;
  std::vector<float> means(static_cast<std::size_t>(columns));
  for (std::int64_t c = 0; c < columns; ++c) {
    const std::int64_t j = c % turns.head_dim;
    if (j >= half) continue;
    double first = 0, second = 0, amplitude = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
      const std::size_t at = static_cast<std::size_t>(j * turns.rows + r);
      const double cosine = turns.cosine[at], sine = turns.sine[at];
      const double a = x[r * columns + c], b = x[r * columns + c + half];
      first += a * cosine + b * sine;
      second += b * cosine - a * sine;
      amplitude += cosine * cosine + sine * sine;
    }
    means[static_cast<std::size_t>(c)] = static_cast<float>(amplitude > 0 ? first / amplitude : 0);
    means[static_cast<std::size_t>(c + half)] = static_cast<float>(amplitude > 0 ? second / amplitude : 0);
  }
  return means;
}

bool can_turn(const KeyTurns& turns, std::int64_t rows, std::int64_t columns) {
  return turns.head_dim > 1 && turns.rows == rows && columns % turns.head_dim == 0;
}

}  // namespace

KeyTurns::KeyTurns(const RopeTable& rope, std::int64_t width, std::int64_t first, std::int64_t count)
    : head_dim(width), rows(count) {
  const std::int64_t half = width / 2;
  std::vector<float> c, s;
  rope.fill(first, count, c, s);
  cosine.resize(c.size());
  sine.resize(s.size());
  for (std::int64_t r = 0; r < count; ++r) {
    for (std::int64_t i = 0; i < half; ++i) {
      cosine[static_cast<std::size_t>(i * count + r)] = c[static_cast<std::size_t>(r * half + i)];
      sine[static_cast<std::size_t>(i * count + r)] = s[static_cast<std::size_t>(r * half + i)];
    }
  }
}

void RowSymbols::expand(std::int64_t column, std::span<const std::int32_t> of_column, const KeyTurns& turns,
                        float* out) const {
  const auto number = [&](std::int64_t r) {
    return static_cast<float>(of_column[static_cast<std::size_t>(r)]);
  };
  switch (form) {
    case Form::plain: {
      const float w = step_of(*this, column);
      for (std::int64_t r = 0; r < rows; ++r) out[r] = within_f16(number(r) * w);
      return;
    }
    case Form::anchors: {
      const float w = step_of(*this, column);
      std::int64_t coded = 0;
      for (std::int64_t g = 0; g < groups(); ++g) {
        const float anchor = anchor_value(anchors[static_cast<std::size_t>(g * columns + column)],
                                          peaks[static_cast<std::size_t>(g)]);
        const std::int64_t begin = g * group, end = std::min(rows, begin + group);
        out[begin] = within_f16(anchor);
        for (std::int64_t r = begin + 1; r < end; ++r) out[r] = within_f16(anchor + number(coded++) * w);
      }
      return;
    }
    case Form::turned_mean: {
      const float w = step_of(*this, column);
      const std::int64_t half = turns.head_dim / 2, j = column % turns.head_dim;
      const float own = means[static_cast<std::size_t>(column)];
      const float* cosine = turns.cosine.data() + (j % half) * rows;
      const float* sine = turns.sine.data() + (j % half) * rows;
      const float other = j < half ? -means[static_cast<std::size_t>(column + half)]
                                   : means[static_cast<std::size_t>(column - half)];
      for (std::int64_t r = 0; r < rows; ++r)
        out[r] = within_f16(own * cosine[r] + other * sine[r] + number(r) * w);
      return;
    }
    case Form::token_bins: {
      const auto centre = static_cast<float>(bins / 2 - 1);
      for (std::int64_t r = 0; r < rows; ++r)
        out[r] = within_f16((number(r) - centre) / centre * peaks[static_cast<std::size_t>(r)]);
      return;
    }
    case Form::channel_bins: {
      const auto centre = static_cast<float>(bins / 2 - 1);
      const float peak = peaks[static_cast<std::size_t>(column)];
      for (std::int64_t r = 0; r < rows; ++r) out[r] = within_f16((number(r) - centre) / centre * peak);
      return;
    }
  }
}

void RowSymbols::write_parameters(ByteWriter& writer) const {
  if (form == Form::token_bins || form == Form::channel_bins) {
    writer.u8(static_cast<std::uint8_t>(bins));
    write_numbers(writer, peaks, parameters);
    return;
  }
  require(steps.size() == 1, "rows are stored with one step");
  write_numbers(writer, steps, parameters);
  if (form == Form::turned_mean) write_numbers(writer, means, parameters);
  if (form != Form::anchors) return;
  writer.varint(static_cast<std::uint64_t>(group));
  write_numbers(writer, peaks, parameters);
  writer.append(std::as_bytes(std::span(anchors)));
}

RowSymbols RowSymbols::read_parameters(ByteReader& reader, Form form, DType parameters, std::int64_t rows,
                                       std::int64_t columns) {
  RowSymbols symbols = empty_symbols(form, rows, columns);
  symbols.parameters = parameters;
  if (form == Form::token_bins || form == Form::channel_bins) {
    symbols.bins = reader.u8();
    if (symbols.bins < 4 || symbols.bins % 2 != 0) reader.corrupt("a number of bins that is not possible");
    symbols.peaks = read_numbers(reader, form == Form::token_bins ? rows : columns, parameters);
    return symbols;
  }
  symbols.steps = read_numbers(reader, 1, parameters);
  if (symbols.steps.front() < 0) reader.corrupt("a step below 0");
  if (form == Form::turned_mean) symbols.means = read_numbers(reader, columns, parameters);
  if (form != Form::anchors) return symbols;
  symbols.group = static_cast<std::int64_t>(reader.length(most_group));
  if (symbols.group < 1) reader.corrupt("groups without tokens");
  symbols.peaks = read_numbers(reader, symbols.groups(), parameters);
  if (static_cast<std::uint64_t>(symbols.groups()) > reader.remaining() / static_cast<std::uint64_t>(columns))
    reader.corrupt("anchors are cut off");
  const ByteSpan codes = reader.take(static_cast<std::size_t>(symbols.groups() * columns));
  symbols.anchors.resize(codes.size());
  std::transform(codes.begin(), codes.end(), symbols.anchors.begin(),
                 [](std::byte code) { return static_cast<std::int8_t>(code); });
  return symbols;
}

RowSymbols plain_symbols(const float* x, std::int64_t rows, std::int64_t columns,
                         std::span<const float> steps, DType dtype) {
  RowSymbols symbols = empty_symbols(RowSymbols::Form::plain, rows, columns);
  symbols.parameters = type_for({steps}, dtype);
  symbols.steps.assign(steps.begin(), steps.end());
  round_all(symbols.steps, symbols.parameters);
  symbols.numbers.reserve(static_cast<std::size_t>(rows * columns));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c)
      symbols.numbers.push_back(symbol_of(x[r * columns + c], step_of(symbols, c)));
  }
  return symbols;
}

RowSymbols anchor_symbols(const float* x, std::int64_t rows, std::int64_t columns, std::int64_t group,
                          std::span<const float> steps, DType dtype) {
  require(group >= 1 && group <= most_group, "a group has tokens");
  RowSymbols symbols = empty_symbols(RowSymbols::Form::anchors, rows, columns);
  symbols.group = group;
  symbols.steps.assign(steps.begin(), steps.end());
  make_anchors(x, symbols);
  symbols.parameters = type_for({symbols.steps, symbols.peaks}, dtype);
  round_all(symbols.steps, symbols.parameters);
  round_all(symbols.peaks, symbols.parameters);
  code_anchors(x, symbols);
  symbols.numbers.reserve(static_cast<std::size_t>(symbols.coded_rows() * columns));
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int64_t g = r / group;
    if (r % group == 0) continue;
    for (std::int64_t c = 0; c < columns; ++c) {
      const float anchor = anchor_value(symbols.anchors[static_cast<std::size_t>(g * columns + c)],
                                        symbols.peaks[static_cast<std::size_t>(g)]);
      symbols.numbers.push_back(symbol_of(x[r * columns + c] - anchor, step_of(symbols, c)));
    }
  }
  return symbols;
}

RowSymbols turned_symbols(const float* x, std::int64_t rows, std::int64_t columns, const KeyTurns& turns,
                          std::span<const float> steps, DType dtype) {
  require(can_turn(turns, rows, columns), "keys are turned by the angles of their rows");
  RowSymbols symbols = empty_symbols(RowSymbols::Form::turned_mean, rows, columns);
  symbols.steps.assign(steps.begin(), steps.end());
  symbols.means = mean_before_turns(x, rows, columns, turns);
  symbols.parameters = type_for({symbols.steps}, dtype);
  for (const float mean : symbols.means) {
    if (std::abs(mean) > most_f16) symbols.parameters = DType::f32;
  }
  round_all(symbols.steps, symbols.parameters);
  round_all(symbols.means, symbols.parameters);
  symbols.numbers.reserve(static_cast<std::size_t>(rows * columns));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      symbols.numbers.push_back(
          symbol_of(x[r * columns + c] - turned_part(symbols, turns, c, r), step_of(symbols, c)));
    }
  }
  return symbols;
}

RowSymbols bin_symbols(const float* x, std::int64_t rows, std::int64_t columns, int bins, bool by_channel,
                       DType dtype) {
  require(bins >= 4 && bins <= 254 && bins % 2 == 0, "bins are an even number from 4 to 254");
  RowSymbols symbols = empty_symbols(
      by_channel ? RowSymbols::Form::channel_bins : RowSymbols::Form::token_bins, rows, columns);
  symbols.bins = bins;
  symbols.peaks.resize(static_cast<std::size_t>(by_channel ? columns : rows));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      float& peak = symbols.peaks[static_cast<std::size_t>(by_channel ? c : r)];
      peak = std::max(peak, std::abs(x[r * columns + c]));
    }
  }
  symbols.parameters = type_for({symbols.peaks}, dtype);
  round_all(symbols.peaks, symbols.parameters);
  const auto centre = static_cast<float>(bins / 2 - 1);
  symbols.numbers.reserve(static_cast<std::size_t>(rows * columns));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      const float peak = symbols.peaks[static_cast<std::size_t>(by_channel ? c : r)];
      const float number = peak == 0 ? 0 : std::nearbyint(x[r * columns + c] / peak * centre);
      // A peak that was rounded down would put its own number one beyond the last bin.
      symbols.numbers.push_back(static_cast<std::int32_t>(std::clamp(number, -centre, centre) + centre));
    }
  }
  return symbols;
}

RowSpread spread_of(const float* x, std::int64_t rows, std::int64_t columns, std::int64_t group,
                    const KeyTurns& turns) {
  RowSpread spread;
  const auto all = [](std::int64_t) { return true; };
  for (std::int64_t i = 0; i < rows * columns; ++i)
    spread.largest = std::max(spread.largest, static_cast<double>(std::abs(x[i])));
  spread.plain = variance_inside(
      rows, columns, [&](std::int64_t r, std::int64_t c) { return x[r * columns + c]; }, all);
  RowSymbols references = empty_symbols(RowSymbols::Form::anchors, rows, columns);
  references.group = group;
  make_anchors(x, references);
  code_anchors(x, references);
  const auto delta = [&](std::int64_t r, std::int64_t c) {
    const std::int64_t g = r / group;
    return x[r * columns + c] - anchor_value(references.anchors[static_cast<std::size_t>(g * columns + c)],
                                             references.peaks[static_cast<std::size_t>(g)]);
  };
  spread.anchors = variance_inside(rows, columns, delta, [&](std::int64_t r) { return r % group != 0; });
  double sum = 0, squares = 0, count = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    if (r % group == 0) continue;
    for (std::int64_t c = 0; c < columns; ++c) {
      const double e = delta(r, c);
      sum += e;
      squares += e * e;
      ++count;
    }
  }
  if (count > 0)
    spread.delta_deviation = std::sqrt(std::max(0.0, squares / count - sum / count * (sum / count)));
  if (can_turn(turns, rows, columns)) {
    references.means = mean_before_turns(x, rows, columns, turns);
    spread.turned_mean = variance_inside(
        rows, columns,
        [&](std::int64_t r, std::int64_t c) {
          return x[r * columns + c] - turned_part(references, turns, c, r);
        },
        all);
  }
  return spread;
}

}  // namespace laconic
