// The driver of federated training: who takes part, clients that are empty or broken, exact resume, records,
// and runs as arms of a trial.
#include "methods/gradients/federated/federated_training.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/threads.h"
#include "methods/gradients/federated/federated_checkpoint.h"
#include "methods/gradients/federated/federated_trial.h"
#include "methods/gradients/federated/quadratic_clients.h"
#include "tests/methods/pulling_clients.h"

namespace laconic {
namespace {

TEST(FederatedTraining, DrawsWithoutReplacementAndEveryClientAsOften) {
  std::vector<int> among(20), times(20, 0);
  std::iota(among.begin(), among.end(), 0);
  for (std::uint64_t round = 1; round <= 2000; ++round) {
    const std::vector<int> drawn = round_participants(among, 5, 1, round);
    ASSERT_EQ(drawn.size(), 5u);
    for (std::size_t i = 1; i < drawn.size(); ++i) ASSERT_LT(drawn[i - 1], drawn[i]);
    for (const int client : drawn) ++times[static_cast<std::size_t>(client)];
  }
  for (const int count : times) EXPECT_NEAR(count, 500, 5 * std::sqrt(2000 * 0.25 * 0.75));
  EXPECT_EQ(round_participants(among, 5, 1, 7), round_participants(among, 5, 1, 7));
  EXPECT_NE(round_participants(among, 5, 1, 7), round_participants(among, 5, 2, 7));
}

TEST(FederatedTraining, EmptyClientsAreNeverDrawnAndOneIsSaid) {
  const Pulls task(40);
  FederatedSettings settings = settings_of("scallion", {{"codec", "none"}});
  settings.examples_of.insert(settings.examples_of.begin() + 3, {{}, {}});
  std::vector<std::string> said;
  FederatedListener listener;
  listener.message = [&](std::string_view line) { said.emplace_back(line); };
  const FederatedResult result = train_clients(task, settings, listener);
  EXPECT_EQ(result.population, 8);
  EXPECT_EQ(result.clients, 10);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_THAT(said[0], testing::HasSubstr("2 of 10 clients"));
  settings.participants = 9;
  EXPECT_THROW(train_clients(task, settings), Error) << "more than have examples";
  settings.examples_of.assign(4, {});
  settings.participants = 1;
  EXPECT_THROW(train_clients(task, settings), Error);
}

TEST(FederatedTraining, ABrokenClientDropsOutByName) {
  const Pulls task(40, 17);  // of client 3
  FederatedSettings settings = settings_of("scafcom", {{"codec", "outliers(fraction=0.3)"}});
  settings.participants = 8;
  settings.batch = 5;
  settings.rounds = 4;
  std::vector<std::string> said;
  std::vector<RoundRecord> records;
  FederatedListener listener;
  listener.message = [&](std::string_view line) { said.emplace_back(line); };
  listener.on_round = [&](const RoundRecord& record) { records.push_back(record); };
  const FederatedResult result = train_clients(task, settings, listener);
  ASSERT_EQ(said.size(), 4u);
  EXPECT_EQ(said[1], "client 3 is left out of round 2: second.bias is not finite");
  EXPECT_EQ(records[0].clients, 7);
  EXPECT_EQ(result.refused, 0);
  // With nobody left, nothing changes, and the run ends.
  settings.examples_of = {{17}, {17}};
  settings.participants = 2;
  settings.rounds = 100;
  try {
    train_clients(task, settings);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::input);
    EXPECT_THAT(error.what(), testing::HasSubstr("10 rounds in a row"));
  }
}

TEST(FederatedTraining, TheSameBitsAtAnyNumberOfThreads) {
  const Pulls task(40);
  for (const char* slug : {"scallion", "scafcom", "scaffold", "fedavg", "fedzip"}) {
    std::vector<std::string> hashes;
    for (const int threads : {1, 2, 5}) {
      set_thread_count(threads);
      hashes.push_back(train_clients(task, settings_of(slug)).hash);
    }
    set_thread_count(0);
    EXPECT_EQ(hashes[0], hashes[1]) << slug;
    EXPECT_EQ(hashes[0], hashes[2]) << slug;
  }
}

TEST(FederatedTraining, AStoppedRunGoesOnWithTheSameBits) {
  const Pulls task(40);
  for (const char* slug : {"scallion", "scafcom", "scaffold", "fedavg"}) {
    FederatedSettings settings = settings_of(slug);
    if (std::string(slug) == "fedavg") {
      settings.parameters.set("codec", "outliers(fraction=0.2)");
      settings.parameters.set("ef", "true");
    }
    const FederatedResult whole = train_clients(task, settings);
    FederatedSettings part = settings;
    part.checkpoint = federated_folder(slug);
    part.rounds = 7;
    train_clients(task, part);
    ASSERT_TRUE(has_federated_checkpoint(part.checkpoint));
    part.rounds = settings.rounds;
    part.resume = true;
    const FederatedResult resumed = train_clients(task, part);
    EXPECT_EQ(resumed.resumed_from, 7) << slug;
    ASSERT_EQ(resumed.evaluations.size(), whole.evaluations.size() + 1) << "and where the first part ended";
    EXPECT_EQ(resumed.evaluations.front().round, 7) << slug;
    EXPECT_GT(resumed.evaluations.front().total_bytes_up, 0u) << slug;
    EXPECT_EQ(resumed.hash, whole.hash) << slug;
    EXPECT_EQ(resumed.bytes_up, whole.bytes_up) << slug;
    EXPECT_EQ(resumed.bytes_down, whole.bytes_down) << slug;
    EXPECT_EQ(train_clients(task, part).hash, whole.hash) << "already complete";
    // Another run's settings, and damage.
    FederatedSettings other = part;
    other.local_rate = 0.05;
    EXPECT_THROW(train_clients(task, other), Error);
    const auto file = part.checkpoint / "federated.state";
    Bytes bytes = read_file(file);
    bytes[bytes.size() / 2] ^= std::byte{4};
    write_file(file, ByteSpan(bytes));
    try {
      train_clients(task, part);
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    }
  }
}

TEST(FederatedTraining, AnInterruptLeavesACheckpoint) {
  const Pulls task(40);
  FederatedSettings settings = settings_of("scafcom");
  const FederatedResult whole = train_clients(task, settings);
  settings.checkpoint = federated_folder("interrupt");
  FederatedListener listener;
  listener.on_round = [](const RoundRecord& record) {
    if (record.round == 9) request_interrupt();
  };
  try {
    train_clients(task, settings, listener);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::interrupted);
  }
  clear_interrupt();
  settings.resume = true;
  EXPECT_EQ(train_clients(task, settings).hash, whole.hash);
}

