// Federated training: the card's worked rounds, SCALLION and SCAFCOM without compression against SCAFFOLD,
// what holds after any number of rounds, clients that are empty or broken, hostile messages, and exact
// resume.
#include "methods/gradients/federated/federated_training.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "methods/gradients/federated/controlled_averaging.h"
#include "methods/gradients/federated/federated_checkpoint.h"
#include "methods/gradients/federated/federated_trial.h"
#include "methods/gradients/federated/quadratic_clients.h"
#include "methods/gradients/federated/update_averaging.h"
#include "methods/gradients/scaffold/scaffold.h"
#include "methods/method.h"
#include "tests/methods/example_task.h"

namespace laconic {
namespace {

// f_e(x) = 1/2 sum h_e (x - t_e)^2: each example pulls to a point of its own.
class Pulls : public ExampleTask {
 public:
  static constexpr std::size_t width = 12;

  // Example `broken` has a gradient that is not finite; -1: none has.
  explicit Pulls(std::int64_t count, std::int64_t broken = -1)
      : ExampleTask("pulls", {{"first", {2, 4}, 0, 8}, {"second.bias", {4}, 8, 4}}, count, 0.25f),
        broken_(broken) {
    RandomStream random(3, "pulls", "points");
    for (std::size_t i = 0; i < static_cast<std::size_t>(count) * width; ++i) {
      targets_.push_back(1 + 2 * random.gaussian());
      curvature_.push_back(0.2f + random.uniform());
    }
  }
  double add_example(std::span<const float> point, std::int64_t example, float batch,
                     std::span<float> gradient) const override {
    double loss = 0;
    for (std::size_t j = 0; j < width; ++j) {
      const std::size_t at = static_cast<std::size_t>(example) * width + j;
      const float distance = point[j] - targets_[at];
      gradient[j] += curvature_[at] * distance / batch;
      loss += 0.5 * curvature_[at] * distance * distance / batch;
    }
    if (example == broken_) gradient[9] = std::numeric_limits<float>::quiet_NaN();
    return loss;
  }

 private:
  std::int64_t broken_;
  std::vector<float> targets_, curvature_;
};

// Runs of `each` examples.
std::vector<std::vector<std::int64_t>> dealt(int clients, std::int64_t each) {
  std::vector<std::vector<std::int64_t>> examples(static_cast<std::size_t>(clients));
  for (std::int64_t i = 0; i < clients * each; ++i) examples[static_cast<std::size_t>(i / each)].push_back(i);
  return examples;
}

FederatedSettings settings_of(const std::string& slug,
                              const std::vector<std::pair<std::string, std::string>>& parameters = {}) {
  const MethodDescription& method = method_named(slug);
  FederatedSettings settings;
  settings.algorithm = method.federated;
  settings.parameters = Parameters(method.parameters);
  for (const auto& [name, value] : parameters) settings.parameters.set(name, value);
  settings.examples_of = dealt(8, 5);
  settings.participants = 3;
  settings.rounds = 20;
  settings.local_steps = 4;
  settings.batch = 2;
  settings.local_rate = 0.1;
  return settings;
}

std::filesystem::path federated_folder(const std::string& name) {
  const auto folder = std::filesystem::path(testing::TempDir()) /
                      ("laconic-federated-" + std::to_string(::getpid()) + "-" + name);
  std::filesystem::remove_all(folder);
  return folder;
}

// grad f(x) = x, one client, one step: the card's worked rounds.
class Identity final : public LocalTraining {
 public:
  explicit Identity(float rate) : rate_(rate) {}
  std::int64_t examples() const override { return 1; }
  double run(std::span<float> point, std::span<const float> correction, std::span<float> mean) override {
    for (std::size_t j = 0; j < point.size(); ++j) {
      const float g = point[j];
      if (!mean.empty()) mean[j] = g;
      point[j] -= rate_ * (g + (correction.empty() ? 0.0f : correction[j]));
    }
    last.assign(point.begin(), point.end());
    return 0;
  }
  std::vector<float> last;

