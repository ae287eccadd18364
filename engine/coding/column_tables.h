// The tables of many columns of whole numbers and their stored form, for coders that use one table per column
// (rans_columns.h). Few rows do not pay for tables of counts, so a column has either
//   Gaussian   scale and mean (gaussian_tables.h), about a byte
//   fitted     the frequencies of its numbers (frequency_table.h), or
//   all columns share one fitted table.
// The encoder takes what makes tables and numbers together smallest. No table makes a number certain: each
// costs at least 1/4096 of a bit or so.
//
// Stored form: u8 form {0 Gaussian, 1 fitted, 2 either, 3 shared}; then bits, filled up to a byte:
//   Gaussian and either: 4 bits Rice parameter of scales, 4 bits of means
//   per column (shared: once), in order
//     either     1 bit: fitted
//     Gaussian   Rice of zig-zag of the scale's difference to the last Gaussian column (first: to 24),
//                Rice of zig-zag of the mean in steps of 1/8 below sigma 1, 1/4 below 2, 1/2 below 4, else 1
//     fitted     Elias-gamma of 1 + zig-zag of the lowest number, 1 bit: the last symbol is the escape, the
//                frequencies
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/coding/rans_columns.h"

namespace laconic {

class ColumnTables {
 public:
  enum class Choice { smallest, gaussian, fitted, shared };

  // `values` [rows, stride], rows >= 1, columns of each row. With `escape`, fitted tables can also code
  // numbers that were not seen. Numbers lie within +-2^30.
  static ColumnTables fit(const std::int32_t* values, std::int64_t rows, std::int64_t stride,
                          std::int64_t columns, Choice choice = Choice::smallest, bool escape = false);
  void write(ByteWriter& writer) const;
  // Error(corrupt) on anything write() does not write.
  static ColumnTables read(ByteReader& reader, std::int64_t columns);

  std::span<const IntegerColumn> columns() const { return columns_; }

 private:
  enum class Form : std::uint8_t { gaussian, fitted, either, shared };
  struct Column {
    int scale = -1;  // of a Gaussian one; -1: fitted
    std::int64_t mean = 0;
    std::int32_t lowest = 0;  // of a fitted one
    bool escape = false;
    std::vector<std::uint32_t> frequencies;
  };
  void make_columns(std::int64_t count);
  void choose_parameters();

  Form form_ = Form::gaussian;
  std::uint8_t scale_rice_ = 0, mean_rice_ = 0;
  std::vector<Column> stated_;  // one per column, or one for all
  std::vector<std::unique_ptr<const FrequencyTable>> fitted_;
  std::vector<IntegerColumn> columns_;
};

}  // namespace laconic
