// Any bytes as control packets: they are refused as corrupt, or are exactly what would be written for what
// was read. What can be read then goes to a master with peers, and to a peer, in the name of one of them: it
// may be kicked, and nothing else may break.
#include <algorithm>
#include <cstdlib>
#include <memory>

#include "engine/base/error.h"
#include "engine/transport/tcp/peer_state.h"
#include "engine/transport/tcp/standby_state.h"

namespace {

using namespace laconic;
using namespace laconic::control;

std::unique_ptr<ControlPacket> read_packet(std::uint16_t id, ByteSpan bytes) {
  try {
    auto packet = std::make_unique<ControlPacket>(decode(id, bytes));
    const Bytes again = encode(*packet);
    if (ByteSpan(again).size() != bytes.size() || !std::equal(again.begin(), again.end(), bytes.begin()))
      std::abort();
    return packet;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) std::abort();
    return nullptr;
  }
}

Introduction fuzzed_peer() {
  Introduction introduction;
  introduction.p2p_port = introduction.state_port = introduction.benchmark_port = 1;
  return introduction;
}

}  // namespace

// Packets follow each other: link, id, length, payload without epoch.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  MasterState master{MasterSettings{}};
  StandbySettings settings;
  settings.master.place = 1;
  StandbyState standby(settings, 0);
  standby.upstream_opened(0);
  standby.upstream_packet({make_epoch(1, 0), Membership{1, {PeerId{}}, 1}}, 0);
  standby.upstream_closed(0);
  PeerState peer(PeerSettings{fuzzed_peer()});
  peer.join(0);
  peer.link_opened(0);
  for (LinkId link = 1; link <= 3; ++link) {
    master.link_opened(link, "10.0.0.1", false, 0);
    standby.link_opened(link, "10.0.0.1", false, 0);
    master.packet(link, {0, Join{fuzzed_peer()}}, 0);
  }
  double now = 0;
  while (size >= 4) {
    const LinkId link = data[0] % 4 + 1u;
    const bool to_peer = data[0] & 0x80;
    const std::uint16_t id = data[1];
    const std::size_t length = std::min<std::size_t>(data[2] + 256u * (data[3] % 4u), size - 4);
    ByteWriter bytes;
    for (int shift = 56; shift >= 0; shift -= 8)
      bytes.u8(static_cast<std::uint8_t>(make_epoch(1, 0) >> shift));
    bytes.append({reinterpret_cast<const std::byte*>(data + 4), length});
    data += 4 + length;
    size -= 4 + length;
    now += 1;
    const auto packet = read_packet(id, bytes.span());
    if (!packet) {
      master.malformed(link, "fuzz", now);
      continue;
    }
    if (to_peer) {
      peer.packet(*packet, now);
      continue;
    }
    master.packet(link, *packet, now);
    standby.packet(link, *packet, now);
    master.tick(now);
    standby.tick(now);
    // A master's answers can all be written.
    for (const LinkAction& action : master.take_actions()) {
      if (action.packet) encode(*action.packet);
    }
    for (const LinkAction& action : standby.take_actions()) {
      if (action.packet) encode(*action.packet);
    }
  }
  return 0;
}
