// Any bytes as a stream of each entropy decoder. The first byte chooses the decoder, the next two how much it
// should decode: they refuse, or fill exactly that, alike on every instruction set.
#include <cstdlib>
#include <cstring>

#include "engine/base/error.h"
#include "engine/coding/adaptive_models.h"
#include "engine/coding/huffman.h"
#include "engine/coding/integer_codes.h"
#include "engine/coding/normalise.h"
#include "engine/coding/rans_bytes.h"
#include "engine/coding/rans_symbols.h"
#include "engine/coding/zstd_bytes.h"

namespace {

using namespace laconic;

using Expand = void (*)(ByteSpan, std::span<std::byte>, std::string_view);
using Compress = Bytes (*)(ByteSpan);

bool refused(Expand expand, ByteSpan stream, Bytes& out) {
  try {
    expand(stream, out, "fuzz");
    return false;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) std::abort();
    return true;
  }
}

// The stream as it is; then the bytes it decoded to, or the stream's own, there and back again.
void bytes_coder(Compress compress, Expand expand, ByteSpan stream, std::size_t size) {
  Bytes out(size);
  if (refused(expand, stream, out)) out.assign(stream.begin(), stream.end());
  Bytes back(out.size());
  if (refused(expand, compress(out), back) || back != out) std::abort();
}

// Kernel and scalar reference agree, also on what they refuse.
void rans_on_both_paths(ByteSpan stream, std::size_t size) {
  Bytes fast(size), slow(size);
  const bool fast_refused = refused(rans_expand, stream, fast);
  if (fast_refused != refused(rans_expand_scalar, stream, slow)) std::abort();
  if (!fast_refused && fast != slow) std::abort();
}

const std::vector<IntegerTable>& tables() {
  static const std::vector<IntegerTable> made = [] {
    std::vector<IntegerTable> list;
    for (const std::vector<std::uint64_t>& counts : {std::vector<std::uint64_t>{1},
                                                     {1, 5, 90, 5, 1, 1},
                                                     {1, 65535},
                                                     std::vector<std::uint64_t>(300, 7)}) {
      list.push_back({FrequencyTable(normalise(counts, frequency_total)), -2});
    }
    return list;
  }();
  return made;
}

void integers(ByteSpan stream, std::size_t size) {
  std::vector<std::uint16_t> table_of(size);
  for (std::size_t i = 0; i < size; ++i) table_of[i] = static_cast<std::uint16_t>(i % tables().size());
  std::vector<std::int32_t> values(size), back(size);
  rans_decode_integers(stream, tables(), table_of, values, "fuzz");
  rans_decode_integers(rans_encode_integers(values, tables(), table_of), tables(), table_of, back, "fuzz");
  if (back != values) std::abort();
}

void adaptive(ByteSpan stream, std::size_t size, std::uint32_t symbols) {
  RangeDecoder decoder(stream, "fuzz");
  AdaptiveBit bit;
  AdaptiveSymbol symbol(symbols);
  for (std::size_t i = 0; i < size; ++i) {
    if (bit.decode(decoder) && symbol.decode(decoder) >= symbols) std::abort();
  }
  decoder.expect_end();
}

void whole_numbers(ByteSpan stream) {
  BitReader reader(stream, "fuzz");
  while (reader.remaining() > 0) {
    const int parameter = static_cast<int>(reader.read(4));
    const std::uint64_t limit = std::uint64_t{1} << reader.read(6);
    const std::uint64_t value = read_golomb_rice(reader, parameter, limit);
    if (value > limit || read_elias_gamma(reader, limit) > limit) std::abort();
    if (zig_zag(undo_zig_zag(value)) != value) std::abort();
  }
  reader.expect_end();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  // Mostly small, but up to 262,140 bytes, so that every number of lanes and parts is met.
  const std::size_t number = data[1] | std::size_t{data[2]} << 8;
  const std::size_t wanted = data[0] >= 248 ? 4 * number : data[0] >= 224 ? number : number % 512;
  const ByteSpan stream(reinterpret_cast<const std::byte*>(data + 3), size - 3);
  try {
    switch (data[0] % 8) {
      case 0:
        bytes_coder(rans_compress, rans_expand, stream, wanted);
        break;
      case 1:
        bytes_coder(huffman_compress, huffman_expand, stream, wanted);
        break;
      case 2:
        bytes_coder([](ByteSpan bytes) { return zstd_compress(bytes, 1); }, zstd_expand, stream, wanted);
        break;
      case 3:
        rans_on_both_paths(stream, wanted);
        break;
      case 4:
        integers(stream, wanted);
        break;
      case 5:
        adaptive(stream, wanted, 1 + data[1] % AdaptiveSymbol::most_symbols);
        break;
      case 6:
        whole_numbers(stream);
        break;
      default: {
        // A stream that an encoder wrote, with one byte changed.
        Bytes plain(wanted);
        for (std::size_t i = 0; i < wanted; ++i)
          plain[i] = stream.empty() ? std::byte{} : stream[i % stream.size()];
        Bytes coded = rans_compress(plain);
        if (!coded.empty() && stream.size() > 2) {
          coded[static_cast<std::size_t>(stream[0]) * coded.size() / 256] ^= stream[1];
        }
        rans_on_both_paths(coded, wanted);
      }
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) std::abort();
  }
  return 0;
}
