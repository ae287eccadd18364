#include "engine/transport/tcp/state_transfer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/transport/tcp/relay.h"

namespace laconic {
namespace {

using testing::HasSubstr;

constexpr std::uint64_t sync = 42;

Bytes content(std::size_t size, std::uint64_t seed) {
  RandomStream random(seed, "state", "");
  Bytes bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.bits());
  return bytes;
}

struct Holder {
  std::vector<Bytes> arrays;
  StateServer server;

  explicit Holder(std::vector<Bytes> held, const LinkSettings& settings = {})
      : arrays(std::move(held)), server({"127.0.0.1", 0}, 1, settings) {}
  void begin() {
    std::vector<StateArray> list;
    for (std::size_t i = 0; i < arrays.size(); ++i)
      list.push_back({"key" + std::to_string(i), NumberType::f32, arrays[i]});
    server.begin_sync(sync, std::move(list));
  }
  Endpoint endpoint() const { return {"127.0.0.1", server.port()}; }
};

struct Wanted {
  std::vector<Bytes> memory;
  std::vector<StateRequest> requests;

  // Memory that holds something else, and the hashes that were agreed on.
  Wanted(const std::vector<Bytes>& agreed, const std::vector<std::size_t>& keys) {
    for (const std::size_t key : keys) memory.push_back(Bytes(agreed[key].size(), std::byte{0x77}));
    for (std::size_t i = 0; i < keys.size(); ++i) {
      StateRequest request;
      request.array = {"key" + std::to_string(keys[i]), NumberType::f32, memory[i]};
      request.hash = content_hash(ContentHashKind::xxh3_128, NumberType::f32, agreed[keys[i]]);
      requests.push_back(request);
    }
  }
  bool untouched() const {
    for (const Bytes& bytes : memory) {
      if (bytes != Bytes(bytes.size(), std::byte{0x77})) return false;
    }
    return true;
  }
};

StateTraffic fetch(const std::vector<Endpoint>& holders, Wanted& wanted, const LinkSettings& settings = {},
                   StateFetchOptions options = {}) {
  AbortToken token;
  return fetch_state(holders, sync, wanted.requests, settings, options, token);
}

std::vector<Bytes> three_arrays() { return {content(5000, 1), content(3000000, 2), content(4, 3)}; }

class StateTransfers : public testing::TestWithParam<int> {
 protected:
  LinkSettings settings() const {
    LinkSettings settings;
    if (GetParam() > 0) settings.key = Key{std::byte{1}};
    settings.tls = GetParam() == 2;
    return settings;
  }
};
INSTANTIATE_TEST_SUITE_P(Protections, StateTransfers, testing::Values(0, 1, 2));

TEST_P(StateTransfers, DirtyKeysMoveAndNothingElse) {
  const auto arrays = three_arrays();
  Holder holder(arrays, settings());
  holder.begin();
  Wanted wanted(arrays, {0, 2});
  const StateTraffic traffic = fetch({holder.endpoint()}, wanted, settings());
  EXPECT_EQ(wanted.memory[0], arrays[0]);
  EXPECT_EQ(wanted.memory[1], arrays[2]);
  EXPECT_GE(traffic.received_bytes, 5004u);
  EXPECT_LE(traffic.received_bytes, 5004u + 200) << "only what was asked for";
  EXPECT_LE(holder.server.sent_bytes(), 5004u + 200);
}

TEST_P(StateTransfers, LargeKeysComeFromSeveralHolders) {
  const auto arrays = three_arrays();
  Holder a(arrays, settings()), b(arrays, settings());
  a.begin();
  b.begin();
  Wanted wanted(arrays, {1});
  StateFetchOptions options;
  options.stripe_bytes = 100000;
  // Links so slow that neither holder is done before the other one is reached.
  const RelaySettings slow{.bits_per_second = 50e6};
  const Relay to_a(a.endpoint(), slow), to_b(b.endpoint(), slow);
  fetch({{"127.0.0.1", to_a.port()}, {"127.0.0.1", to_b.port()}}, wanted, settings(), options);
  EXPECT_TRUE(wanted.memory[0] == arrays[1]);
  EXPECT_GT(a.server.sent_bytes(), 100000u);
  EXPECT_GT(b.server.sent_bytes(), 100000u);
  EXPECT_LE(a.server.sent_bytes() + b.server.sent_bytes(), 3000000u * 1.01);
}

TEST(StateFetches, AHolderThatDiesInTheMiddleIsReplaced) {
  const auto arrays = three_arrays();
  Holder steady(arrays), dying(arrays);
  steady.begin();
  dying.begin();
  RelaySettings slow;
  slow.bits_per_second = 40e6;
  Relay to_steady(steady.endpoint(), slow), to_dying(dying.endpoint(), slow);
  Wanted wanted(arrays, {1});
  StateFetchOptions options;
  options.stripe_bytes = 500000;
  std::thread killer([&] {
    while (to_dying.carried_bytes() < 200000) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    to_dying.cut();
  });
  const StateTraffic traffic =
      fetch({{"127.0.0.1", to_dying.port()}, {"127.0.0.1", to_steady.port()}}, wanted, {}, options);
  killer.join();
  EXPECT_TRUE(wanted.memory[0] == arrays[1]);
  EXPECT_EQ(traffic.lost, (std::vector<std::size_t>{0}));
}

TEST(StateFetches, WithoutAnyHolderLeftMemoryIsWhatItWas) {
  const auto arrays = three_arrays();
  Holder holder(arrays);
  holder.begin();
  RelaySettings slow;
  slow.bits_per_second = 40e6;
  Relay relay(holder.endpoint(), slow);
  Wanted wanted(arrays, {1});
  std::thread killer([&] {
    while (relay.carried_bytes() < 200000) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    relay.cut();
  });
  StateFetchOptions options;
  options.stripe_bytes = 100000;
  EXPECT_THROW(fetch({{"127.0.0.1", relay.port()}}, wanted, {}, options), Error);
  killer.join();
  EXPECT_TRUE(wanted.untouched());
}

TEST(StateFetches, ContentThatWasNotAgreedOnIsGivenBack) {
  auto arrays = three_arrays();
  Holder holder(arrays);
  holder.begin();
  arrays[0][17] ^= std::byte{1};
  Wanted wanted(arrays, {0, 2});
  try {
    fetch({holder.endpoint()}, wanted);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    EXPECT_THAT(error.what(), HasSubstr("key0"));
  }
  EXPECT_EQ(wanted.memory[0], Bytes(5000, std::byte{0x77}));
  EXPECT_EQ(wanted.memory[1], arrays[2]) << "the other key is good";
}

TEST(StateFetches, OutsideASyncAndForUnknownKeysServersRefuse) {
  const auto arrays = three_arrays();
  Holder holder(arrays);
  const auto reason = [&](Wanted& wanted) -> std::string {
    try {
      fetch({holder.endpoint()}, wanted);
      return "";
    } catch (const Error& error) {
      return error.what();
    }
  };
  Wanted wanted(arrays, {0});
  EXPECT_THAT(reason(wanted), HasSubstr("no sync"));
  holder.begin();
  EXPECT_EQ(reason(wanted), "");
  Wanted unknown(arrays, {0});
  unknown.requests[0].array.key = "other";
  EXPECT_THAT(reason(unknown), HasSubstr("no such key"));
  Wanted resized(arrays, {0});
  resized.requests[0].array.bytes = resized.requests[0].array.bytes.first(4996);
  EXPECT_THAT(reason(resized), HasSubstr("another size"));
  holder.server.end_sync();
  EXPECT_THAT(reason(wanted), HasSubstr("no sync"));
}

TEST(StateFetches, AbortWakesTheReceiver) {
  const auto arrays = three_arrays();
  Holder holder(arrays);
  holder.begin();
  RelaySettings slow;
  slow.bits_per_second = 1e6;
  Relay relay(holder.endpoint(), slow);
  Wanted wanted(arrays, {1});
  AbortToken token;
  std::thread aborter([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    token.abort("enough");
  });
  const std::vector<Endpoint> holders = {{"127.0.0.1", relay.port()}};
  try {
    fetch_state(holders, sync, wanted.requests, {}, {}, token);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::interrupted);
  }
  aborter.join();
  EXPECT_TRUE(wanted.untouched());
}

TEST(StateFetches, RequestsSurviveTheWireAndDamageIsRefused) {
  const Bytes bytes = encode_state_request({7, 100, 20, 30, NumberType::i64, "weights"});
  const StateRangeRequest request = decode_state_request(bytes);
  EXPECT_EQ(request.key, "weights");
  EXPECT_EQ(request.begin, 20u);
  EXPECT_EQ(request.type, NumberType::i64);
  for (std::size_t size = 0; size <= 33; ++size)
    EXPECT_THROW(decode_state_request(ByteSpan(bytes).first(size)), Error);
  EXPECT_THROW(decode_state_request(encode_state_request({7, 100, 30, 30, NumberType::u8, "k"})), Error);
  EXPECT_THROW(decode_state_request(encode_state_request({7, 100, 30, 101, NumberType::u8, "k"})), Error);
}

}  // namespace
}  // namespace laconic
