// Any bytes as the streams of two columns of one group: the first byte is their height, the next ones tell
// how the rest is dealt to the streams. The decoders refuse, or give columns of that height, which then go
// there and back. Height 255 is a bundle as well.
#include <algorithm>
#include <cstdlib>

#include "engine/base/error.h"
#include "engine/column/column_set.h"
#include "engine/column/stream_bundle.h"

namespace {

using namespace laconic;

constexpr std::uint64_t most_bytes = 1 << 20;

void decode(const std::vector<ColumnStream>& streams, std::uint32_t rows) {
  const std::vector<ColumnShape> shapes(2, {rows, 0});
  const auto columns = decode_columns(streams, shapes, most_bytes);
  for (const auto& column : columns) {
    if (column->size() != rows) std::abort();
  }
  std::vector<ColumnInput> inputs;
  for (const auto& column : columns) inputs.push_back({column->view(), 0});
  // What it decoded to, there and back.
  const auto back = decode_columns(encode_columns(inputs), shapes, most_bytes);
  for (std::size_t j = 0; j < columns.size(); ++j) {
    if (!(*back[j] == *columns[j])) std::abort();
  }
}

void read_bundle(ByteSpan bundle) {
  BundleReader reader(bundle, most_bytes, "fuzz");
  for (std::size_t i = 0; i < reader.size() && i < 100; ++i) {
    if (reader.read(i).size() != reader.raw_size(i)) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 10) return 0;
  const ByteSpan rest(reinterpret_cast<const std::byte*>(data + 9), size - 9);
  try {
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
    decode(streams, data[0]);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt && error.kind() != ErrorKind::unsupported) std::abort();
  }
  return 0;
}
