#include "engine/transport/tcp/link_protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/transport/tcp/big_endian.h"

namespace laconic {
namespace {

using testing::HasSubstr;
using Side = LinkProtocol::Side;

Key test_key(int number) {
  Key key{};
  key[0] = static_cast<std::byte>(number);
  return key;
}

LinkSettings no_key() { return {}; }
LinkSettings with_key(int number = 1) {
  LinkSettings settings;
  settings.key = test_key(number);
  return settings;
}
LinkSettings with_tls(int number = 1) {
  LinkSettings settings = with_key(number);
  settings.tls = true;
  return settings;
}

struct Pair {
  LinkProtocol opener, accepter;
  std::string opener_fault, accepter_fault;

  Pair(const LinkSettings& a, const LinkSettings& b, LinkPurpose purpose_a = LinkPurpose::control,
       LinkPurpose purpose_b = LinkPurpose::control)
      : opener(Side::opener, purpose_a, a), accepter(Side::accepter, purpose_b, b) {}

  static void carry(LinkProtocol& from, LinkProtocol& to, std::string& fault) {
    const Bytes bytes = from.output();
    if (bytes.empty() || !fault.empty()) return;
    try {
      // In two pieces, as a network may cut them.
      to.received(ByteSpan(bytes).first(bytes.size() / 2));
      to.received(ByteSpan(bytes).subspan(bytes.size() / 2));
    } catch (const Error& error) {
      fault = error.what();
    }
  }
  void exchange() {
    for (int i = 0; i < 8; ++i) {
      carry(opener, accepter, accepter_fault);
      carry(accepter, opener, opener_fault);
    }
  }
};

Bytes bytes_of(std::string_view text) { return {as_byte_span(text).begin(), as_byte_span(text).end()}; }

class Protections : public testing::TestWithParam<int> {
 protected:
  LinkSettings settings() const {
    return GetParam() == 0 ? no_key() : GetParam() == 1 ? with_key() : with_tls();
  }
};
INSTANTIATE_TEST_SUITE_P(All, Protections, testing::Values(0, 1, 2));

TEST_P(Protections, PacketsPassBothWays) {
  Pair pair(settings(), settings());
  pair.exchange();
  ASSERT_TRUE(pair.opener.established()) << pair.opener_fault;
  ASSERT_TRUE(pair.accepter.established()) << pair.accepter_fault;
  pair.opener.send(7, bytes_of("to the accepter"));
  pair.opener.send(8, {});
  pair.accepter.send(9, Bytes(100000, std::byte{3}));
  pair.exchange();
  const auto first = pair.accepter.next_packet(), second = pair.accepter.next_packet();
  ASSERT_TRUE(first && second);
  EXPECT_EQ(first->id, 7);
  EXPECT_EQ(first->payload, bytes_of("to the accepter"));
  EXPECT_EQ(second->id, 8);
  EXPECT_TRUE(second->payload.empty());
  EXPECT_FALSE(pair.accepter.next_packet());
  const auto back = pair.opener.next_packet();
  ASSERT_TRUE(back);
  EXPECT_EQ(back->payload, Bytes(100000, std::byte{3}));
  if (GetParam() > 0) {
    EXPECT_EQ(pair.opener.exported_key("bulk"), pair.accepter.exported_key("bulk"));
    EXPECT_NE(pair.opener.exported_key("bulk"), pair.opener.exported_key("other"));
  }
}

TEST_P(Protections, TextIsReadableOnlyWithoutTls) {
  Pair pair(settings(), settings());
  pair.exchange();
  pair.opener.send(1, bytes_of("plainly visible"));
  const Bytes wire = pair.opener.output();
  EXPECT_EQ(as_text(wire).find("plainly visible") != std::string::npos, GetParam() != 2);
}

// Every bit of every byte of a frame: with a key nothing gets through changed.
TEST(LinkProtocols, ChangedFramesAreNoticed) {
  for (const LinkSettings& settings : {with_key(), with_tls()}) {
    std::size_t size = 1;
    for (std::size_t at = 0; at < size; ++at) {
      Pair pair(settings, settings);
      pair.exchange();
      pair.opener.send(7, bytes_of("some text"));
      Bytes frame = pair.opener.output();
      size = frame.size();
      frame[at] ^= static_cast<std::byte>(1 << (at % 8));
      try {
        pair.accepter.received(frame);
        pair.accepter.ended();
        ADD_FAILURE() << "byte " << at;
      } catch (const Error&) {
      }
      EXPECT_FALSE(pair.accepter.next_packet()) << "byte " << at;
    }
  }
}

TEST(LinkProtocols, RepeatedReflectedLostAndTruncatedFramesAreNoticed) {
  const auto fresh = [](auto act) {
    Pair pair(with_key(), with_key());
    pair.exchange();
    pair.opener.send(1, bytes_of("one"));
    const Bytes one = pair.opener.output();
    pair.opener.send(2, bytes_of("two"));
    const Bytes two = pair.opener.output();
    act(pair, one, two);
  };
  fresh([](Pair& pair, const Bytes& one, const Bytes& two) {
    pair.accepter.received(one);
    pair.accepter.received(two);
    pair.accepter.ended();
  });
  fresh([](Pair& pair, const Bytes& one, const Bytes&) {
    pair.accepter.received(one);
    EXPECT_THROW(pair.accepter.received(one), Error) << "repeated";
  });
  fresh([](Pair& pair, const Bytes&, const Bytes& two) {
    EXPECT_THROW(pair.accepter.received(two), Error) << "the first was lost";
  });
  // One more frame was sent back by the accepter, so that the number is the one that is due.
  fresh([](Pair& pair, const Bytes& one, const Bytes&) {
    pair.accepter.send(1, bytes_of("one"));
    pair.opener.received(pair.accepter.output());
    EXPECT_THROW(pair.opener.received(one), Error) << "sent back";
  });
  fresh([](Pair& pair, const Bytes& one, const Bytes&) {
    pair.accepter.received(ByteSpan(one).first(one.size() - 1));
    EXPECT_THROW(pair.accepter.ended(), Error) << "truncated";
  });
  // A frame of one connection in another one of the same key.
  fresh([](Pair&, const Bytes& one, const Bytes&) {
    Pair other(with_key(), with_key());
    other.exchange();
    EXPECT_THROW(other.accepter.received(one), Error);
  });
}

TEST(LinkProtocols, MismatchesAreToldToBothSides) {
  const auto run = [](const LinkSettings& a, const LinkSettings& b, std::string_view opener,
                      std::string_view accepter, LinkPurpose purpose = LinkPurpose::control) {
    Pair pair(a, b, purpose);
    pair.exchange();
    EXPECT_THAT(pair.opener_fault, HasSubstr(std::string(opener)));
    EXPECT_THAT(pair.accepter_fault, HasSubstr(std::string(accepter)));
    EXPECT_FALSE(pair.accepter.established());
  };
  run(with_key(1), with_key(2), "another key", "another key");
  run(with_tls(1), with_tls(2), "same key", "same key");
  run(no_key(), with_key(), "comes with no key", "comes with no key");
  run(with_key(), no_key(), "shared key", "shared key");
  run(with_tls(), with_key(), "without", "wants TLS");
  run(with_key(), with_tls(), "wants TLS", "wants TLS");
  run(with_key(), with_key(), "control port", "shared-state", LinkPurpose::state);
}

TEST(LinkProtocols, AProofSentBackDoesNotOpenALink) {
  // A stranger without the key answers an opener with the opener's own HELLO.
  LinkProtocol opener(Side::opener, LinkPurpose::control, with_key());
  const Bytes hello = opener.output();
  EXPECT_THROW(opener.received(hello), Error);
}

TEST(LinkProtocols, OtherVersionsAndByteOrdersAreRefused) {
  for (const std::size_t at : {std::size_t{8 + 2 + 8}, std::size_t{8 + 2 + 9}, std::size_t{8 + 2 + 10}}) {
    LinkProtocol opener(Side::opener, LinkPurpose::control, no_key());
    LinkProtocol accepter(Side::accepter, LinkPurpose::control, no_key());
    Bytes hello = opener.output();
    hello[at] ^= std::byte{1};
    try {
      accepter.received(hello);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::input);
      EXPECT_THAT(error.what(), testing::AnyOf(HasSubstr("version"), HasSubstr("order the bytes")));
    }
    EXPECT_THROW(opener.received(accepter.output()), Error) << "the opener is told";
  }
}

TEST(LinkProtocols, FramesBeyondTheLimitAreRefusedByTheirLength) {
  LinkProtocol stranger(Side::accepter, LinkPurpose::control, no_key());
  Bytes large(8);
  store_big_endian(std::uint64_t{1025}, large.data());
  EXPECT_THROW(stranger.received(large), Error) << "before the handshake little is kept";

  LinkSettings settings = with_key();
  settings.frame_limit = 5000;
  Pair pair(settings, settings);
  pair.exchange();
  EXPECT_THROW(pair.opener.send(1, Bytes(5000)), Error);
  store_big_endian(std::uint64_t{5001}, large.data());
  EXPECT_THROW(pair.accepter.received(large), Error);
}

TEST(LinkProtocols, OtherProtocolsAreNamed) {
  LinkProtocol accepter(Side::accepter, LinkPurpose::control, no_key());
  try {
    accepter.received(bytes_of("GET / HTTP/1.1\r\n"));
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("another protocol"));
  }
}

