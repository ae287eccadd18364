// Any bytes at both sides of a control link, in any pieces, before and after the handshake: they are refused
// with an error, or are packets within the limits.
#include <cstdlib>

#include "engine/base/error.h"
#include "engine/transport/tcp/link_protocol.h"
#include "tests/fuzz/edits.h"

namespace {

using namespace laconic;
using Side = LinkProtocol::Side;

constexpr std::size_t frame_limit = 4096;

void feed(LinkProtocol& link, ByteSpan bytes, std::size_t piece) {
  try {
    while (!bytes.empty()) {
      const ByteSpan part = bytes.first(std::min(bytes.size(), piece));
      bytes = bytes.subspan(part.size());
      link.received(part);
    }
    link.ended();
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::internal) std::abort();
  }
  while (const auto packet = link.next_packet()) {
    if (packet->payload.size() > frame_limit || packet->id >= LinkProtocol::first_own_id) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  LinkSettings settings;
  settings.frame_limit = frame_limit;
  if (data[0] % 2 == 1) settings.key = Key{};
  const std::size_t piece = 1 + data[1];
  const ByteSpan bytes{reinterpret_cast<const std::byte*>(data + 3), size - 3};
  LinkProtocol opener(Side::opener, LinkPurpose::control, settings);
  LinkProtocol accepter(Side::accepter, LinkPurpose::control, settings);
  switch (data[2] % 4) {
    case 0:
      feed(accepter, bytes, piece);
      return 0;
    case 1:
      feed(opener, bytes, piece);
      return 0;
    default:
      break;
  }
  // A proper handshake of which one message is edited, or that is followed by the bytes.
  const std::size_t edited = data[2] / 4 % 5;
  std::size_t message = 0;
  try {
    for (int round = 0; round < 3; ++round) {
      for (const bool forward : {true, false}) {
        Bytes wire = forward ? opener.output() : accepter.output();
        if (wire.empty()) continue;
        if (data[2] % 4 == 2 && message++ == edited) apply_edits({data + 3, size - 3}, wire);
        (forward ? accepter : opener).received(wire);
      }
    }
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::internal) std::abort();
    return 0;
  }
  if (!opener.established() || !accepter.established()) return 0;
  feed(accepter, bytes, piece);
  return 0;
}
