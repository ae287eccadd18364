#include "engine/transport/collectives.h"

#include <gmock/gmock.h>

#include <atomic>

#include "engine/base/error.h"
#include "engine/transport/thread_world.h"

namespace laconic {
namespace {

using testing::HasSubstr;

Bytes text(const std::string& value) {
  const ByteSpan bytes = as_byte_span(value);
  return {bytes.begin(), bytes.end()};
}

class Worlds : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Sizes, Worlds, testing::Values(1, 2, 3, 4, 5, 8, 13));

TEST_P(Worlds, GatherFromEveryRankInOrder) {
  run_ranks(GetParam(), [](Communicator& c) {
    const std::string own(static_cast<std::size_t>(c.rank()) * 3, static_cast<char>('a' + c.rank()));
    const std::vector<Bytes> all = all_gather(c, as_byte_span(own));
    std::uint64_t others = 0;
    for (int rank = 0; rank < c.size(); ++rank) {
      const std::string wanted(static_cast<std::size_t>(rank) * 3, static_cast<char>('a' + rank));
      EXPECT_EQ(as_text(all[static_cast<std::size_t>(rank)]), wanted);
      if (rank != c.rank()) others += wanted.size();
    }
    EXPECT_EQ(c.traffic(Exchange::all_gather).sent_bytes,
              own.size() * static_cast<std::uint64_t>(c.size() - 1));
    EXPECT_EQ(c.traffic(Exchange::all_gather).received_bytes, others);
    EXPECT_EQ(c.traffic().received_bytes, others);
  });
}

TEST_P(Worlds, AllToAllDeliversEachPart) {
  run_ranks(GetParam(), [](Communicator& c) {
    std::vector<Bytes> parts;
    for (int to = 0; to < c.size(); ++to)
      parts.push_back(text(std::to_string(c.rank()) + " to " + std::to_string(to)));
    const std::vector<Bytes> got = all_to_all(c, std::move(parts));
    for (int from = 0; from < c.size(); ++from) {
      EXPECT_EQ(as_text(got[static_cast<std::size_t>(from)]),
                std::to_string(from) + " to " + std::to_string(c.rank()));
    }
  });
}

TEST_P(Worlds, BroadcastReachesEveryRankFromAnyRoot) {
  run_ranks(GetParam(), [](Communicator& c) {
    for (int root = 0; root < c.size(); ++root) {
      const std::string wanted = "from " + std::to_string(root);
      const Bytes got = broadcast(c, root, c.rank() == root ? text(wanted) : Bytes{});
      EXPECT_EQ(as_text(got), wanted);
    }
    // Along a tree every rank but the root receives the message once.
    const Traffic traffic = c.traffic(Exchange::broadcast);
    EXPECT_EQ(traffic.received_messages, static_cast<std::uint64_t>(c.size() - 1));
  });
}

TEST_P(Worlds, NobodyPassesABarrierBeforeAllHaveCome) {
  std::atomic<int> come = 0;
  run_ranks(GetParam(), [&](Communicator& c) {
    for (int round = 1; round <= 20; ++round) {
      ++come;
      barrier(c);
      EXPECT_GE(come.load(), round * c.size());
    }
  });
}

TEST_P(Worlds, AgreeOnLeastAndMostAndWhoHasThem) {
  run_ranks(GetParam(), [](Communicator& c) {
    const auto value = static_cast<std::uint64_t>(10 + (c.rank() * 7) % 5);
    const Agreement agreement = agree(c, value);
    std::uint64_t least = ~0ull, most = 0;
    for (int rank = 0; rank < c.size(); ++rank) {
      least = std::min(least, static_cast<std::uint64_t>(10 + (rank * 7) % 5));
      most = std::max(most, static_cast<std::uint64_t>(10 + (rank * 7) % 5));
    }
    EXPECT_EQ(agreement.least, least);
    EXPECT_EQ(agreement.most, most);
    EXPECT_EQ(10 + (agreement.least_rank * 7) % 5, static_cast<int>(least));
    EXPECT_EQ(agreement.least_rank, 0);
  });
}

TEST(Handshake, DifferencesAreNamedWithTheLine) {
  run_ranks(4, [](Communicator& c) {
    require_equal_everywhere(c, "layers 6\nlr 0.1\n", "settings");
    const std::string own = c.rank() == 2 ? "layers 6\nlr 0.2\nseed 1\n" : "layers 6\nlr 0.1\nseed 1\n";
    try {
      require_equal_everywhere(c, own, "settings");
      ADD_FAILURE() << "a difference went by";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      EXPECT_THAT(error.what(), HasSubstr("rank 0 and rank 2 differ in settings"));
      EXPECT_THAT(error.what(), HasSubstr("lr 0.2"));
    }
  });
}

TEST(Handshake, ATextThatOnlyEndsEarlierDiffers) {
  run_ranks(2, [](Communicator& c) {
    EXPECT_THROW(require_equal_everywhere(c, c.rank() == 0 ? "a\nb" : "a\n", "settings"), Error);
    EXPECT_THROW(require_equal_everywhere(c, c.rank() == 0 ? "" : "x", "settings"), Error);
  });
}

TEST(ThreadWorld, ARankThatFailsIsNamedToThoseWhoWait) {
  try {
    run_ranks(3, [](Communicator& c) {
      if (c.rank() == 1) fail(ErrorKind::input, "no data");
      try {
        all_gather(c, {});
        ADD_FAILURE() << "an exchange with a lost rank ended";
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::io);
        EXPECT_THAT(error.what(), HasSubstr("is gone"));
        throw;
      }
    });
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input) << "the cause comes out, not its consequences";
  }
}

TEST(ThreadWorld, SilenceEndsAfterTheTimeout) {
  run_ranks(2, [](Communicator& c) {
    c.set_timeout(0.05);
    if (c.rank() == 0) {
      EXPECT_THROW(c.receive(1, 7), Error);
      c.send(1, 8, {});
    } else {
      c.set_timeout(10);
      c.receive(0, 8);
    }
  });
}

TEST(ThreadWorld, MessagesOfATagKeepTheirOrderAndTagsDoNotMix) {
  run_ranks(2, [](Communicator& c) {
    if (c.rank() == 0) {
      for (int i = 0; i < 50; ++i) c.send(1, i % 2 == 0 ? 1 : 2, text(std::to_string(i)));
    } else {
      for (int i = 1; i < 50; i += 2) EXPECT_EQ(as_text(c.receive(0, 2)), std::to_string(i));
      for (int i = 0; i < 50; i += 2) EXPECT_EQ(as_text(c.receive(0, 1)), std::to_string(i));
    }
  });
}

TEST(ThreadWorld, HundredsOfRanksExchange) {
  run_ranks(300, [](Communicator& c) {
    const Bytes own(4);
    EXPECT_EQ(all_gather(c, own).size(), 300u);
    barrier(c);
  });
}

}  // namespace
}  // namespace laconic
