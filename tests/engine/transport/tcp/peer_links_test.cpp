#include "engine/transport/tcp/peer_links.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <thread>

#include "engine/base/error.h"
#include "engine/transport/tcp/big_endian.h"
#include "engine/transport/tcp/framed_link.h"
#include "tests/engine/transport/tcp/peer_group.h"

namespace laconic {
namespace {

using testing::HasSubstr;

// Collects a stream of known length.
class Collector : public StreamSink {
 public:
  explicit Collector(std::size_t size) : bytes_(size) {}
  std::span<std::byte> space() override { return std::span(bytes_).subspan(filled_); }
  void arrived(std::size_t count) override {
    const std::lock_guard lock(mutex_);
    filled_ += count;
    changed_.notify_all();
  }
  // Whether so many bytes came in time.
  bool wait(std::size_t count, double seconds = 5) {
    std::unique_lock lock(mutex_);
    return changed_.wait_until(lock, deadline_after(seconds), [&] { return filled_ >= count; });
  }
  const Bytes& bytes() const { return bytes_; }
  std::size_t filled() {
    const std::lock_guard lock(mutex_);
    return filled_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Bytes bytes_;
  std::size_t filled_ = 0;
};

class Watcher : public LinkWatcher {
 public:
  void lost(const PeerId&, const std::string& reason) override {
    const std::lock_guard lock(mutex_);
    reasons_.push_back(reason);
    changed_.notify_all();
  }
  std::string first() {
    std::unique_lock lock(mutex_);
    changed_.wait_until(lock, deadline_after(5), [&] { return !reasons_.empty(); });
    return reasons_.empty() ? "nothing" : reasons_.front();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> reasons_;
};

class FrameCount : public SendProgress {
 public:
  void left() override { ++count; }
  std::atomic<int> count = 0;
};

Bytes pattern(std::size_t size) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 31 + i / 253);
  return bytes;
}

// A peer by hand: it speaks the handshake and then sends whatever it likes.
struct HandMade {
  Socket socket;
  std::optional<FrameSealer> sealer;

