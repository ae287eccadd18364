// Reads columns from their streams: makes their values, or only reads past them.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "engine/column/column_streams.h"
#include "engine/column/column_view.h"
#include "engine/column/decoded_group.h"
#include "engine/column/prediction_codec.h"

namespace laconic {

// What decoding `columns` columns of a set may take, in bytes: for every column and every column that it is
// made of, also one that is only read past, 128 bytes, its values, and 4 bytes a row, for numbers 8 more.
// Below 2^32. `value_bytes`: see ColumnSetReader.
std::uint64_t decoding_budget(std::size_t columns, std::uint64_t value_bytes);

class ColumnDecoder {
 public:
  // One of the columns that lie beside each other in the streams.
  struct Sibling {
    std::size_t rows = 0;
    DecodedGroup* group = nullptr;
    bool wanted = false;
    std::uint32_t owner = 0;
  };

  // `budget`: what columns may take, as decoding_budget says.
  explicit ColumnDecoder(std::uint64_t budget) { in_.budget = budget; }
  ColumnCursors& cursors() { return in_; }

  // How many siblings, from the first on, one descriptor holds: more than one when they are joined.
  // Their values, where wanted, and their entries in the groups.
  std::size_t take(std::span<const Sibling> siblings, std::vector<std::shared_ptr<const ColumnText>>& out,
                   int depth = 0);

  // Owners of the columns referred to since the last call, with repetitions.
  std::vector<std::uint32_t> take_references() { return std::exchange(references_, {}); }

 private:
  struct Place {
    std::size_t rows = 0;
    DecodedGroup* group = nullptr;
    std::uint32_t owner = 0;
    int depth = 0;
  };
  void take_one(const Place& place, ColumnText* out);
  void take_by_code(std::uint8_t code, const Place& place, ColumnText* out);
  void take_number_column(std::uint8_t code, const Place& place, ColumnText* out);
  void take_equal(const Place& place, ColumnText* out);
  void take_predicted(Prediction prediction, const Place& place, ColumnText* out);
  void take_split(bool from_end, const Place& place, ColumnText* out);
  std::vector<std::shared_ptr<const ColumnText>> take_words(bool from_end, const Place& place,
                                                            ColumnView patterns, bool wanted);
  std::size_t take_joined(std::span<const Sibling> siblings,
                          std::vector<std::shared_ptr<const ColumnText>>& out);
  const DecodedColumn& referred(const Place& place);
  void join_group(DecodedGroup* group, DecodedColumn column);
  ColumnView values_of(const DecodedColumn& column, const Place& place);

  ColumnCursors in_;
  std::vector<std::uint32_t> references_;
};

}  // namespace laconic
