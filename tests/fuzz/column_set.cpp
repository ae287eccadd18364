// Columns that a fuzzer describes, there and back; then their streams with damage, and any bytes as streams:
// they are refused, or give columns of the heights asked for.
#include <cstdlib>

#include "engine/base/error.h"
#include "engine/column/column_set.h"
#include "tests/fuzz/edits.h"

namespace {

using namespace laconic;

constexpr std::uint64_t most_bytes = 1 << 20;

struct Described {
  std::vector<ColumnText> columns;
  std::vector<ColumnInput> inputs;
  std::vector<ColumnShape> shapes;
};

// Values end at byte 255, columns at 254.
Described described_columns(ByteSpan bytes) {
  Described set;
  set.columns.emplace_back();
  for (const std::byte byte : bytes) {
    if (byte == std::byte{255}) {
      set.columns.back().end_value();
    } else if (byte == std::byte{254} && set.columns.size() < 20) {
      set.columns.back().bytes.resize(set.columns.back().size() == 0 ? 0 : set.columns.back().ends.back());
      set.columns.emplace_back();
    } else {
      set.columns.back().bytes.push_back(static_cast<char>(byte));
    }
  }
  set.columns.back().bytes.resize(set.columns.back().size() == 0 ? 0 : set.columns.back().ends.back());
  for (const ColumnText& column : set.columns) {
    const auto rows = static_cast<std::uint32_t>(column.size());
    set.inputs.push_back({column.view(), rows % 3 == 2 ? rows : 0});
    set.shapes.push_back({rows, rows % 3 == 2 ? rows : 0});
  }
  return set;
}

std::vector<ColumnStreamView> views_of(const std::vector<ColumnStream>& streams) {
  std::vector<ColumnStreamView> views;
  for (const ColumnStream& stream : streams) views.push_back({stream.kind, stream.owner, stream.bytes});
  return views;
}

void decode_both_ways(const std::vector<ColumnStream>& streams, const std::vector<ColumnShape>& shapes) {
  const std::vector<ColumnStreamView> views = views_of(streams);
  try {
    const auto columns = decode_columns(views, shapes, most_bytes);
    for (std::size_t j = 0; j < shapes.size(); ++j) {
      if (columns[j]->size() != shapes[j].rows) std::abort();
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) std::abort();
  }
  try {
    ColumnSetReader reader(shapes, most_bytes, [&](std::uint32_t) { return views; });
    for (std::size_t j = shapes.size(); j-- > 0;) {
      if (reader.column(static_cast<std::uint32_t>(j)).size() != shapes[j].rows) std::abort();
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) std::abort();
  }
}

void round_trip(const Described& set, const std::vector<ColumnStream>& streams) {
  const auto back = decode_columns(streams, set.shapes, most_bytes);
  for (std::size_t j = 0; j < set.columns.size(); ++j) {
    if (!(*back[j] == set.columns[j])) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 + 64) return 0;
  ColumnOptions options;
  options.sample_rows = data[0] % 4 == 0 ? 4 : 65536;
  options.own_stream_bytes = data[0] % 3 == 0 ? 16 : 0;
  const std::span<const std::uint8_t> edits(data + 2, 64);
  const ByteSpan rest(reinterpret_cast<const std::byte*>(data + 2 + 64), size - 2 - 64);
  const Described set = described_columns(rest);
  std::vector<ColumnStream> streams = encode_columns(set.inputs, options);
  round_trip(set, streams);
  for (std::size_t i = 0; i < streams.size(); ++i) {
    if (i == data[1] % streams.size() || data[1] >= 128) apply_edits(edits, streams[i].bytes);
  }
  decode_both_ways(streams, set.shapes);
  return 0;
}
