#include "engine/transport/tcp/control_packets.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <type_traits>
#include <utility>

#include "engine/base/error.h"

namespace laconic::control {
namespace {

// Fields are listed once, in `describe`, for writing and for reading.
class PacketWriter {
 public:
  explicit PacketWriter(ByteWriter& out) : out_(out) {}

  template <class T>
  requires std::is_unsigned_v<T>
  void operator()(T value) {
    for (int shift = 8 * (static_cast<int>(sizeof(T)) - 1); shift >= 0; shift -= 8)
      out_.u8(static_cast<std::uint8_t>(value >> shift));
  }
  void operator()(bool value) { out_.u8(value ? 1 : 0); }
  void operator()(double value) { (*this)(std::bit_cast<std::uint64_t>(value)); }
  void operator()(const std::array<std::uint8_t, 16>& value) { out_.append(std::as_bytes(std::span(value))); }
  template <class T>
  requires std::is_enum_v<T>
  void operator()(T value, T) { out_.u8(static_cast<std::uint8_t>(value)); }
  void operator()(const std::string& value) {
    const std::string_view kept = std::string_view(value).substr(0, longest_text);
    (*this)(static_cast<std::uint32_t>(kept.size()));
    out_.append(as_byte_span(kept));
  }
  template <class T, class Each>
  void list(const std::vector<T>& values, std::size_t limit, std::size_t, const Each& each) {
    require(values.size() <= limit, "a packet's list is bounded");
    (*this)(static_cast<std::uint32_t>(values.size()));
    for (const T& value : values) each(value);
  }

 private:
  ByteWriter& out_;
};

class PacketReader {
 public:
  explicit PacketReader(ByteReader& in) : in_(in) {}

  template <class T>
  requires std::is_unsigned_v<T>
  void operator()(T& value) {
    value = 0;
    for (const std::byte byte : in_.take(sizeof(T)))
      value = static_cast<T>((std::uint64_t{value} << 8) | static_cast<std::uint8_t>(byte));
  }
  void operator()(bool& value) {
    const std::uint8_t byte = in_.u8();
    if (byte > 1) in_.corrupt("neither yes nor no");
    value = byte == 1;
  }
  void operator()(double& value) {
    std::uint64_t bits = 0;
    (*this)(bits);
    value = std::bit_cast<double>(bits);
    if (!std::isfinite(value) || value < 0) in_.corrupt("a quantity that is none");
  }
  void operator()(std::array<std::uint8_t, 16>& value) {
    std::memcpy(value.data(), in_.take(value.size()).data(), value.size());
  }
  template <class T>
  requires std::is_enum_v<T>
  void operator()(T& value, T last) {
    const std::uint8_t byte = in_.u8();
    if (byte > static_cast<std::uint8_t>(last)) in_.corrupt("unknown value " + std::to_string(byte));
    value = static_cast<T>(byte);
  }
  void operator()(std::string& value) { value = as_text(in_.take(length(longest_text, 1))); }
  // `least_size`: bytes of an entry, so that a length is believed only where its entries can follow.
  template <class T, class Each>
  void list(std::vector<T>& values, std::size_t limit, std::size_t least_size, const Each& each) {
    values.clear();
    values.resize(length(limit, least_size));
    for (T& value : values) each(value);
  }