TEST(FederatedTraining, RefusesSettingsThatMakeNoSense) {
  const Pulls task(40);
  const FederatedSettings good = settings_of("fedavg");
  const std::vector<std::function<void(FederatedSettings&)>> changes = {
      [](FederatedSettings& s) { s.participants = 9; },
      [](FederatedSettings& s) { s.participants = 0; },
      [](FederatedSettings& s) { s.local_steps = 0; },
      [](FederatedSettings& s) { s.local_rate = 0; },
      [](FederatedSettings& s) { s.server_rate = -1; },
      [](FederatedSettings& s) { s.batch = 0; },
      [](FederatedSettings& s) { s.rounds = 0; },
      [](FederatedSettings& s) { s.examples_of.clear(); },
      [](FederatedSettings& s) { s.algorithm = nullptr; },
      [](FederatedSettings& s) { s.resume = true; },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    FederatedSettings settings = good;
    changes[i](settings);
    try {
      train_clients(task, settings);
      ADD_FAILURE() << "change " << i;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
    }
  }
}

// One client, one step of rate 0.5 a round, which RMSprop begins anew: v = 0.1 g^2, so every number moves by
// 0.5 / sqrt(0.1) whatever its gradient is.
TEST(FederatedTraining, ClientsMayTakeRmsprop) {
  const Pulls task(40);
  FederatedSettings settings = settings_of("fedavg");
  settings.participants = 1;
  settings.rounds = 1;
  settings.local_steps = 1;
  settings.local_rate = 0.5;
  settings.local_optimizer = rmsprop_settings();
  const FederatedResult result = train_clients(task, settings);
  const std::vector<float> initial = task.initial(settings.seed);
  for (std::size_t j = 0; j < initial.size(); ++j)
    EXPECT_NEAR(std::abs(result.final_parameters[j] - initial[j]), 0.5 / std::sqrt(0.1), 1e-3) << j;
  // Not mistaken for plain steps when resumed, and refused where control variates correct them.
  settings.checkpoint = federated_folder("rmsprop");
  train_clients(task, settings);
  settings.resume = true;
  EXPECT_EQ(train_clients(task, settings).hash, result.hash);
  settings.local_optimizer.reset();
  EXPECT_THROW(train_clients(task, settings), Error);
  FederatedSettings controlled = settings_of("scaffold");
  controlled.local_optimizer = rmsprop_settings();
  try {
    train_clients(task, controlled);
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();
  }
}

