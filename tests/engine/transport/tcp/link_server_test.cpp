#include "engine/transport/tcp/link_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <map>
#include <mutex>
#include <thread>

#include "engine/base/error.h"
#include "engine/transport/tcp/framed_link.h"

namespace laconic {
namespace {

using testing::HasSubstr;

LinkSettings link_settings(int protection) {
  LinkSettings settings;
  if (protection > 0) settings.key = Key{std::byte{5}};
  settings.tls = protection == 2;
  settings.handshake_timeout = 0.3;
  return settings;
}

// Answers every packet with the same one, id + 1, and writes down what happens.
class EchoServer {
 public:
  explicit EchoServer(const LinkSettings& settings)
      : server_({"127.0.0.1", 0}, 1, LinkPurpose::control, settings, events()),
        thread_([this] { server_.run(); }) {}
  ~EchoServer() {
    server_.stop();
    thread_.join();
  }
  Endpoint endpoint() const { return {"127.0.0.1", server_.port()}; }
  LinkServer& server() { return server_; }

  // The first `count` entries of the log, once they are there.
  std::vector<std::string> log(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(5), [&] { return log_.size() >= count; });
    return log_;
  }

 private:
  LinkServerEvents events() {
    LinkServerEvents events;
    events.opened = [this](LinkId, const Endpoint&) { write("opened"); };
    events.packet = [this](LinkId link, std::uint16_t id, ByteSpan payload) {
      if (id == 100) return server_.close(link, "asked to");
      server_.send(link, static_cast<std::uint16_t>(id + 1), payload);
    };
    events.closed = [this](LinkId, const std::string& reason) { write("closed: " + reason); };
    events.refused = [this](const Endpoint&, const std::string& reason) { write("refused: " + reason); };
    return events;
  }
  void write(const std::string& entry) {
    const std::lock_guard lock(mutex_);
    log_.push_back(entry);
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> log_;
  LinkServer server_;
  std::thread thread_;
};

class Links : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Protections, Links, testing::Values(0, 1, 2));

TEST_P(Links, ManyTalkAtOnce) {
  EchoServer echo(link_settings(GetParam()));
  std::vector<std::thread> peers;
  for (int peer = 0; peer < 6; ++peer) {
    peers.emplace_back([&, peer] {
      FramedLink link(echo.endpoint(), LinkPurpose::control, link_settings(GetParam()), 5);
      for (int i = 0; i < 40; ++i) {
        const Bytes payload(static_cast<std::size_t>(i * i * 10), static_cast<std::byte>(peer));
        link.send(static_cast<std::uint16_t>(2 * i), payload);
        const auto answer = link.receive(5);
        ASSERT_TRUE(answer);
        EXPECT_EQ(answer->id, 2 * i + 1);
        EXPECT_EQ(answer->payload, payload);
      }
    });
  }
  for (std::thread& peer : peers) peer.join();
}

TEST_P(Links, LastPacketsArriveBeforeTheEnd) {
  EchoServer echo(link_settings(GetParam()));
  FramedLink link(echo.endpoint(), LinkPurpose::control, link_settings(GetParam()), 5);
  const Bytes large(3000000, std::byte{1});
  link.send(2, large);
  link.send(100, {});
  const auto answer = link.receive(5);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->payload, large);
  EXPECT_THROW(link.receive(5), Error);
  EXPECT_THAT(echo.log(2), testing::ElementsAre("opened", "closed: asked to"));
}

TEST_P(Links, AStartedLinkHandsOverPacketsAndItsEnd) {
  EchoServer echo(link_settings(GetParam()));
  std::mutex mutex;
  std::vector<int> ids;
  std::promise<std::string> ended;
  FramedLink link(echo.endpoint(), LinkPurpose::control, link_settings(GetParam()), 5);
  link.start(
      [&](const Packet& packet) {
        const std::lock_guard lock(mutex);
        ids.push_back(packet.id);
      },
      [&](const std::string& reason) { ended.set_value(reason); });
  std::vector<std::thread> senders;
  for (int i = 0; i < 3; ++i) {
    senders.emplace_back([&] {
      for (int k = 0; k < 20; ++k) link.send(10, Bytes(1000));
    });
  }
  for (std::thread& sender : senders) sender.join();
  link.send(100, {});
  EXPECT_THAT(ended.get_future().get(), HasSubstr("closed"));
  const std::lock_guard lock(mutex);
  EXPECT_EQ(ids, std::vector<int>(60, 11));
  EXPECT_THROW(link.send(1, {}), Error);
}