  HandMade(PeerLinks& to, const PeerId& to_id, const LinkSettings& settings) {
    FramedLink link({"127.0.0.1", to.port()}, LinkPurpose::peer, settings, 5);
    link.send(1, encode_hello({PeerId{99}, to_id, 0, 1}));
    const auto answer = link.receive(5);
    EXPECT_TRUE(answer && answer->payload.empty());
    if (settings.key) sealer.emplace(link.exported_key("bulk"));
    socket = link.release();
    EXPECT_TRUE(to.await(PeerId{99}, 5));
  }
  Bytes frame(const StreamName& stream, ByteSpan payload) {
    Bytes bytes(FrameHeader::size);
    write_frame_header({payload.size(), stream}, std::span(bytes).first<FrameHeader::size>());
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    if (sealer) {
      std::array<std::byte, FrameSealer::tag_bytes> tag;
      sealer->protect(ByteSpan(bytes).first(FrameHeader::size), payload, tag);
      bytes.insert(bytes.end(), tag.begin(), tag.end());
    }
    return bytes;
  }
  void send(const Bytes& bytes) const { send_all(socket, bytes, deadline_after(5)); }
};

LinkSettings keyed_or_not(bool keyed) {
  LinkSettings settings;
  if (keyed) settings.key = Key{std::byte{3}};
  return settings;
}

class BulkLinks : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Keyed, BulkLinks, testing::Bool());

TEST_P(BulkLinks, StreamsShareAConnectionAndArriveWhole) {
  PeerLinkOptions options;
  options.link = keyed_or_not(GetParam());
  PeerGroup group(2, options);
  const Bytes a = pattern(300000), b = pattern(70001);
  Collector to_a(a.size()), to_b(b.size());
  group.links(1).expect(group.id(0), 0, {1, 10, 0}, to_a);
  FrameCount left;
  int frames = 0;
  for (std::size_t at = 0; at < a.size(); at += 50000) {
    group.links(0).send(group.id(1), 0, {1, 10, 0}, ByteSpan(a).subspan(at, 50000), nullptr, &left);
    ++frames;
    // Nobody expects the second stream yet.
    const std::size_t begin = at / 50000 * 11667, end = std::min(b.size(), begin + 11667);
    if (begin < end) {
      group.links(0).send(group.id(1), 0, {2, 11, 5}, ByteSpan(b).subspan(begin, end - begin), nullptr,
                          &left);
      ++frames;
    }
  }
  EXPECT_TRUE(to_a.wait(a.size()));
  group.links(1).expect(group.id(0), 0, {2, 11, 5}, to_b);
  EXPECT_TRUE(to_b.wait(b.size()));
  EXPECT_TRUE(to_a.bytes() == a);
  EXPECT_TRUE(to_b.bytes() == b);
  // The last frame may arrive before its sender has been told that it left.
  for (int waited = 0; waited < 500 && left.count < frames; ++waited)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(left.count, frames);
  const std::uint64_t overhead = FrameHeader::size + (GetParam() ? FrameSealer::tag_bytes : 0);
  EXPECT_EQ(group.links(0).sent_bytes(), a.size() + b.size() + static_cast<std::uint64_t>(frames) * overhead);
  EXPECT_EQ(group.links(1).received_bytes(), group.links(0).sent_bytes());
  EXPECT_EQ(to_a.wire_bytes + to_b.wire_bytes, group.links(0).sent_bytes());
  group.links(0).end(1, 10);
  group.links(1).end(1, 10);
  group.links(1).end(2, 11);
}

TEST_P(BulkLinks, WhatNobodyExpectsIsHeldBackAndThenDropped) {
  PeerLinkOptions options;
  options.link = keyed_or_not(GetParam());
  options.early_bytes = 1 << 20;
  options.send_buffer = options.receive_buffer = 1 << 18;
  PeerGroup group(2, options);
  const Bytes block = pattern(200000);
  for (int i = 0; i < 60; ++i) group.links(0).send(group.id(1), 0, {1, 10, 0}, block, nullptr, nullptr);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(group.links(1).received_bytes(), 5000000u) << "beyond the limit the sender waits";
  // The operation ends here: its bytes make room for another stream behind them.
  group.links(1).end(1, 10);
  Collector next(block.size());
  group.links(0).send(group.id(1), 0, {1, 11, 0}, block, nullptr, nullptr);
  group.links(1).expect(group.id(0), 0, {1, 11, 0}, next);
  EXPECT_TRUE(next.wait(block.size()));
  EXPECT_TRUE(next.bytes() == block);
  group.links(1).end(1, 11);
}

TEST_P(BulkLinks, ASenderThatEndsGivesItsMemoryBackAtOnce) {
  PeerLinkOptions options;
  options.link = keyed_or_not(GetParam());
  options.early_bytes = 1 << 20;
  options.send_buffer = options.receive_buffer = 1 << 18;
  PeerGroup group(2, options);
  FrameCount left;
  Bytes block = pattern(1 << 20);
  for (int i = 0; i < 20; ++i) group.links(0).send(group.id(1), 0, {1, 10, 0}, block, nullptr, &left);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const auto start = Clock::now();
  group.links(0).end(1, 10);
  EXPECT_LT(std::chrono::duration<double>(Clock::now() - start).count(), 1);
  EXPECT_EQ(left.count, 20);
  std::fill(block.begin(), block.end(), std::byte{0});
  // Framing and authentication hold for what follows.
  group.links(1).end(1, 10);
  const Bytes more = pattern(100000);
  Collector next(more.size());
  group.links(1).expect(group.id(0), 0, {1, 11, 0}, next);
  group.links(0).send(group.id(1), 0, {1, 11, 0}, more, nullptr, nullptr);
  EXPECT_TRUE(next.wait(more.size()));
  EXPECT_TRUE(next.bytes() == more);
  group.links(1).end(1, 11);
  group.links(0).end(1, 11);
}

TEST_P(BulkLinks, BrokenFramesEndTheConnectionWithAReason) {
  const LinkSettings settings = keyed_or_not(GetParam());
  const auto run = [&](auto act) {
    PeerLinkOptions options;
    options.link = settings;
    options.listen = {"127.0.0.1", 0};
    PeerLinks links(options);
    links.set_self(PeerId{1});
    Watcher watcher;
    links.watch(watcher);
    Collector sink(1000);
    HandMade peer(links, PeerId{1}, settings);
    links.expect(PeerId{99}, 0, {1, 10, 0}, sink);
    act(peer, sink);
    const std::string reason = watcher.first();
    links.end(1, 10);
    links.unwatch(watcher);
    EXPECT_EQ(links.incoming(PeerId{99}), 0);
    return reason;
  };
  EXPECT_THAT(run([](HandMade& peer, Collector&) {
                Bytes frame = peer.frame({1, 10, 0}, pattern(10));
                store_big_endian(std::uint64_t{15}, frame.data());
                peer.send(frame);
              }),
              HasSubstr("a frame of 15 bytes"));
  EXPECT_THAT(run([](HandMade& peer, Collector&) {
                Bytes frame = peer.frame({1, 10, 0}, pattern(10));
                store_big_endian((std::uint64_t{1} << 30) + 1, frame.data());
                peer.send(frame);
              }),
              HasSubstr("1 GiB"));
  EXPECT_THAT(run([](HandMade& peer, Collector&) {
                peer.send(peer.frame({1, 10, 0}, pattern(1001)));
              }),
              HasSubstr("more bytes came"));
  EXPECT_THAT(run([](HandMade& peer, Collector&) {
                Bytes frame = peer.frame({1, 10, 0}, pattern(10));
                frame.resize(30);
                peer.send(frame);
                peer.socket.shut_down();
              }),
              HasSubstr("within a frame"));
  if (!GetParam()) return;
  EXPECT_THAT(run([](HandMade& peer, Collector& sink) {
                Bytes frame = peer.frame({1, 10, 0}, pattern(100));
                frame[FrameHeader::size + 7] ^= std::byte{1};
                peer.send(frame);
                EXPECT_FALSE(sink.wait(1, 0.1)) << "nothing is handed over unchecked";
              }),
              HasSubstr("changed on its way"));
  EXPECT_THAT(run([](HandMade& peer, Collector&) {
                const Bytes frame = peer.frame({1, 10, 0}, pattern(100));
                peer.send(frame);
                peer.send(frame);
              }),
              HasSubstr("changed on its way"));
}

TEST(BulkStrangers, AreRefusedAndHoldUpNobody) {
  PeerLinkOptions options;
  options.link = keyed_or_not(true);
  options.link.handshake_timeout = 0.3;
  options.listen = {"127.0.0.1", 0};
  PeerLinks links(options);
  const Endpoint endpoint{"127.0.0.1", links.port()};
  std::vector<Socket> silent;
  for (int i = 0; i < 5; ++i) silent.push_back(connect_to(endpoint, 1));
  PeerLinks other(options);
  other.set_self(PeerId{2});
  try {
    other.open(PeerId{1}, endpoint, 2);
    ADD_FAILURE() << "it does not know who it is yet";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("another peer"));
  }
  links.set_self(PeerId{1});
  EXPECT_THROW(other.open(PeerId{7}, endpoint, 2), Error);
  PeerLinkOptions wrong = options;
  wrong.link.key = Key{std::byte{8}};
  PeerLinks stranger(wrong);
  stranger.set_self(PeerId{3});
  EXPECT_THROW(stranger.open(PeerId{1}, endpoint, 2), Error);
  other.open(PeerId{1}, endpoint, 2);
  EXPECT_TRUE(links.await(PeerId{2}, 2));
  EXPECT_EQ(links.incoming(PeerId{2}), 1);
  EXPECT_EQ(links.incoming(PeerId{3}), 0);
  EXPECT_FALSE(links.await(PeerId{3}, 0.01));
}

