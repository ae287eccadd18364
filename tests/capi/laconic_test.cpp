#include "capi/laconic.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <thread>
#include <vector>

namespace {

struct MasterHandle {
  MasterHandle() {
    laconic_master_options options;
    laconic_master_options_init(&options);
    options.port = 0;
    EXPECT_EQ(laconic_master_create(&options, &master), LACONIC_OK) << laconic_last_error();
    address = "tcp://127.0.0.1:" + std::to_string(laconic_master_port(master));
  }
  ~MasterHandle() { laconic_master_destroy(master); }
  laconic_master* master = nullptr;
  std::string address;
};

// Three processes of the example in C; they end with the same vector.
TEST(CInterface, PeersInCHoldTheSameVector) {
  const MasterHandle master;
  const std::string command = fmt::format("{} {} 3 40 2>&1", LACONIC_EXAMPLE, master.address);
  std::array<std::string, 3> outputs;
  std::vector<std::thread> threads;
  std::array<int, 3> codes{};
  for (std::size_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      FILE* pipe = popen(command.c_str(), "r");
      std::array<char, 256> piece{};
      while (std::fgets(piece.data(), static_cast<int>(piece.size()), pipe) != nullptr)
        outputs[i] += piece.data();
      codes[i] = pclose(pipe);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(codes[i], 0) << outputs[i];
  EXPECT_GT(std::stod(outputs[0]), 0);
  EXPECT_EQ(outputs[0], outputs[1]);
  EXPECT_EQ(outputs[0], outputs[2]);
}

TEST(CInterface, MistakesAreResultsWithATextNotCrashes) {
  const MasterHandle master;
  laconic_peer* peer = nullptr;
  EXPECT_EQ(laconic_peer_create(nullptr, &peer), LACONIC_USAGE);
  laconic_peer_options options;
  laconic_peer_options_init(&options);
  EXPECT_EQ(laconic_peer_create(&options, &peer), LACONIC_USAGE);
  options.master = "tcp://127.0.0.1:99999";
  EXPECT_EQ(laconic_peer_create(&options, &peer), LACONIC_USAGE);
  EXPECT_NE(std::string(laconic_last_error()).find("port"), std::string::npos);
  options.master = "tcp://10.1.2.3";
  EXPECT_EQ(laconic_peer_create(&options, &peer), LACONIC_USAGE) << "no key";
  options.master = master.address.c_str();
  options.struct_size = 1000;
  EXPECT_EQ(laconic_peer_create(&options, &peer), LACONIC_USAGE);
  options.struct_size = sizeof options;
  ASSERT_EQ(laconic_peer_create(&options, &peer), LACONIC_OK) << laconic_last_error();
  float numbers[4] = {1, 2, 3, 4};
  laconic_reduce reduce;
  laconic_reduce_init(&reduce);
  reduce.source = reduce.destination = numbers;
  reduce.count = 4;
  EXPECT_EQ(laconic_all_reduce(peer, &reduce, nullptr), LACONIC_NOT_CONNECTED);
  EXPECT_EQ(laconic_all_reduce(nullptr, &reduce, nullptr), LACONIC_USAGE);
  ASSERT_EQ(laconic_peer_join(peer), LACONIC_OK) << laconic_last_error();
  EXPECT_EQ(laconic_all_reduce(peer, &reduce, nullptr), LACONIC_TOO_FEW_PEERS);
  laconic_reduce_report report;
  EXPECT_EQ(laconic_all_reduce_many(peer, &reduce, 1, 2, &report), LACONIC_TOO_FEW_PEERS);
  EXPECT_EQ(report.world, 0);
  reduce.count = 0;
  EXPECT_EQ(laconic_all_reduce(peer, &reduce, nullptr), LACONIC_USAGE);
  reduce.type = static_cast<laconic_type>(77);
  EXPECT_EQ(laconic_all_reduce(peer, &reduce, nullptr), LACONIC_USAGE);
  EXPECT_EQ(laconic_operation_wait(nullptr, nullptr), LACONIC_USAGE);
  laconic_peer_destroy(peer);
  laconic_peer_destroy(nullptr);
  EXPECT_STREQ(laconic_result_name(LACONIC_TAG_RUNNING), "tag running");
}

TEST(CInterface, QuantisedOperationsMayOverlap) {
  const MasterHandle master;
  std::vector<std::thread> threads;
  std::array<std::array<std::vector<float>, 2>, 2> results;
  for (std::size_t i = 0; i < 2; ++i) {
    threads.emplace_back([&, i] {
      laconic_peer_options options;
      laconic_peer_options_init(&options);
      options.master = master.address.c_str();
      laconic_peer* peer = nullptr;
      ASSERT_EQ(laconic_peer_create(&options, &peer), LACONIC_OK) << laconic_last_error();
      ASSERT_EQ(laconic_peer_join(peer), LACONIC_OK) << laconic_last_error();
      while (laconic_peer_group_size(peer) < 2) {
        int pending = 0;
        ASSERT_EQ(laconic_peer_newcomers_pending(peer, &pending), LACONIC_OK);
        if (pending != 0) {
          ASSERT_EQ(laconic_peer_update_topology(peer), LACONIC_OK);
        }
      }
      std::array<laconic_operation*, 2> operations{};
      for (std::size_t k = 0; k < 2; ++k) {
        results[i][k].assign(3000, static_cast<float>(i + k));
        laconic_reduce reduce;
        laconic_reduce_init(&reduce);
        reduce.source = reduce.destination = results[i][k].data();
        reduce.count = 3000;
        reduce.tag = k;
        reduce.quantization = LACONIC_MIN_MAX;
        ASSERT_EQ(laconic_all_reduce_start(peer, &reduce, &operations[k]), LACONIC_OK);
      }
      for (laconic_operation* operation : operations) {
        laconic_reduce_report report;
        EXPECT_EQ(laconic_operation_wait(operation, &report), LACONIC_OK) << laconic_last_error();
        EXPECT_EQ(report.world, 2);
      }
      laconic_peer_destroy(peer);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0][1][7], 3.0f);
}

}  // namespace
