// An ordered list of columns as typed streams, and back (card 34, steps 3 and 5).
//
// Every column is coded by the cheapest of the codecs of column_codes.h, found by trial; equal kinds of bytes
// of all columns lie beside each other, one stream per kind, so that a solid byte coder (stream_bundle.h)
// does best on them. Columns of one group have their rows in common, so that a codec may use earlier columns
// of the group. Neither numbers of rows nor lengths of parts are stored: who decodes says how many rows each
// column has.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/column/column_streams.h"
#include "engine/column/column_view.h"

namespace laconic {

struct ColumnOptions {
  bool cross_columns = true;  // X: equal to, linear in or predicted by another column of its group
  bool deltas = true;         // D, DD and joined numbers
  bool dictionaries = true;   // M and R
  bool sub_columns = true;    // splitting at delimiters and borders
  // Codecs are chosen by trial on so many first rows; 1024 is a choice for speed.
  std::uint32_t sample_rows = 65536;
  // Columns whose parts take more than this get streams of their own, and can be read without the others.
  // 0: none does.
  std::uint64_t own_stream_bytes = 0;
};

struct ColumnInput {
  ColumnView values;
  // Columns with equal numbers here and equally many rows are aligned: row i of each belongs to the same
  // record.
  std::uint32_t group = 0;
};

struct ColumnStream {
  ColumnStreamKind kind = ColumnStreamKind::descriptor;
  // 0: bytes of many columns; j + 1: all bytes of this kind of column j.
  std::uint32_t owner = 0;
  Bytes bytes;
};

// Streams that hold no bytes are left out; they are ordered by (owner, kind).
std::vector<ColumnStream> encode_columns(std::span<const ColumnInput> columns,
                                         const ColumnOptions& options = {});

// Of a column that is to be decoded.
struct ColumnShape {
  std::uint32_t rows = 0;
  std::uint32_t group = 0;
};

struct ColumnStreamView {
  ColumnStreamKind kind = ColumnStreamKind::descriptor;
  std::uint32_t owner = 0;
  ByteSpan bytes;
};

// Decodes columns one by one. Error(corrupt) when the streams are not what encode_columns makes of columns of
// these shapes. What must be there for one column: the shared streams, and the own streams of that column and
// of those that it refers to. Columns before it in the shared streams are read past without making their
// values. Bytes that no column takes are an Error(corrupt) as well, where their streams were read to the end.
class ColumnSetReader {
 public:
  // Gives the streams of an owner when they are first needed; their bytes must outlive the reader.
  using Loader = std::function<std::vector<ColumnStreamView>(std::uint32_t owner)>;

  // `value_bytes` bounds the bytes of all values together, where an empty one counts as a byte. From it and
  // the number of columns follows what decoding may take at all (decoding_budget); in any case below 4 GiB.
  ColumnSetReader(std::span<const ColumnShape> shapes, std::uint64_t value_bytes, Loader loader);
  ~ColumnSetReader();
  ColumnSetReader(ColumnSetReader&&) noexcept;
  ColumnSetReader& operator=(ColumnSetReader&&) noexcept;

  // Valid as long as the reader, which keeps what it decoded.
  const ColumnText& column(std::uint32_t index);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// All columns in one plain pass: what tests compare ColumnSetReader with.
std::vector<std::shared_ptr<const ColumnText>> decode_columns(std::span<const ColumnStreamView> streams,
                                                              std::span<const ColumnShape> shapes,
                                                              std::uint64_t value_bytes);
std::vector<std::shared_ptr<const ColumnText>> decode_columns(std::span<const ColumnStream> streams,
                                                              std::span<const ColumnShape> shapes,
                                                              std::uint64_t value_bytes);

}  // namespace laconic