TEST(BulkPools, GrowCloseAndReportTheirEnd) {
  PeerLinkOptions options;
  options.pool_size = 4;
  PeerGroup group(2, options);
  EXPECT_EQ(group.links(0).outgoing(group.id(1)), 4);
  EXPECT_EQ(group.links(1).incoming(group.id(0)), 4);
  Watcher watcher;
  group.links(0).watch(watcher);
  group.links(1).close_all();
  EXPECT_THAT(watcher.first(), HasSubstr("closed"));
  group.links(0).unwatch(watcher);
  const auto deadline = deadline_after(5);
  while (group.links(0).outgoing(group.id(1)) > 0 && Clock::now() < deadline) std::this_thread::yield();
  EXPECT_EQ(group.links(0).outgoing(group.id(1)), 0);
  EXPECT_THROW(group.links(0).send(group.id(1), 0, {1, 1, 0}, {}, nullptr, nullptr), Error);
  // Opened again, it works again.
  group.links(0).open(group.id(1), {"127.0.0.1", group.links(1).port()}, 5);
  EXPECT_TRUE(group.links(1).await(group.id(0), 5));
  Collector sink(3);
  group.links(1).expect(group.id(0), 2, {1, 2, 0}, sink);
  const Bytes text = pattern(3);
  group.links(0).send(group.id(1), 2, {1, 2, 0}, text, nullptr, nullptr);
  EXPECT_TRUE(sink.wait(3));
  group.links(1).end(1, 2);
  group.links(0).end(1, 2);
}

TEST(BulkPools, PacedConnectionsKeepToTheirRate) {
  PeerLinkOptions options;
  options.pacing = 2e6;
  PeerGroup group(2, options);
  const Bytes block = pattern(600000);
  Collector sink(block.size());
  group.links(1).expect(group.id(0), 0, {1, 1, 0}, sink);
  const auto start = Clock::now();
  group.links(0).send(group.id(1), 0, {1, 1, 0}, block, nullptr, nullptr);
  EXPECT_TRUE(sink.wait(block.size()));
  EXPECT_GE(std::chrono::duration<double>(Clock::now() - start).count(), 0.15);
  group.links(1).end(1, 1);
  group.links(0).end(1, 1);
}

}  // namespace
}  // namespace laconic
