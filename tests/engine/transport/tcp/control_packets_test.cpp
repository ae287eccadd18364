#include "engine/transport/tcp/control_packets.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"

namespace laconic::control {
namespace {

PeerId id(std::uint8_t first) { return PeerId{first, 2, 3}; }
Member member(std::uint8_t first) { return {id(first), "10.0.0.7", 48150, 48149, 48151, 3}; }

std::vector<PacketBody> filled_packets() {
  const Introduction introduction{protocol_version, 5, {1, 2, 3}, 10, 20, 30, "host"};
  const Wait wait{WaitKind::sync_vote, 1, 2, 3.5, {id(1), id(2)}};
  return {
      Join{introduction},
      VoteTopology{TopologyVote::rewire},
      Established{7, {id(1)}},
      AskPending{},
      VoteOptimize{},
      Bandwidth{id(3), 123.5},
      MeasurementsDone{9},
      StartCollective{1, {CollectiveKind::session, 1, 2, 3, 4, 5, 6, 7, 8}},
      CollectiveDone{1, 2, true, "NaN", 3, 4},
      VoteSync{4, SyncStrategy::send_only, {{"weights", 1, 2, true, 3, {9}}, {"step", 0, 0, false, 1, {}}}},
      HolderLost{1, id(4)},
      SyncDone{1, true, "mismatch", 5, 6},
      AskStatus{},
      Pong{8},
      VoteTakeover{introduction,
                   id(1),
                   true,
                   3,
                   {id(1), id(2)},
                   {1, true},
                   {2, false},
                   {3, true},
                   {4, true},
                   5,
                   6,
                   7,
                   8,
                   9,
                   {{1, 2, AbortSeen::aborted}},
                   {{3, true}, {4, false}}},
      Superseded{},
      Leave{},
      Follow{2},
      Welcome{id(9)},
      Kick{KickReason::stalled, "why"},
      Connect{3, RoundPurpose::optimize, true, 1, {member(1), member(2)}, 4, 2, 3},
      TopologyResult{3, true, 4, {id(1)}, 5},
      PendingAnswer{1, true},
      Measure{2, {member(1)}},
      Commence{1, 2},
      Abort{1, 2, true, "gone"},
      Complete{1, 2},
      SyncPlan{1, {4}, {member(5)}, {{3, {7}}}},
      SyncResult{1, false, 2, "why"},
      Missing{wait},
      Status{1.5,
             {{member(1), "host", PeerPhase::optimizing, 1, 2, 3}},
             {wait},
             1,
             2,
             3,
             4,
             5,
             "why",
             6.5,
             {"a", "b"}},
      Ping{3},
      NotMaster{"standby"},
      Adopted{1, {id(1)}, {{1, true}}, {{2, false}}, {3, true}, 4},
      Membership{2, {id(1), id(2)}, 1},
      RunComplete{}};
}

TEST(ControlPackets, EveryKindIsReadAsItWasWritten) {
  const std::vector<PacketBody> packets = filled_packets();
  ASSERT_EQ(packets.size(), std::variant_size_v<PacketBody>);
  for (std::size_t i = 0; i < packets.size(); ++i) {
    ASSERT_EQ(id_of(packets[i]), i + 1);
    const Bytes bytes = encode({make_epoch(3, 1), packets[i]});
    const ControlPacket read = decode(id_of(packets[i]), bytes);
    EXPECT_EQ(read.epoch, make_epoch(3, 1));
    EXPECT_EQ(read.body.index(), i);
    EXPECT_EQ(encode(read), bytes) << name_of(packets[i]);
  }
}

TEST(ControlPackets, IntegersAreBigEndianBehindTheEpoch) {
  const Bytes bytes = encode({0x0102030405060708, Commence{0x1122, 0x3344}});
  const std::vector<int> expected = {1, 2, 3,    4,    5, 6, 7, 8, 0, 0, 0,    0,
                                     0, 0, 0x11, 0x22, 0, 0, 0, 0, 0, 0, 0x33, 0x44};
  ASSERT_EQ(bytes.size(), expected.size());
  for (std::size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(static_cast<int>(bytes[i]), expected[i]);
}

TEST(ControlPackets, WhatIsCutOrTooLongIsRefused) {
  for (const PacketBody& body : filled_packets()) {
    Bytes bytes = encode({1, body});
    for (std::size_t size = 0; size < bytes.size(); ++size)
      EXPECT_THROW(decode(id_of(body), ByteSpan(bytes).first(size)), Error)
          << name_of(body) << " of " << size;
    bytes.push_back(std::byte{0});
    EXPECT_THROW(decode(id_of(body), bytes), Error) << name_of(body);
  }
}

TEST(ControlPackets, UnknownIdsAndValuesAreRefused) {
  const Bytes leave = encode({1, Leave{}});
  EXPECT_THROW(decode(0, leave), Error);
  EXPECT_THROW(decode(static_cast<std::uint16_t>(std::variant_size_v<PacketBody> + 1), leave), Error);
  Bytes vote = encode({1, VoteTopology{}});
  vote.back() = std::byte{2};
  EXPECT_THROW(decode(id_of(VoteTopology{}), vote), Error);
  Bytes answer = encode({1, PendingAnswer{}});
  answer.back() = std::byte{2};
  EXPECT_THROW(decode(id_of(PendingAnswer{}), answer), Error);
  // Infinite bandwidth: exponent bits all set.
  Bytes bandwidth = encode({1, Bandwidth{}});
  bandwidth[bandwidth.size() - 8] = std::byte{0x7F};
  bandwidth[bandwidth.size() - 7] = std::byte{0xF0};
  EXPECT_THROW(decode(id_of(Bandwidth{}), bandwidth), Error);
}

TEST(ControlPackets, LengthsAreBoundedBeforeAnythingIsAllocated) {
  Bytes membership = encode({1, Membership{1, {}}});
  for (std::size_t i = membership.size() - 12; i < membership.size() - 8; ++i)
    membership[i] = std::byte{0xFF};
  EXPECT_THROW(decode(id_of(Membership{}), membership), Error);
  Membership many{1, std::vector<PeerId>(most_members)};
  EXPECT_NO_THROW(decode(id_of(many), encode({1, many})));
  many.members.emplace_back();
  EXPECT_THROW(encode({1, many}), Error);
}

TEST(ControlPackets, DifferencesOfTermsAreNamed) {
  CollectiveTerms a, b;
  EXPECT_EQ(difference(a, b), "");
  a.count = 10, b.count = 12, a.type = 1;
  EXPECT_EQ(difference(a, b), "count 10 instead of 12, type 1 instead of 0");
}

}  // namespace
}  // namespace laconic::control