 private:
  float rate_;
};

FederatedRequest two_numbers() {
  FederatedRequest request;
  request.tensors = {{"x", {2}, 0, 2}};
  request.initial = {1, 2};
  request.local_steps = 1;
  request.local_rate = 0.5;
  return request;
}

TEST(ControlledAveraging, TheCardsTwoRounds) {
  ControlledAveragingForm form;
  form.codec = "outliers(fraction=0.5,dtype=f32)";
  ControlledAveraging algorithm(two_numbers(), form);
  Identity local(0.5f);
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
  Identity local(0.5f);
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
  Identity local(0.5f);
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

TEST(ControlledAveraging, RejectsHostileMessagesAndGoesOnWithTheRest) {
  FederatedRequest request = two_numbers();
  request.clients = request.population = 3;
  ControlledAveragingForm form;
  ControlledAveraging algorithm(request, form);
  Identity local(0.5f);
  const Bytes down = algorithm.broadcast(1);
  std::vector<Bytes> messages;
  for (const int client : {0, 1}) messages.push_back(algorithm.client_round(1, client, down, local).message);
  // Everything but one whole message is left out, and the clients' memories with it.
  Bytes damaged = messages[1];
  damaged[8] ^= std::byte{1};
  const Bytes shorter(messages[1].begin(), messages[1].end() - 1);
  FederatedRequest other_request = two_numbers();
  other_request.clients = other_request.population = 9;
  ControlledAveraging other(other_request, form);
  const Bytes stranger = other.client_round(1, 8, other.broadcast(1), local).message;
  const Bytes early = other.client_round(2, 1, other.broadcast(2), local).message;
  ControlledAveraging fine(request, {1, 1, "qsgd", UpdateCodec::Scope::model});
  const Bytes another_codec = fine.client_round(1, 2, fine.broadcast(1), local).message;
  const RoundOutcome outcome = algorithm.server_round(
      1, {messages[0], messages[0], damaged, shorter, Bytes(), stranger, early, another_codec});
  EXPECT_TRUE(outcome.accepted);
  EXPECT_EQ(outcome.rejected.size(), 7u) << testing::PrintToString(outcome.rejected);
  EXPECT_NE(algorithm.memory(0), nullptr);
  EXPECT_EQ(algorithm.memory(1), nullptr) << "its message did not arrive";
  EXPECT_NEAR(algorithm.control()[0], 1.0 / 3, 1e-6) << "1/N in c";
  EXPECT_FLOAT_EQ(algorithm.point()[0], 0.5f) << "1/m in x";
  // Any cut or flipped byte.
  const Bytes whole = algorithm.client_round(2, 1, algorithm.broadcast(2), local).message;
  std::vector<Bytes> hostile;
  for (std::size_t i = 0; i < whole.size(); ++i) {
    hostile.emplace_back(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(i));
    hostile.push_back(whole);
    hostile.back()[i] ^= std::byte{0x41};
  }
  const std::vector<float> x = algorithm.point();
  const RoundOutcome none = algorithm.server_round(2, hostile);
  EXPECT_FALSE(none.accepted);
  EXPECT_EQ(none.rejected.size(), hostile.size());
  EXPECT_EQ(algorithm.point(), x);
  EXPECT_EQ(algorithm.memory(1), nullptr);
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
  Identity local(0.5f);
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
  const std::vector<std::function<void(FederatedSettings&)>> changes = {[](FederatedSettings& s) { s.participants = 9; },
                                                                        [](FederatedSettings& s) { s.participants = 0; },
                                                                        [](FederatedSettings& s) { s.local_steps = 0; },
                                                                        [](FederatedSettings& s) { s.local_rate = 0; },
                                                                        [](FederatedSettings& s) { s.server_rate = -1; },
                                                                        [](FederatedSettings& s) { s.batch = 0; },
                                                                        [](FederatedSettings& s) { s.rounds = 0; },
                                                                        [](FederatedSettings& s) { s.examples_of.clear(); },
                                                                        [](FederatedSettings& s) { s.algorithm = nullptr; },
                                                                        [](FederatedSettings& s) { s.resume = true; }};
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

TEST(Fedzip, PrunesWeightsAndKeepsBiasesInItsCentres) {
  const Pulls task(40);
  FederatedSettings settings = settings_of("fedzip");
  const FederatedResult result = train_clients(task, settings);
  EXPECT_THAT(result.algorithm, testing::HasSubstr("[*bias*] kmeans(prune=0)"));
  EXPECT_THAT(result.algorithm, testing::HasSubstr("by tensor"));
}

}  // namespace
}  // namespace laconic