 private:
  std::size_t length(std::size_t limit, std::size_t least_size) {
    std::uint32_t count = 0;
    (*this)(count);
    if (count > limit || count * least_size > in_.remaining())
      in_.corrupt("length " + std::to_string(count) + " is over the limit");
    return count;
  }
  ByteReader& in_;
};

// `P` is const when written.
template <class A, class P>
void ids(A& a, P& list) {
  a.list(list, most_members, 16, [&](auto& id) { a(id); });
}
template <class A, class P>
void describe_member(A& a, P& m) {
  a(m.id), a(m.address), a(m.p2p_port), a(m.state_port), a(m.benchmark_port), a(m.group);
}
template <class A, class P>
void members(A& a, P& list) {
  a.list(list, most_members, 30, [&](auto& m) { describe_member(a, m); });
}
template <class A, class P>
void describe_introduction(A& a, P& p) {
  a(p.protocol), a(p.group), a(p.settings), a(p.p2p_port), a(p.state_port), a(p.benchmark_port), a(p.host);
}
template <class A, class P>
void describe_decision(A& a, P& p) {
  a(p.number), a(p.yes);
}
template <class A, class P>
void describe_decisions(A& a, P& list) {
  a.list(list, 2 * most_members, 9, [&](auto& decision) { describe_decision(a, decision); });
}
template <class A, class P>
void describe_wait(A& a, P& p) {
  a(p.kind, WaitKind::takeover), a(p.group), a(p.tag), a(p.seconds), ids(a, p.missing);
}

template <class A, class P>
void describe(A& a, P& p) {
  using T = std::remove_const_t<P>;
  if constexpr (std::is_same_v<T, Join>) {
    describe_introduction(a, p.introduction);
  } else if constexpr (std::is_same_v<T, VoteTopology>) {
    a(p.kind, TopologyVote::rewire);
  } else if constexpr (std::is_same_v<T, Established>) {
    a(p.round), ids(a, p.failed);
  } else if constexpr (std::is_same_v<T, Bandwidth>) {
    a(p.to), a(p.mbit);
  } else if constexpr (std::is_same_v<T, MeasurementsDone>) {
    a(p.round);
  } else if constexpr (std::is_same_v<T, StartCollective>) {
    auto& t = p.terms;
    a(p.tag), a(t.kind, CollectiveKind::session), a(t.type), a(t.operation), a(t.quantization),
        a(t.wire_type);
    a(t.rounding), a(t.algorithm), a(t.block), a(t.count);
  } else if constexpr (std::is_same_v<T, CollectiveDone>) {
    a(p.tag), a(p.sequence), a(p.failed), a(p.reason), a(p.sent_bytes), a(p.received_bytes);
  } else if constexpr (std::is_same_v<T, VoteSync>) {
    a(p.revision), a(p.strategy, SyncStrategy::send_only);
    a.list(p.keys, most_keys, 31, [&](auto& key) {
      a(key.name), a(key.hash_kind), a(key.type), a(key.allow_inequality), a(key.count), a(key.hash);
    });
  } else if constexpr (std::is_same_v<T, HolderLost>) {
    a(p.sync), a(p.holder);
  } else if constexpr (std::is_same_v<T, SyncDone>) {
    a(p.sync), a(p.failed), a(p.reason), a(p.sent_bytes), a(p.received_bytes);
  } else if constexpr (std::is_same_v<T, Pong> || std::is_same_v<T, Ping>) {
    a(p.number);
  } else if constexpr (std::is_same_v<T, VoteTakeover>) {
    describe_introduction(a, p.introduction);
    a(p.id), a(p.accepted), a(p.membership), ids(a, p.members);
    describe_decision(a, p.accept_round), describe_decision(a, p.rewire_round);
    describe_decision(a, p.pending_query), describe_decision(a, p.sync);
    a(p.open_round), a(p.open_world), a(p.open_sync), a(p.next_revision), a(p.last_sequence);
    a.list(p.operations, most_operations, 17, [&](auto& operation) {
      a(operation.tag), a(operation.sequence), a(operation.seen, AbortSeen::aborted);
    });
    a.list(p.outcomes, most_operations, 9, [&](auto& outcome) { a(outcome.sequence), a(outcome.aborted); });
  } else if constexpr (std::is_same_v<T, Follow>) {
    a(p.place);
  } else if constexpr (std::is_same_v<T, Welcome>) {
    a(p.id);
  } else if constexpr (std::is_same_v<T, Kick>) {
    a(p.reason, KickReason::superseded), a(p.text);
  } else if constexpr (std::is_same_v<T, Connect>) {
    a(p.round), a(p.purpose, RoundPurpose::optimize), a(p.unchanged), a(p.position), members(a, p.ring);
    a(p.world), a(p.groups), a(p.largest_group);
  } else if constexpr (std::is_same_v<T, TopologyResult>) {
    a(p.round), a(p.success), a(p.membership), ids(a, p.members), a(p.queries);
  } else if constexpr (std::is_same_v<T, PendingAnswer>) {
    a(p.query), a(p.pending);
  } else if constexpr (std::is_same_v<T, Measure>) {
    a(p.round), members(a, p.targets);
  } else if constexpr (std::is_same_v<T, Commence> || std::is_same_v<T, Complete>) {
    a(p.tag), a(p.sequence);
  } else if constexpr (std::is_same_v<T, Abort>) {
    a(p.tag), a(p.sequence), a(p.aborted), a(p.reason);
  } else if constexpr (std::is_same_v<T, SyncPlan>) {
    a(p.sync), a(p.elected), members(a, p.holders);
    a.list(p.dirty, most_keys, 20, [&](auto& key) { a(key.index), a(key.expected); });
  } else if constexpr (std::is_same_v<T, SyncResult>) {
    a(p.sync), a(p.success), a(p.next_revision), a(p.reason);
  } else if constexpr (std::is_same_v<T, Missing>) {
    describe_wait(a, p.wait);
  } else if constexpr (std::is_same_v<T, Status>) {
    a(p.seconds);
    a.list(p.peers, most_members, 55, [&](auto& peer) {
      describe_member(a, peer.member), a(peer.host), a(peer.phase, PeerPhase::collective);
      a(peer.operations), a(peer.sent_bytes), a(peer.received_bytes);
    });
    a.list(p.waits, 4 * most_members, 25, [&](auto& wait) { describe_wait(a, wait); });
    a(p.standbys), a(p.membership), a(p.rounds), a(p.operations), a(p.aborted_operations), a(p.last_abort);
    a(p.last_abort_seconds);
    a.list(p.kicked, most_members, 4, [&](auto& text) { a(text); });
  } else if constexpr (std::is_same_v<T, NotMaster>) {
    a(p.text);
  } else if constexpr (std::is_same_v<T, Adopted>) {
    a(p.membership), ids(a, p.members), describe_decisions(a, p.rounds), describe_decisions(a, p.syncs);
    describe_decision(a, p.pending_query), a(p.next_revision);
  } else if constexpr (std::is_same_v<T, Membership>) {
    a(p.version), ids(a, p.members), a(p.settled);
  } else {
    static_assert(std::is_empty_v<T>, "a packet whose fields are not listed");
  }
}

template <std::size_t... I>
PacketBody body_of(std::size_t index, PacketReader& reader, std::index_sequence<I...>) {
  PacketBody body;
  const auto read = [&](auto alternative) {
    describe(reader, body.template emplace<decltype(alternative)::value>());
    return true;
  };
  (void)((index == I && read(std::integral_constant<std::size_t, I>{})) || ...);
  return body;
}

constexpr std::array packet_names = {
    "JOIN",       "VOTE_TOPOLOGY", "ESTABLISHED",   "ASK_PENDING", "VOTE_OPTIMIZE", "BANDWIDTH",
    "MEASURED",   "START",         "DONE",          "VOTE_SYNC",   "HOLDER_LOST",   "SYNC_DONE",
    "ASK_STATUS", "PONG",          "VOTE_TAKEOVER", "SUPERSEDED",  "LEAVE",         "FOLLOW",
    "WELCOME",    "KICK",          "CONNECT",       "TOPOLOGY",    "PENDING",       "MEASURE",
    "COMMENCE",   "ABORT",         "COMPLETE",      "SYNC_PLAN",   "SYNC_RESULT",   "MISSING",
    "STATUS",     "PING",          "NOT_MASTER",    "ADOPTED",     "MEMBERSHIP",    "RUN_COMPLETE",
};
static_assert(packet_names.size() == std::variant_size_v<PacketBody>);

}  // namespace

std::string name_of(const PeerId& id) {
  return fmt::format("{:02x}{:02x}{:02x}{:02x}", id[0], id[1], id[2], id[3]);
}

std::string_view name_of(KickReason reason) {
  constexpr std::array names = {"illegal",   "refused",     "stalled",   "unreachable",
                                "sync lost", "no majority", "superseded"};
  return names[static_cast<std::size_t>(reason)];
}

std::string_view name_of(WaitKind kind) {
  constexpr std::array names = {"vote to accept newcomers",      "vote to rewire",
                                "vote to optimize the topology", "connections",
                                "bandwidth measurements",        "query for newcomers",
                                "start of a collective",         "end of a collective",
                                "vote to synchronise",           "end of synchronisation",
                                "election of a master"};
  return names[static_cast<std::size_t>(kind)];
}

std::string_view name_of(PeerPhase phase) {
  constexpr std::array names = {"registered",     "idle",          "voted to accept", "voted to rewire",
                                "connecting",     "not connected", "connected",       "voted to optimize",
                                "measuring",      "has measured",  "voted to sync",   "serving state",
                                "fetching state", "synchronised",  "in collectives"};
  return names[static_cast<std::size_t>(phase)];
}

std::string difference(const CollectiveTerms& theirs, const CollectiveTerms& ours) {
  std::string text;
  const auto compare = [&](std::string_view what, std::uint64_t a, std::uint64_t b) {
    if (a != b) text += fmt::format("{}{} {} instead of {}", text.empty() ? "" : ", ", what, a, b);
  };
  compare("kind", static_cast<std::uint64_t>(theirs.kind), static_cast<std::uint64_t>(ours.kind));
  compare("count", theirs.count, ours.count);
  compare("type", theirs.type, ours.type);
  compare("operation", theirs.operation, ours.operation);
  compare("quantization", theirs.quantization, ours.quantization);
  compare("wire type", theirs.wire_type, ours.wire_type);
  compare("block", theirs.block, ours.block);
  compare("rounding", theirs.rounding, ours.rounding);
  compare("algorithm", theirs.algorithm, ours.algorithm);
  return text;
}

std::uint16_t id_of(const PacketBody& body) { return static_cast<std::uint16_t>(body.index() + 1); }

std::string_view name_of(const PacketBody& body) { return packet_names[body.index()]; }

Bytes encode(const ControlPacket& packet) {
  ByteWriter out;
  PacketWriter writer(out);
  writer(packet.epoch);
  std::visit([&](const auto& body) { describe(writer, body); }, packet.body);
  return out.take();
}

ControlPacket decode(std::uint16_t id, ByteSpan payload) {
  constexpr std::size_t kinds = std::variant_size_v<PacketBody>;
  if (id == 0 || id > kinds) fail(ErrorKind::corrupt, "unknown id " + std::to_string(id), "control packet");
  ByteReader in(payload, fmt::format("control packet {}", packet_names[id - 1u]));
  PacketReader reader(in);
  ControlPacket packet;
  reader(packet.epoch);
  packet.body = body_of(id - 1u, reader, std::make_index_sequence<kinds>{});
  in.expect_end();
  return packet;
}

}  // namespace laconic::control