TEST(Strangers, AreToldAndClosedAndHoldUpNobody) {
  EchoServer echo(link_settings(1));
  const Socket silent = connect_to(echo.endpoint(), 1);
  const Socket garbage = connect_to(echo.endpoint(), 1);
  send_all(garbage, as_byte_span("GET / HTTP/1.1\r\n\r\n"), deadline_after(1));
  const Socket oversized = connect_to(echo.endpoint(), 1);
  send_all(oversized, Bytes(9, std::byte{0x00}), deadline_after(1));
  LinkSettings wrong = link_settings(1);
  wrong.key = Key{std::byte{6}};
  try {
    FramedLink link(echo.endpoint(), LinkPurpose::control, wrong, 5);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("another key"));
    EXPECT_THAT(error.what(), HasSubstr(to_text(echo.endpoint()))) << "the endpoint is named";
  }
  try {
    FramedLink link(echo.endpoint(), LinkPurpose::control, link_settings(0), 5);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("no key"));
  }
  FramedLink good(echo.endpoint(), LinkPurpose::control, link_settings(1), 5);
  good.send(4, {});
  ASSERT_TRUE(good.receive(5));
  const auto log = echo.log(6);
  EXPECT_THAT(log, testing::UnorderedElementsAre("opened", HasSubstr("another protocol"),
                                                 HasSubstr("a frame of 0 bytes"), HasSubstr("another key"),
                                                 HasSubstr("no key"), HasSubstr("took too long")));
}

TEST(Strangers, AnAccepterThatSaysNothingIsGivenUp) {
  const Listener listener({"127.0.0.1", 0});
  const auto start = Clock::now();
  EXPECT_THROW(FramedLink({"127.0.0.1", listener.port()}, LinkPurpose::control, link_settings(1), 0.2),
               Error);
  EXPECT_LT(std::chrono::duration<double>(Clock::now() - start).count(), 2);
}

TEST(Strangers, ALinkWhoseProgramDiesWakesTheOther) {
  EchoServer echo(link_settings(1));
  { const FramedLink link(echo.endpoint(), LinkPurpose::control, link_settings(1), 5); }
  EXPECT_THAT(echo.log(2), testing::ElementsAre("opened", HasSubstr("closed")));
}

TEST(LinkServers, WithoutAKeyOnlyThisMachineIsTalkedTo) {
  EXPECT_THROW(LinkServer({"0.0.0.0", 0}, 1, LinkPurpose::control, link_settings(0), {}), Error);
  LinkSettings allowed = link_settings(0);
  allowed.allow_unauthenticated = true;
  EXPECT_NO_THROW(LinkServer({"0.0.0.0", 0}, 1, LinkPurpose::control, allowed, {}));
  EXPECT_NO_THROW(LinkServer({"0.0.0.0", 0}, 1, LinkPurpose::control, link_settings(1), {}));
}

TEST(LinkServers, TakenPortsAreSteppedOver) {
  const Listener first({"127.0.0.1", 0});
  const Listener second({"127.0.0.1", first.port()});
  EXPECT_GT(second.port(), first.port());
  EXPECT_THROW(Listener({"127.0.0.1", first.port()}, 1), Error);
}

TEST(LinkServers, WorkAndTimersRunInTheLoop) {
  EchoServer echo(link_settings(0));
  std::promise<std::thread::id> posted, timed;
  echo.server().post([&] { posted.set_value(std::this_thread::get_id()); });
  echo.server().after(0.01, [&] { timed.set_value(std::this_thread::get_id()); });
  const std::thread::id loop = posted.get_future().get();
  EXPECT_NE(loop, std::this_thread::get_id());
  EXPECT_EQ(timed.get_future().get(), loop);
}

TEST(LinkServers, CloseWakesWhoeverReceives) {
  EchoServer echo(link_settings(1));
  FramedLink link(echo.endpoint(), LinkPurpose::control, link_settings(1), 5);
  std::thread waiter([&] { EXPECT_THROW(link.receive(-1), Error); });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  link.close();
  waiter.join();
}

TEST(Endpoints, AreRead) {
  EXPECT_EQ(parse_endpoint("tcp://10.1.2.3:77", 5), (Endpoint{"10.1.2.3", 77}));
  EXPECT_EQ(parse_endpoint("host", 5), (Endpoint{"host", 5}));
  EXPECT_EQ(parse_endpoint("[::1]:99", 5), (Endpoint{"::1", 99}));
  EXPECT_EQ(parse_endpoint("::1", 5), (Endpoint{"::1", 5}));
  EXPECT_EQ(to_text({"::1", 99}), "[::1]:99");
  for (const char* wrong : {"", ":5", "a:", "a:0", "a:70000", "a:5x", "[::1", "[::1]5"})
    EXPECT_THROW(parse_endpoint(wrong, 1), Error) << wrong;
}

}  // namespace
}  // namespace laconic