TEST(LinkProtocols, KeysComeFromPhrasesDeterministically) {
  const Key key = key_from_phrase("correct horse");
  EXPECT_EQ(key, key_from_phrase("correct horse"));
  EXPECT_NE(key, key_from_phrase("correct house"));
  EXPECT_THROW(key_from_phrase("short"), Error);
  EXPECT_THROW(check_settings(no_key(), "10.0.0.1"), Error);
  EXPECT_NO_THROW(check_settings(no_key(), "127.0.0.1"));
  EXPECT_NO_THROW(check_settings(with_key(), "10.0.0.1"));
}

TEST(Authentication, SealedFramesAreCheckedByNumber) {
  FrameSealer sender(test_key(1)), receiver(test_key(1));
  const Bytes header = bytes_of("header");
  Bytes payload = bytes_of("payload of the frame");
  std::array<std::byte, FrameSealer::tag_bytes> tag{};
  sender.protect(header, payload, tag);
  EXPECT_TRUE(receiver.check(header, payload, tag));
  EXPECT_FALSE(receiver.check(header, payload, tag)) << "repeated";
  sender.encrypt(header, payload, payload.data(), tag);
  FrameSealer late(test_key(1));
  EXPECT_FALSE(late.decrypt(header, payload, tag)) << "the first was lost";
  Bytes again = bytes_of("payload of the frame");
  FrameSealer fresh(test_key(1)), mirror(test_key(1));
  fresh.encrypt(header, again, again.data(), tag);
  EXPECT_NE(again, bytes_of("payload of the frame"));
  EXPECT_TRUE(mirror.decrypt(header, again, tag));
  EXPECT_EQ(again, bytes_of("payload of the frame"));
}

}  // namespace
}  // namespace laconic
