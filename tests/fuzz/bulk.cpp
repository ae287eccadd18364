// The parsers of bulk connections: frame headers, the first words of a peer, summaries of and requests for a
// shared state, and quantised blocks of any bytes.
#include <cstdlib>
#include <vector>

#include "engine/base/error.h"
#include "engine/transport/tcp/block_quantizer.h"
#include "engine/transport/tcp/peer_links.h"
#include "engine/transport/tcp/state_summary.h"
#include "engine/transport/tcp/state_transfer.h"

namespace {

using namespace laconic;

template <class Act>
void attempt(Act act) {
  try {
    act();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteSpan bytes{reinterpret_cast<const std::byte*>(data), size};
  if (size >= FrameHeader::size) {
    attempt([&] {
      const auto raw = bytes.first<FrameHeader::size>();
      const FrameHeader header = read_frame_header(raw);
      std::array<std::byte, FrameHeader::size> again;
      write_frame_header(header, again);
      if (!std::equal(again.begin(), again.end(), raw.begin())) std::abort();
    });
  }
  attempt([&] {
    const StateSummary summary = decode_summary(bytes);
    const Bytes again = encode_summary(summary);
    if (!std::equal(again.begin(), again.end(), bytes.begin(), bytes.end())) std::abort();
    std::uint64_t sum = 0;
    bool fits = true;
    constexpr std::uint64_t memory = 1ull << 40;
    for (const std::uint64_t size : summary.sizes) {
      fits = fits && size <= memory && sum + size <= memory;
      sum += fits ? size : 0;
    }
    try {
      require_memory_for(summary.sizes, memory);
      if (!fits) std::abort();
    } catch (const Error& error) {
      if (fits || error.kind() != ErrorKind::input) std::abort();
    }
  });
  attempt([&] {
    const PeerHello hello = decode_hello(bytes);
    const Bytes again = encode_hello(hello);
    if (!std::equal(again.begin(), again.end(), bytes.begin(), bytes.end())) std::abort();
  });
  attempt([&] {
    const StateRangeRequest request = decode_state_request(bytes);
    if (request.end > request.size || request.begin >= request.end) std::abort();
    const Bytes again = encode_state_request(request);
    if (!std::equal(again.begin(), again.end(), bytes.begin(), bytes.end())) std::abort();
  });
  if (size < 3) return 0;
  Quantization quantization;
  quantization.kind = data[0] % 2 == 0 ? QuantizationKind::min_max : QuantizationKind::zero_point;
  quantization.bits = data[1] % 2 == 0 ? 8 : 16;
  quantization.block = 16;
  const BlockQuantizer<float> narrow(quantization);
  const BlockQuantizer<double> wide(quantization);
  std::size_t count = data[2] % 64;
  while (count > 0 && (narrow.wire_bytes(count) > size - 3 || wide.wire_bytes(count) > size - 3)) --count;
  if (count == 0) return 0;
  std::vector<float> floats(count);
  std::vector<double> doubles(count);
  narrow.decode(bytes.data() + 3, floats);
  wide.decode(bytes.data() + 3, doubles);
  // What the numbers themselves encode to comes back within their range, unless they are none.
  std::vector<std::byte> wire(narrow.wire_bytes(count));
  if (!narrow.encode(floats, RandomStream(1, "fuzz", "bulk"), 0, wire.data()))
    narrow.decode(wire.data(), floats);
  return 0;
}
