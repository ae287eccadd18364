// Federated algorithms: the card's worked rounds, SCALLION and SCAFCOM without compression against SCAFFOLD,
// and what holds after any number of rounds.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "methods/gradients/federated/controlled_averaging.h"
#include "methods/gradients/federated/update_averaging.h"
#include "methods/gradients/scaffold/scaffold.h"
#include "tests/methods/pulling_clients.h"

namespace laconic {
namespace {

TEST(ControlledAveraging, TheCardsTwoRounds) {
  ControlledAveragingForm form;
  form.codec = "outliers(fraction=0.5,dtype=f32)";
  ControlledAveraging algorithm(two_numbers(), form);
  IdentityGradient local(0.5f);
  ClientUpdate update = algorithm.client_round(1, 0, algorithm.broadcast(1), local);
  EXPECT_THAT(local.last, testing::ElementsAre(0.5f, 1.0f)) << "y";
  EXPECT_TRUE(algorithm.server_round(1, {update.message}).accepted);
  EXPECT_THAT(algorithm.point(), testing::ElementsAre(1.0f, 1.0f));
  EXPECT_THAT(algorithm.control(), testing::ElementsAre(0.0f, 2.0f));
  EXPECT_THAT(algorithm.memory(0)->estimate(), testing::ElementsAre(0.0f, 2.0f));
  update = algorithm.client_round(2, 0, algorithm.broadcast(2), local);
  EXPECT_THAT(local.last, testing::ElementsAre(0.5f, 0.5f)) << "y";
  EXPECT_TRUE(algorithm.server_round(2, {update.message}).accepted);
  EXPECT_THAT(algorithm.point(), testing::ElementsAre(0.5f, 0.0f)) << "a tie sends the lower index";
  EXPECT_THAT(algorithm.control(), testing::ElementsAre(1.0f, 2.0f));
}

// Rounds of three algorithms beside each other: the same clients, the same minibatches.
TEST(ControlledAveraging, WithoutCompressionIsScaffoldWithHalfTheUplink) {
  const Pulls task(40);
  for (const int participants : {3, 8}) {
    std::vector<FederatedResult> results;
    for (FederatedSettings settings :
         {settings_of("scaffold"), settings_of("scallion", {{"codec", "none"}, {"alpha", "1"}}),
          settings_of("scafcom", {{"codec", "none"}, {"beta", "1"}})}) {
      settings.participants = participants;
      settings.rounds = 50;
      results.push_back(train_clients(task, settings));
    }
    double norm = 0, scallion = 0;
    for (std::size_t j = 0; j < Pulls::width; ++j) {
      const double x = results[0].final_parameters[j];
      norm += x * x;
      scallion += (x - results[1].final_parameters[j]) * (x - results[1].final_parameters[j]);
    }
    EXPECT_LE(std::sqrt(scallion), 1e-6 * std::sqrt(norm)) << participants;
    EXPECT_EQ(results[1].hash, results[2].hash) << "the two are one algorithm then";
    // Two vectors of 48 bytes against one; rounds and clients below 128 are one byte each.
    const std::uint64_t messages = 50 * static_cast<std::uint64_t>(participants), frame = 3 + 4 + 4;
    EXPECT_EQ(results[0].bytes_up, messages * (2 * 48 + frame));
    EXPECT_EQ(results[1].bytes_up, messages * (48 + frame));
    EXPECT_EQ(results[0].bytes_down, messages * (2 * 48 + 1 + 4 + 4));
    EXPECT_EQ(results[0].bytes_down, results[1].bytes_down);
  }
}

struct Watched {
  ControlledAveraging* algorithm = nullptr;
};

FederatedSettings watched(FederatedSettings settings, Watched& watch) {
  const auto make = settings.algorithm;
  settings.algorithm = [make, &watch](const FederatedRequest& request) {
    auto algorithm = make(request);
    watch.algorithm = dynamic_cast<ControlledAveraging*>(algorithm.get());
    return algorithm;
  };
  return settings;
}

TEST(ControlledAveraging, TheServersControlIsTheMeanOfTheClients) {
  const Pulls task(40);
  for (const FederatedSettings& plain :
       {settings_of("scallion", {{"codec", "qsgd(bits=2)"}}), settings_of("scallion", {{"codec", "randk"}}),
        settings_of("scafcom", {{"codec", "outliers(fraction=0.1,dtype=f16)"}}),
        settings_of("scafcom", {{"codec", "outliers(fraction=0.2)"}, {"scope", "tensor"}})}) {
    Watched watch;
    FederatedSettings settings = watched(plain, watch);
    int rounds = 0;
    FederatedListener listener;
    listener.on_round = [&](const RoundRecord&) {
      ++rounds;
      std::vector<double> mean(Pulls::width);
      for (int client = 0; client < 8; ++client) {
        const Feedback* memory = watch.algorithm->memory(client);
        if (memory == nullptr) continue;
        for (std::size_t j = 0; j < mean.size(); ++j) mean[j] += memory->estimate()[j] / 8.0;
      }
      double miss = 0, norm = 0;
      for (std::size_t j = 0; j < mean.size(); ++j) {
        const double c = watch.algorithm->control()[j];
        miss += (c - mean[j]) * (c - mean[j]);
        norm += c * c;
      }
      EXPECT_LE(std::sqrt(miss), 1e-5 * (std::sqrt(norm) + 1));
    };
    settings.rounds = 60;
    train_clients(task, settings, listener);
    EXPECT_EQ(rounds, 60);
  }
}

TEST(ControlledAveraging, ScafcomWithoutCompressionSetsTheControlToTheMomentum) {
  ControlledAveragingForm form;
  form.beta = 0.25;
  ControlledAveraging algorithm(two_numbers(), form);
  IdentityGradient local(0.5f);
  std::vector<float> v = {0, 0};
  for (std::uint64_t round = 1; round <= 5; ++round) {
    for (std::size_t j = 0; j < 2; ++j) v[j] = 0.75f * v[j] + 0.25f * algorithm.point()[j];
    const ClientUpdate update = algorithm.client_round(round, 0, algorithm.broadcast(round), local);
    ASSERT_TRUE(algorithm.server_round(round, {update.message}).accepted);
    for (std::size_t j = 0; j < 2; ++j) EXPECT_NEAR(algorithm.memory(0)->estimate()[j], v[j], 1e-6);
  }
}

TEST(ControlledAveraging, RefusesWhatHasNoConstantAndWarnsOfAPoorFit) {
  ControlledAveragingForm form;
  form.codec = "kmeans";
  EXPECT_THROW(ControlledAveraging(two_numbers(), form), Error);
  form.codec = "outliers";
  form.alpha = 0.5;
  EXPECT_EQ(ControlledAveraging(two_numbers(), form).notes().size(), 1u);
  form.alpha = 1;
  EXPECT_TRUE(ControlledAveraging(two_numbers(), form).notes().empty());
  form.codec = "randk(fraction=0.5)";
  EXPECT_EQ(ControlledAveraging(two_numbers(), form).notes().size(), 1u) << "omega 1 without damping";
  form.alpha = 1.5;
  EXPECT_THROW(ControlledAveraging(two_numbers(), form), Error);
}

TEST(ControlledAveraging, AClientThatSleptSendsWhatAFrozenOneWould) {
  FederatedRequest request = two_numbers();
  request.clients = request.population = 2;
  ControlledAveragingForm form;
  form.beta = 0.3;
  form.codec = "outliers(fraction=0.5,dtype=f32)";
  ControlledAveraging algorithm(request, form);
  IdentityGradient local(0.5f);
  const auto both = [&](std::uint64_t round, std::vector<int> clients) {
    std::vector<Bytes> messages;
    const Bytes down = algorithm.broadcast(round);
    for (const int client : clients)
      messages.push_back(algorithm.client_round(round, client, down, local).message);
    EXPECT_TRUE(algorithm.server_round(round, messages).accepted);
  };
  both(1, {0, 1});
  const Bytes memory = algorithm.memory(1)->save();
  for (std::uint64_t round = 2; round < 50; ++round) both(round, {0});
  EXPECT_EQ(algorithm.memory(1)->save(), memory);
  const Bytes state = algorithm.save();
  ControlledAveraging other(request, form);
  other.restore(state, "state");
  const ClientUpdate one = algorithm.client_round(50, 1, algorithm.broadcast(50), local);
  const ClientUpdate two = other.client_round(50, 1, other.broadcast(50), local);
  EXPECT_EQ(one.message, two.message);
}

TEST(UpdateAveraging, OneStepOfEveryClientIsGradientDescent) {
  const Pulls task(24);
  FederatedSettings settings = settings_of("fedavg");
  settings.examples_of = dealt(6, 4);
  settings.participants = 6;
  settings.local_steps = 1;
  settings.batch = 4;
  settings.rounds = 10;
  const FederatedResult result = train_clients(task, settings);
  std::vector<std::int64_t> all(24);
  std::iota(all.begin(), all.end(), 0);
  std::vector<float> x = task.initial(1), gradient(x.size());
  const auto replica = task.replica();
  for (int round = 0; round < 10; ++round) {
    replica->gradient(x, all, gradient);
    for (std::size_t j = 0; j < x.size(); ++j) x[j] -= 0.1f * gradient[j];
  }
  for (std::size_t j = 0; j < x.size(); ++j) EXPECT_NEAR(result.final_parameters[j], x[j], 1e-5);
}

TEST(UpdateAveraging, WeighsByExamplesOrEqually) {
  const Pulls task(40);
  const auto one_round = [&](const std::string& weights) {
    FederatedSettings settings = settings_of("fedavg", {{"weights", weights}});
    settings.examples_of = {{0}, {1, 2, 3}};
    settings.participants = 2;
    settings.local_steps = 1;
    settings.batch = 3;
    settings.rounds = 1;
    return train_clients(task, settings).final_parameters;
  };
  std::vector<float> x = task.initial(1), first(x.size()), second(x.size());
  const auto replica = task.replica();
  replica->gradient(x, std::vector<std::int64_t>{0}, first);
  replica->gradient(x, std::vector<std::int64_t>{1, 2, 3}, second);
  const auto weighted = one_round("examples"), equal = one_round("equal");
  for (std::size_t j = 0; j < x.size(); ++j) {
    EXPECT_NEAR(weighted[j], x[j] - 0.1f * (0.25f * first[j] + 0.75f * second[j]), 1e-5);
    EXPECT_NEAR(equal[j], x[j] - 0.1f * (0.5f * first[j] + 0.5f * second[j]), 1e-5);
  }
}

// What was sent and what is still remembered add up to what was to be sent.
TEST(UpdateAveraging, ErrorFeedbackLosesNothing) {
  FederatedRequest request = two_numbers();
  UpdateAveragingForm form;
  form.codec = "outliers(fraction=0.5,dtype=f32)";
  form.error_feedback = true;
  UpdateAveraging algorithm(request, form);
  IdentityGradient local(0.5f);
  std::vector<float> changes = {0, 0};
  for (std::uint64_t round = 1; round <= 6; ++round) {
    for (std::size_t j = 0; j < 2; ++j) changes[j] -= 0.5f * algorithm.point()[j];
    const ClientUpdate update = algorithm.client_round(round, 0, algorithm.broadcast(round), local);
    ASSERT_TRUE(algorithm.server_round(round, {update.message}).accepted);
    for (std::size_t j = 0; j < 2; ++j) {
      EXPECT_NEAR(request.initial[j] + changes[j], algorithm.point()[j] + algorithm.memory(0)->error()[j],
                  1e-6);
    }
  }
}

TEST(Fedzip, PrunesWeightsAndKeepsBiasesInItsCentres) {
  const Pulls task(40);
  FederatedSettings settings = settings_of("fedzip");
  const FederatedResult result = train_clients(task, settings);
  EXPECT_THAT(result.algorithm, testing::HasSubstr("[*bias*] kmeans(prune=0)"));
  EXPECT_THAT(result.algorithm, testing::HasSubstr("by tensor"));
  // As the reference code: biases are pruned by none, but their middle centre is free too.
  EXPECT_THAT(train_clients(task, settings_of("fedzip", {{"fidelity", "official"}})).algorithm,
              testing::HasSubstr("[*bias*] kmeans(prune=0,pin=false,keep-ties=true)"));
  EXPECT_THAT(
      train_clients(task, settings_of("fedzip", {{"fidelity", "official"}, {"pin", "true"}})).algorithm,
      testing::HasSubstr("[*bias*] kmeans(prune=0,keep-ties=true)"));
}

}  // namespace
}  // namespace laconic
