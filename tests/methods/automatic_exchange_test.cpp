// The choice of an exchange follows the link it has measured, and what exchanges cost is measured as it is.
#include "methods/gradients/training/automatic_exchange.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "engine/base/error.h"
#include "engine/transport/thread_world.h"
#include "methods/gradients/training/exchange_by_name.h"
#include "methods/gradients/training/exchange_speed.h"
#include "methods/gradients/training/training_task.h"

namespace laconic {
namespace {

// A rank's end of a world of threads whose messages take as long as a link of `rate` bytes a second makes
// them.
class SlowCommunicator : public Communicator {
 public:
  SlowCommunicator(std::unique_ptr<Communicator> inner, double rate)
      : Communicator(inner->rank(), inner->size()), inner_(std::move(inner)), rate_(rate) {}
  void abandon(std::string_view reason) override { inner_->abandon(reason); }

 protected:
  void deliver(int to, std::uint32_t tag, Bytes message) override {
    std::this_thread::sleep_for(std::chrono::duration<double>(static_cast<double>(message.size()) / rate_));
    inner_->send(to, tag, std::move(message));
  }
  Bytes take(int from, std::uint32_t tag) override { return inner_->receive(from, tag); }

 private:
  std::unique_ptr<Communicator> inner_;
  double rate_;
};

std::vector<AutomaticChoice> choices(double rate) {
  TaskRequest request;
  request.dataset = "synthetic-classes";
  request.model = "mlp";
  request.options["width"] = 256;
  const auto task = make_training_task(request);
  TrainingSettings settings;
  settings.batch = 4;
  const std::vector<ExchangeCandidate> candidates = {exchange_by_name("dense"), exchange_by_name("ef-sign")};
  constexpr int ranks = 2;
  ThreadWorld world(ranks);
  std::vector<AutomaticChoice> made(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      CommunicationThread thread([&]() -> std::unique_ptr<Communicator> {
        return std::make_unique<SlowCommunicator>(world.communicator(rank), rate);
      });
      made[static_cast<std::size_t>(rank)] = choose_exchange(*task, settings, candidates, thread);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return made;
}

TEST(AutomaticExchange, TakesTheCompressedOneOverASlowLinkAndMeasuresTheLink) {
  constexpr double rate = 2e6;  // 16 Mbit/s
  const std::vector<AutomaticChoice> made = choices(rate);
  for (const AutomaticChoice& choice : made) {
    EXPECT_EQ(choice.chosen, 1u) << choice.explanation;
    // Sleeps only ever last longer.
    EXPECT_GT(choice.link.beta, 0.7 / rate);
    EXPECT_LT(choice.link.beta, 5 / rate);
    EXPECT_GT(choice.largest_speedup, 2);
    EXPECT_GT(choice.seconds[0], 3 * choice.seconds[1]);
    EXPECT_GT(choice.bytes[0], 20 * choice.bytes[1]);
  }
  EXPECT_EQ(made[0].explanation, made[1].explanation) << "all ranks choose on the same numbers";
}

TEST(AutomaticExchange, OneWorkerExchangesNothing) {
  TaskRequest request;
  request.dataset = "synthetic-logistic";
  const auto task = make_training_task(request);
  run_training_ranks(1, [&](CommunicationThread& thread) {
    const AutomaticChoice choice = choose_exchange(*task, {}, automatic_candidates(), thread);
    EXPECT_EQ(choice.chosen, 0u);
    EXPECT_NE(choice.explanation.find("one worker"), std::string::npos);
  });
}

TEST(ExchangeByName, NamesTheNearest) {
  const auto said = [](const char* text) -> std::string {
    try {
      exchange_by_name(text);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  };
  EXPECT_NE(said("powrsgd").find("did you mean powersgd"), std::string::npos) << said("powrsgd");
  EXPECT_NE(said("scalion").find("scallion"), std::string::npos) << said("scalion");
  EXPECT_NE(said("gptq").find("not an exchange of gradients"), std::string::npos) << said("gptq");
  EXPECT_NE(said("eff:outliers").find("not a memory"), std::string::npos) << said("eff:outliers");
  EXPECT_EQ(exchange_by_name("ef:outliers( fraction=0.010 )").key, "ef:outliers");
  EXPECT_EQ(exchange_by_name("qsgd", {{"bits", "8"}}).parameters.integer("bits"), 8);
}

TEST(ExchangeSpeed, CountsTheBytesOfAStepAfterWarmUps) {
  ExchangeSpeedOptions options;
  options.exchanges = {"dense", "dense-bf16", "ef-sign", "onebit-adam"};
  options.bucket_bytes = {1 << 20};
  options.numbers = 100'000;
  options.rounds = 2;
  const std::vector<ExchangeSpeed> speeds = measure_exchanges(options);
  ASSERT_EQ(speeds.size(), 4u);
  EXPECT_NEAR(speeds[0].ratio, 1, 0.01);
  EXPECT_NEAR(speeds[1].ratio, 2, 0.01);
  EXPECT_GT(speeds[2].ratio, 28);
  EXPECT_GT(speeds[3].ratio, 28) << "not its dense warm-up";
  for (const ExchangeSpeed& speed : speeds) {
    EXPECT_GT(speed.total, 0) << speed.exchange;
    EXPECT_LE(speed.encode + speed.decode, speed.total) << speed.exchange;
  }
}

}  // namespace
}  // namespace laconic
