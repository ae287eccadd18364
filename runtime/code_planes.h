// Codes of a matrix [rows, columns], 1 to 8 bits each, laid out for products with a vector: neighbouring rows
// stand in neighbouring 32-bit lanes, so that one activation meets a whole vector of rows and no sum ever
// crosses lanes.
//
// A code of b bits is split into parts whose widths divide 32 (3 = 2 + 1, 5 = 4 + 1, 6 = 4 + 2, 7 = 4 + 2 +
// 1). In a part of width w, code j of a row lies in word j / (32 / w) at bit w * (j mod 32 / w). Rows are cut
// into tiles of 64, the rest into tiles of 8; inside a tile the parts follow each other, and in a part word i
// of all rows of the tile, then word i + 1. Rows past the end and bits past the last column are zero. The
// bytes are those of the stored form, up to a multiple of 8 rows and 32 bits per row and part.
//
// A lane's bits never move: (word & mask) is code * 2^(w k), exact as a float, and the activation it
// multiplies was scaled by 2^(-w k) beforehand. That leaves a mask, a conversion and a multiply-add for each
// vector of rows.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace laconic {

struct CodePart {
  int width = 0;            // 1, 2, 4 or 8
  int shift = 0;            // the part holds bits [shift, shift + width) of the code
  std::int64_t words = 0;   // per row
  std::int64_t offset = 0;  // words of the parts before it, per row
  int codes_per_word() const { return 32 / width; }
};

struct CodeTile {
  std::int64_t first_row = 0;
  std::int64_t rows = 0;  // wide_tile or narrow_tile, padding included
  const std::uint32_t* words = nullptr;
};

class CodePlanes {
 public:
  static constexpr std::int64_t wide_tile = 64, narrow_tile = 8;

  CodePlanes() = default;
  CodePlanes(std::int64_t rows, std::int64_t columns, int bits);  // all zero

  // Rows may be set from several threads, each row by one. codes [columns], each < 2^bits.
  void set_row(std::int64_t row, std::span<const std::uint8_t> codes);
  void get_row(std::int64_t row, std::span<std::uint8_t> codes) const;

  std::int64_t rows() const { return rows_; }
  std::int64_t columns() const { return columns_; }
  std::span<const CodePart> parts() const { return {parts_.data(), part_count_}; }
  std::int64_t tiles() const { return wide_tiles_ + narrow_tiles_; }
  CodeTile tile(std::int64_t index) const;
  std::int64_t tile_of(std::int64_t row) const;  // index of the tile that holds the row
  // Rows of all tiles, padding included.
  std::int64_t padded_rows() const { return wide_tiles_ * wide_tile + narrow_tiles_ * narrow_tile; }
  std::uint64_t bytes() const { return static_cast<std::uint64_t>(padded_rows() * row_words_) * 4; }

 private:
  struct Free {
    std::size_t bytes;
    void operator()(std::uint32_t* pointer) const;
  };
  std::uint32_t* word_of(std::int64_t row, std::int64_t word, std::int64_t& stride) const;

  std::int64_t rows_ = 0, columns_ = 0, row_words_ = 0;
  std::int64_t wide_tiles_ = 0, narrow_tiles_ = 0;
  std::array<CodePart, 3> parts_;
  std::size_t part_count_ = 0;
  std::unique_ptr<std::uint32_t[], Free> words_;
};

// Columns [begin, end) that share their grid parameters, and at most 512 of them, which bounds the rounding
// error of a sum that runs in one chain.
struct ColumnRun {
  std::int64_t begin = 0, end = 0, group = 0;
};
std::vector<ColumnRun> column_runs(std::int64_t columns, std::int64_t group_columns);

// One activation vector, prepared once for all rows.
struct PlaneInput {
  const float* plain = nullptr;              // x itself; borrowed, or in `product`
  std::vector<float> product;                // x times the factors, where there are any
  std::array<std::vector<float>, 3> scaled;  // by part: x_j 2^(shift - w k), padded with zeros to whole words
  std::vector<float> run_sum;                // sum of x over each run
};
// x [columns], which must outlive the input, times factors [columns] if given.
void prepare_input(const CodePlanes& planes, std::span<const ColumnRun> runs, const float* x,
                   const float* factors, PlaneInput& input);

}  // namespace laconic
