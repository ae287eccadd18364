// Any bytes as the streams of two columns of one group: the first byte is their height, the next ones tell
// how the rest is dealt to the streams. The decoder refuses, or gives columns of that height; these must go
// there and back. Height 255 is a bundle as well.
#include <algorithm>
#include <cstdlib>
#include <memory>

#include "engine/base/error.h"
#include "engine/column/column_set.h"
#include "engine/column/stream_bundle.h"

namespace {

using namespace laconic;

constexpr std::uint64_t most_bytes = 1 << 20;

using Columns = std::vector<std::shared_ptr<const ColumnText>>;

// Nothing where the streams are refused.
Columns decode(const std::vector<ColumnStream>& streams, const std::vector<ColumnShape>& shapes) {
  try {
    return decode_columns(streams, shapes, most_bytes);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) std::abort();
    return {};
  }
}

// What the encoder makes is never refused.
void there_and_back(const Columns& columns, const std::vector<ColumnShape>& shapes) {
  std::vector<ColumnInput> inputs;
  std::uint64_t bytes = 0;
  for (const auto& column : columns) {
    if (column->size() != shapes[0].rows) std::abort();
    inputs.push_back({column->view(), 0});
    bytes += column->bytes.size() + column->size();
  }
  // Refused streams, and those of more bytes than were said, which a decoder may let pass.
  if (columns.empty() || bytes > most_bytes) return;
  const auto back = decode_columns(encode_columns(inputs), shapes, most_bytes);
  for (std::size_t j = 0; j < columns.size(); ++j) {
    if (!(*back[j] == *columns[j])) std::abort();
  }
}

void read_bundle(ByteSpan bundle) {
  try {
    BundleReader reader(bundle, most_bytes, "fuzz");
    for (std::size_t i = 0; i < reader.size() && i < 100; ++i) {
      if (reader.read(i).size() != reader.raw_size(i)) std::abort();
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt && error.kind() != ErrorKind::unsupported) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 10) return 0;
  const ByteSpan rest(reinterpret_cast<const std::byte*>(data + 9), size - 9);
  if (data[0] == 255) read_bundle(rest);
  std::vector<ColumnStream> streams;
  std::size_t at = 0;
  for (std::uint8_t kind = 0; kind < column_stream_kinds; ++kind) {
    const std::size_t count = std::min<std::size_t>(data[1 + kind], rest.size() - at);
    Bytes bytes(rest.begin() + static_cast<std::ptrdiff_t>(at),
                rest.begin() + static_cast<std::ptrdiff_t>(at + count));
    at += count;
    streams.push_back({static_cast<ColumnStreamKind>(kind), 0, std::move(bytes)});
  }
  const std::vector<ColumnShape> shapes(2, {data[0], 0});
  there_and_back(decode(streams, shapes), shapes);
  return 0;
}