TEST(FederatedTraining, RecordsAreJson) {
  const Pulls task(40);
  FederatedSettings settings = settings_of("scafcom");
  settings.evaluate_every = 5;
  std::vector<RoundRecord> records;
  FederatedListener listener;
  listener.on_round = [&](const RoundRecord& record) { records.push_back(record); };
  const FederatedResult result = train_clients(task, settings, listener);
  ASSERT_EQ(records.size(), 20u);
  EXPECT_EQ(result.evaluations.size(), 4u);
  std::uint64_t up = 0;
  for (const RoundRecord& record : records) up += record.bytes_up;
  EXPECT_EQ(up, result.bytes_up);
  const nlohmann::json json = records[4].to_json();
  EXPECT_EQ(json["round"], 5);
  EXPECT_EQ(json["clients"], 3);
  EXPECT_EQ(json["bytes_up"], records[4].bytes_up);
  EXPECT_TRUE(json.contains("held_out_loss"));
  EXPECT_FALSE(json.contains("accuracy")) << "not a classifier";
  EXPECT_LT(records[19].held_out->loss, records[4].held_out->loss);
}

TEST(QuadraticClients, NoiseComesInPairsAndTheMinimumIsKnown) {
  const QuadraticClients task({4, 10, 0.5, 3}), exact({4, 10, 0, 3});
  const auto noisy = task.replica(), plain = exact.replica();
  std::vector<float> x(10, 0.3f), one(10), two(10), sum(10);
  const auto own = task.examples_of()[2];
  const std::int64_t client = exact.examples_of()[2].front();
  plain->gradient(x, std::vector<std::int64_t>{client}, sum);
  noisy->gradient(x, std::vector<std::int64_t>{own[6]}, one);
  noisy->gradient(x, std::vector<std::int64_t>{own[7]}, two);
  for (std::size_t j = 0; j < 10; ++j) {
    EXPECT_NEAR((one[j] + two[j]) / 2, sum[j], 1e-6);
    EXPECT_NE(one[j], sum[j]);
  }
  EXPECT_DOUBLE_EQ(exact.relative_gap(exact.initial(1)), 1);
  // Gradient descent on the mean of the clients finds the minimum that is stated.
  std::vector<float> mean(10);
  x.assign(10, 0.0f);
  for (int step = 0; step < 400; ++step) {
    std::fill(mean.begin(), mean.end(), 0.0f);
    for (const auto& examples : exact.examples_of()) {
      plain->gradient(x, examples, one);
      for (std::size_t j = 0; j < 10; ++j) mean[j] += one[j] / 4;
    }
    for (std::size_t j = 0; j < 10; ++j) x[j] -= mean[j];
  }
  EXPECT_LT(exact.relative_gap(x), 1e-10);
}

TEST(FederatedTrial, TunesOnceAndKeepsItsArms) {
  const QuadraticClients task({10, 20, 0, 1});
  ArmCache cache(federated_folder("arms"));
  FederatedSettings settings;
  settings.examples_of = task.examples_of();
  settings.participants = 3;
  settings.rounds = 60;
  settings.local_steps = 5;
  settings.evaluate_every = 5;
  FederatedTrial trial(cache, task, settings);
  const FederatedGrid grid = {{100, 0.1, 0.01}, {1}, {{{"beta", "0.5"}}, {{"beta", "1"}}}};
  const FederatedArm arm = {"scafcom", "scafcom", {{"codec", "outliers(fraction=0.2,dtype=f32)"}}};
  const auto arms = trial.tuned(arm, grid, {1, 2});
  EXPECT_EQ(cache.fresh(), 3) << "the search, and two seeds";
  EXPECT_EQ(arms[0].at("local_rate"), 0.1);
  EXPECT_EQ(arms[0].at("grid"), 6);
  EXPECT_EQ(arms[0].at("diverged"), 0);
  EXPECT_LT(arms[0].at("loss"), 0.1);
  EXPECT_EQ(arms[0].at("curve.11.round"), 60);
  EXPECT_EQ(arms[0].at("curve.11.bytes"), arms[0].at("bytes_up"));
  const auto again = trial.tuned(arm, grid, {1, 2});
  EXPECT_EQ(cache.cached(), 3);
  EXPECT_EQ(again[1].at("loss"), arms[1].at("loss"));
  FederatedArm wild = arm;
  wild.adapt = [](FederatedSettings& s) { s.local_rate = 1e6; };
  EXPECT_EQ(trial.run(wild, 1).at("diverged"), 1) << "an arm that ends in infinities has numbers too";
}

}  // namespace
}  // namespace laconic
