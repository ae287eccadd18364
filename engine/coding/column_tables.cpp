#include "engine/coding/column_tables.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/base/error.h"
#include "engine/coding/bit_stream.h"
#include "engine/coding/gaussian_tables.h"
#include "engine/coding/integer_codes.h"
#include "engine/coding/normalise.h"

namespace laconic {
namespace {

constexpr int first_scale = 24;  // sigma 2.1
constexpr int fitted_precision = 12;
constexpr std::int64_t most_fitted = 4096;  // symbols
constexpr int widest_rice = 15;
constexpr std::int64_t most_mean = std::int64_t{8} << 30;

// Eighths that a step of the mean stands for.
int mean_step(int scale) {
  const std::uint32_t sigma = gaussian_sigma(scale) >> 16;
  return sigma < 1 ? 1 : sigma < 2 ? 2 : sigma < 4 ? 4 : 8;
}

struct Placed {
  std::int32_t whole = 0;
  int eighth = 0;
};
Placed placed(int scale, std::int64_t mean) {
  const std::int64_t eighths = mean * mean_step(scale);
  const std::int64_t whole = (eighths + 4) >> 3;  // rounds down: eighth in -4 .. 3
  return {static_cast<std::int32_t>(whole), static_cast<int>(eighths - 8 * whole)};
}

// Numbers of a column and how often each occurs.
using Counted = std::vector<std::pair<std::int32_t, std::uint64_t>>;

Counted merged(Counted counts) {
  std::sort(counts.begin(), counts.end());
  Counted sums;
  for (const auto& [number, count] : counts) {
    if (sums.empty() || sums.back().first != number) sums.emplace_back(number, 0);
    sums.back().second += count;
  }
  return sums;
}

Counted counted(const std::int32_t* column, std::int64_t rows, std::int64_t stride) {
  std::int32_t lowest = *column, highest = *column;
  for (std::int64_t r = 1; r < rows; ++r) {
    lowest = std::min(lowest, column[r * stride]);
    highest = std::max(highest, column[r * stride]);
  }
  Counted counts;
  if (const std::int64_t span = std::int64_t{highest} - lowest; span < 4 * rows + 1024) {
    std::vector<std::uint64_t> histogram(static_cast<std::size_t>(span) + 1);
    for (std::int64_t r = 0; r < rows; ++r)
      ++histogram[static_cast<std::size_t>(column[r * stride] - lowest)];
    for (std::size_t i = 0; i < histogram.size(); ++i) {
      if (histogram[i] > 0) counts.emplace_back(lowest + static_cast<std::int32_t>(i), histogram[i]);
    }
    return counts;
  }
  for (std::int64_t r = 0; r < rows; ++r) counts.emplace_back(column[r * stride], 1);
  return merged(std::move(counts));
}

double coded_bits_of(const Counted& counts, const FrequencyTable& table, std::int64_t lowest) {
  const auto inside = static_cast<std::int64_t>(table.symbols()) - 1;
  double bits = 0;
  for (const auto& [number, count] : counts) {
    const std::int64_t offset = number - lowest;
    const bool escaped = offset < 0 || offset >= inside;
    const std::uint32_t frequency = table.frequency(static_cast<std::size_t>(escaped ? inside : offset));
    double each = 16 - std::log2(static_cast<double>(frequency));
    if (escaped) {
      const std::int64_t excess = offset < 0 ? offset : offset - inside + 1;
      each += static_cast<double>(elias_gamma_bits(zig_zag(excess)));
    }
    bits += static_cast<double>(count) * each;
  }
  return bits;
}

struct GaussianFit {
  int scale = first_scale;
  std::int64_t mean = 0;
  double bits = 0;  // of the numbers
};

GaussianFit fit_gaussian(const Counted& counts) {
  double sum = 0, squares = 0, all = 0;
  for (const auto& [number, count] : counts) {
    sum += static_cast<double>(count) * number;
    all += static_cast<double>(count);
  }
  const double mean = sum / all;
  for (const auto& [number, count] : counts)
    squares += static_cast<double>(count) * (number - mean) * (number - mean);
  const double sigma = std::sqrt(squares / all);
  int nearest = 0;
  while (nearest + 1 < gaussian_scales && gaussian_sigma(nearest) < sigma * 65536) ++nearest;
  GaussianFit best;
  best.bits = -1;
  for (int scale = std::max(0, nearest - 4); scale <= std::min(gaussian_scales - 1, nearest + 1); ++scale) {
    const auto place = static_cast<std::int64_t>(std::nearbyint(mean * 8 / mean_step(scale)));
    const Placed at = placed(scale, place);
    const IntegerTable& table = gaussian_table(scale, at.eighth);
    const double bits = coded_bits_of(counts, table.table, std::int64_t{at.whole} + table.lowest);
    if (best.bits < 0 || bits < best.bits) best = {scale, place, bits};
  }
  return best;
}

std::vector<std::uint32_t> fitted_frequencies(const Counted& counts, bool escape) {
  const std::int64_t span = std::int64_t{counts.back().first} - counts.front().first + 1;
  std::vector<std::uint64_t> spread(static_cast<std::size_t>(span + (escape ? 1 : 0)));
  for (const auto& [number, count] : counts)
    spread[static_cast<std::size_t>(number - counts.front().first)] = count;
  if (!escape) return fit_frequencies(spread, fitted_precision).frequencies;
  // What was not seen may come: every symbol has a frequency.
  spread.back() = 1;
  std::vector<std::uint32_t> frequencies = normalise(spread, 1u << fitted_precision, NormalisePolicy::spread);
  for (std::uint32_t& f : frequencies) f <<= frequency_bits - fitted_precision;
  return frequencies;
}

// Numbers that are far apart would make a table of mostly nothing.
bool can_be_fitted(const Counted& counts) {
  return std::int64_t{counts.back().first} - counts.front().first < most_fitted - 1 &&
         counts.size() < static_cast<std::size_t>(most_fitted);
}

}  // namespace

ColumnTables ColumnTables::fit(const std::int32_t* values, std::int64_t rows, std::int64_t stride,
                               std::int64_t columns, Choice choice, bool escape) {
  require(rows >= 1 && columns >= 1, "tables are fitted to numbers");
  const auto bits_of_table = [](const std::vector<std::uint32_t>& frequencies, std::int32_t lowest) {
    BitWriter writer;
    put_elias_gamma(writer, 1 + zig_zag(lowest));
    put_frequencies(writer, frequencies);
    return static_cast<double>(writer.bits()) + 1;
  };
  const auto fitted_column = [&](const Counted& counts, double& bits, double& table_bits) {
    Column column;
    column.lowest = counts.front().first;
    // A number is never for free: whoever reads can bound what a stream may hold.
    column.escape = escape || counts.size() == 1;
    column.frequencies = fitted_frequencies(counts, column.escape);
    std::vector<std::uint32_t> with_escape = column.frequencies;
    if (!column.escape) with_escape.push_back(0);
    bits = coded_bits_of(counts, FrequencyTable(with_escape), column.lowest);
    table_bits = bits_of_table(column.frequencies, column.lowest);
    return column;
  };

  std::vector<Column> gaussian, fitted, better;
  double gaussian_bits = 0, fitted_bits = 0, better_bits = 0;  // of the numbers
  bool all_fit = true;
  Counted all_counts;
  for (std::int64_t c = 0; c < columns; ++c) {
    const Counted counts = counted(values + c, rows, stride);
    all_counts.insert(all_counts.end(), counts.begin(), counts.end());
    if (choice == Choice::shared) continue;
    const GaussianFit found = fit_gaussian(counts);
    Column column;
    column.scale = found.scale;
    column.mean = found.mean;
    gaussian.push_back(column);
    gaussian_bits += found.bits;
    double bits = found.bits;
    if (can_be_fitted(counts) && choice != Choice::gaussian) {
      double fitted_numbers = 0, table = 0;
      Column other = fitted_column(counts, fitted_numbers, table);
      fitted.push_back(other);
      fitted_bits += fitted_numbers;
      constexpr double gaussian_table_bits = 8;  // about
      if (choice == Choice::fitted || fitted_numbers + table < found.bits + gaussian_table_bits) {
        column = std::move(other);
        bits = fitted_numbers;
      }
    } else {
      all_fit = false;
    }
    better.push_back(std::move(column));
    better_bits += bits;
  }

  ColumnTables best;
  double fewest = -1;
  const auto consider = [&](Form form, std::vector<Column> stated, double bits) {
    ColumnTables tables;
    tables.form_ = form;
    tables.stated_ = std::move(stated);
    tables.choose_parameters();
    ByteWriter writer;
    tables.write(writer);
    bits += 8 * static_cast<double>(writer.size());
    if (fewest >= 0 && bits >= fewest) return;
    fewest = bits;
    best = std::move(tables);
  };
  const bool any = choice == Choice::smallest;
  if (any || choice == Choice::gaussian) consider(Form::gaussian, std::move(gaussian), gaussian_bits);
  if ((any || choice == Choice::fitted) && all_fit) consider(Form::fitted, std::move(fitted), fitted_bits);
  if (any || (choice == Choice::fitted && !all_fit)) consider(Form::either, std::move(better), better_bits);
  if (any || choice == Choice::shared) {
    const Counted counts = merged(std::move(all_counts));
    const GaussianFit found = fit_gaussian(counts);
    std::vector<Column> one(1);
    double bits = 0, table = 0;
    if (can_be_fitted(counts)) {
      one.front() = fitted_column(counts, bits, table);
    } else {
      one.front().scale = found.scale;
      one.front().mean = found.mean;
      bits = found.bits;
    }
    consider(Form::shared, std::move(one), bits);
  }
  best.make_columns(columns);
  return best;
}

void ColumnTables::choose_parameters() {
  std::vector<std::uint64_t> scales, means;
  int before = first_scale;
  for (const Column& column : stated_) {
    if (column.scale < 0) continue;
    scales.push_back(zig_zag(column.scale - before));
    means.push_back(zig_zag(column.mean));
    before = column.scale;
  }
  scale_rice_ = static_cast<std::uint8_t>(best_golomb_rice(scales, widest_rice).parameter);
  mean_rice_ = static_cast<std::uint8_t>(best_golomb_rice(means, widest_rice).parameter);
}

void ColumnTables::make_columns(std::int64_t count) {
  columns_.reserve(static_cast<std::size_t>(count));
  for (Column& column : stated_) {
    if (column.scale >= 0) {
      const Placed at = placed(column.scale, column.mean);
      const IntegerTable& table = gaussian_table(column.scale, at.eighth);
      columns_.push_back({&table.table, at.whole + table.lowest});
      continue;
    }
    std::vector<std::uint32_t> frequencies = column.frequencies;
    if (!column.escape) frequencies.push_back(0);
    fitted_.push_back(std::make_unique<const FrequencyTable>(frequencies));
    columns_.push_back({fitted_.back().get(), column.lowest});
  }
  if (form_ == Form::shared) columns_.resize(static_cast<std::size_t>(count), columns_.front());
}

void ColumnTables::write(ByteWriter& writer) const {
  writer.u8(static_cast<std::uint8_t>(form_));
  BitWriter bits;
  const bool tells = form_ == Form::either || form_ == Form::shared;
  if (form_ != Form::fitted) {
    bits.put(scale_rice_, 4);
    bits.put(mean_rice_, 4);
  }
  int before = first_scale;
  for (const Column& column : stated_) {
    if (tells) bits.put(column.scale < 0 ? 1 : 0, 1);
    if (column.scale >= 0) {
      put_golomb_rice(bits, zig_zag(column.scale - before), scale_rice_);
      put_golomb_rice(bits, zig_zag(column.mean), mean_rice_);
      before = column.scale;
    } else {
      put_elias_gamma(bits, 1 + zig_zag(column.lowest));
      bits.put(column.escape ? 1 : 0, 1);
      put_frequencies(bits, column.frequencies);
    }
  }
  const Bytes filled = bits.take();
  writer.varint(filled.size());
  writer.append(filled);
}

ColumnTables ColumnTables::read(ByteReader& reader, std::int64_t columns) {
  ColumnTables tables;
  const std::uint8_t form = reader.u8();
  if (form > static_cast<std::uint8_t>(Form::shared)) reader.corrupt("tables of an unknown form");
  tables.form_ = static_cast<Form>(form);
  const std::string where = "tables of columns";
  BitReader bits(reader.take(reader.length(reader.remaining())), where);
  const bool tells = tables.form_ == Form::either || tables.form_ == Form::shared;
  if (tables.form_ != Form::fitted) {
    tables.scale_rice_ = static_cast<std::uint8_t>(bits.read(4));
    tables.mean_rice_ = static_cast<std::uint8_t>(bits.read(4));
  }
  const std::int64_t stated = tables.form_ == Form::shared ? 1 : columns;
  // Every column takes at least two bits.
  if (static_cast<std::uint64_t>(stated) > bits.remaining()) bits.corrupt("tables are cut off");
  std::int64_t before = first_scale;
  for (std::int64_t c = 0; c < stated; ++c) {
    Column column;
    const bool fitted = tells ? bits.read(1) == 1 : tables.form_ == Form::fitted;
    if (fitted) {
      const std::int64_t lowest = undo_zig_zag(read_elias_gamma(bits, std::uint64_t{1} << 32) - 1);
      if (lowest > most_coded_integer || lowest < -most_coded_integer)
        bits.corrupt("a table begins out of range");
      column.lowest = static_cast<std::int32_t>(lowest);
      column.escape = bits.read(1) == 1;
      column.frequencies = read_frequencies(bits, static_cast<std::size_t>(most_fitted));
    } else {
      before += undo_zig_zag(read_golomb_rice(bits, tables.scale_rice_, std::uint64_t{2} * gaussian_scales));
      if (before < 0 || before >= gaussian_scales) bits.corrupt("a table of an unknown scale");
      column.scale = static_cast<int>(before);
      column.mean = undo_zig_zag(read_golomb_rice(bits, tables.mean_rice_, 4 * most_mean));
      if (std::abs(column.mean) * mean_step(column.scale) > most_mean)
        bits.corrupt("a table's mean is out of range");
    }
    tables.stated_.push_back(std::move(column));
  }
  bits.expect_end();
  tables.make_columns(columns);
  return tables;
}

}  // namespace laconic
