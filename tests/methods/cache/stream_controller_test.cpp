#include "methods/cache/cachegen/controller.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "methods/cache/cachegen/stream_simulation.h"

namespace laconic {
namespace {

constexpr std::uint64_t mega = 1000000;

StreamController of_equal_chunks(StreamSettings settings, std::size_t chunks = 4) {
  return StreamController(settings,
                          std::vector<std::vector<std::uint64_t>>(chunks, {24 * mega, 14 * mega, 9 * mega}),
                          std::vector<std::int64_t>(chunks, 1500));
}

// Card 31: SLO 0.6 s, 4 equal chunks of 24, 14 and 9 MB, simplified rule.
TEST(StreamController, SimplifiedRule) {
  const std::pair<double, std::size_t> expected[] = {{2.0e9, 0}, {1.0e9, 1}, {0.5e9, 2}, {0.2e9, 3}};
  for (const auto& [rate, form] : expected) {
    StreamSettings settings;
    settings.slo = 0.6;
    settings.bits_per_second = rate;
    settings.rule = StreamSettings::Rule::simplified;
    EXPECT_EQ(of_equal_chunks(settings).choose(0, 0), form) << rate;
  }
}

TEST(StreamController, TakesTheFinestFormThatStillMeetsTheObjective) {
  StreamSettings settings;
  settings.rule = StreamSettings::Rule::published;
  settings.slo = 1.0;
  settings.bits_per_second = 1e9;
  settings.prefill.per_token = 1;  // hopeless
  StreamController controller = of_equal_chunks(settings);
  // All four at level 2: 56 MB in 0.448 s; at level 3: 96 MB in 0.768 s.
  EXPECT_EQ(controller.choose(0, 0), 0u);
  EXPECT_EQ(controller.choose(0, 0.3), 1u);
  EXPECT_EQ(controller.choose(0, 0.6), 2u);
  EXPECT_EQ(controller.choose(0, 0.99), 2u) << "too late for all: the fastest";
  EXPECT_EQ(controller.choose(3, 0.8), 0u) << "one chunk is left";
  controller.observe(24 * mega, 0.768);  // 250 Mbit/s
  EXPECT_NEAR(*controller.bits_per_second(), 250e6, 1);
  EXPECT_EQ(controller.choose(3, 0.0), 0u);
  EXPECT_EQ(controller.choose(3, 0.5), 1u);
  EXPECT_EQ(controller.choose(1, 0.1), 2u);
  controller.observe(100, 5);  // a text says nothing about a link
  EXPECT_NEAR(*controller.bits_per_second(), 250e6, 1);
}

TEST(StreamController, TextIsTakenWhereOnlyComputingIsFastEnough) {
  StreamSettings settings;
  settings.rule = StreamSettings::Rule::published;
  settings.slo = 1.0;
  settings.bits_per_second = 10e6;
  settings.prefill = {1e-4, 1e-8};
  // 6000 tokens: 0.6 s and 6000 * 6001 / 2 pairs: 0.18 s.
  EXPECT_NEAR(settings.prefill.seconds(0, 6000), 0.6 + 0.18003, 1e-9);
  EXPECT_NEAR(settings.prefill.seconds(0, 1500) + settings.prefill.seconds(1500, 4500),
              settings.prefill.seconds(0, 6000), 1e-12);
  StreamController controller = of_equal_chunks(settings);
  EXPECT_EQ(controller.choose(0, 0), 3u);
  EXPECT_EQ(controller.choose(0, 0.5), 3u) << "late, and still the fastest";
  settings.bits_per_second = 0;
  EXPECT_EQ(of_equal_chunks(settings).choose(0, 0), 3u) << "nothing comes through";
  settings.bits_per_second.reset();
  EXPECT_EQ(of_equal_chunks(settings).choose(0, 0), 1u) << "unknown: the middle form";
  settings.rule = StreamSettings::Rule::mixed;
  EXPECT_EQ(of_equal_chunks(settings).choose(0, 0), 2u) << "unknown: the least risk";
}

TEST(StreamController, DecodingCountsWhereItIsNotHidden) {
  StreamSettings settings;
  settings.rule = StreamSettings::Rule::published;
  settings.slo = 0.8;
  settings.bits_per_second = 1e9;
  settings.prefill.per_token = 1;
  EXPECT_EQ(of_equal_chunks(settings).choose(0, 0), 0u);
  settings.decode_bytes_per_second = 500e6;
  EXPECT_EQ(of_equal_chunks(settings).choose(0, 0), 1u);
}

TEST(StreamController, MissingFormsAreNotChosenAndNonsenseIsRefused) {
  StreamSettings settings;
  settings.slo = 10;
  settings.bits_per_second = 1e9;
  StreamController controller(settings, {{0, 0, 9 * mega}, {24 * mega, 0, 9 * mega}}, {1500, 1500});
  EXPECT_EQ(controller.choose(0, 0), 2u);
  EXPECT_EQ(controller.choose(1, 0), 0u);
  for (const double slo : {0.0, -1.0}) {
    settings.slo = slo;
    EXPECT_THROW(of_equal_chunks(settings), Error);
  }
}

TEST(StreamSimulation, BytesArriveAtTheRatesOfTheTrace) {
  const LinkTrace trace{{{1, 8e6}, {2, 80e6}, {3, 8e6}}};
  EXPECT_NEAR(trace.arrival(0, 500000), 0.5, 1e-12);
  EXPECT_NEAR(trace.arrival(0.5, 500000), 1.0, 1e-12);
  EXPECT_NEAR(trace.arrival(0.5, 1500000), 1.1, 1e-12);
  EXPECT_NEAR(trace.arrival(1.9, 2000000), 3.0, 1e-12);
  EXPECT_NEAR(trace.arrival(7, 1000000), 8.0, 1e-12) << "the last rate lasts";
  const LinkTrace one = LinkTrace::random(3, 5e6, 200e6, 0.1, 0.5, 10),
                  two = LinkTrace::random(3, 5e6, 200e6, 0.1, 0.5, 10);
  ASSERT_EQ(one.steps.size(), two.steps.size());
  for (std::size_t i = 0; i < one.steps.size(); ++i) {
    EXPECT_EQ(one.steps[i].bits_per_second, two.steps[i].bits_per_second);
    EXPECT_GE(one.steps[i].bits_per_second, 5e6 * 0.999);
    EXPECT_LE(one.steps[i].bits_per_second, 200e6 * 1.001);
  }
}

SimulatedContext small_context(std::size_t chunks) {
  SimulatedContext context;
  for (std::size_t i = 0; i < chunks; ++i) {
    context.bytes.push_back({100000, 70000, 45000});
    context.text_bytes.push_back(300);
    context.tokens.push_back(128);
  }
  context.prefill = {4e-4, 1e-7};
  return context;
}

TEST(StreamSimulation, DecodingHidesBehindTheLinkAndTextBehindNothing) {
  const SimulatedContext context = small_context(4);
  const LinkTrace link = LinkTrace::constant(8e6);  // a megabyte per second
  const SimulatedLoad load = simulate_load(context, link, *fixed_form(1));
  EXPECT_NEAR(load.seconds, 0.28 + 70000 / 1e9, 1e-9);
  const SimulatedLoad text = simulate_load(context, link, *fixed_form(3));
  EXPECT_NEAR(text.seconds, 0.0003 + context.prefill.seconds(0, 512), 1e-9);
  EXPECT_EQ(text.forms, std::vector<std::size_t>(4, 3));
  EXPECT_LE(least_load_seconds(context, link), 0.18 + 45000 / 1e9 + 1e-12);
}

// Every choice of forms, one after the other, is never faster than the least, and one of them is as fast.
TEST(StreamSimulation, TheLeastTimeIsThatOfTheBestChoice) {
  class Listed final : public ChunkPolicy {
   public:
    explicit Listed(std::uint32_t picks) : picks_(picks) {}
    std::size_t choose(std::size_t chunk, double) override {
      std::uint32_t left = picks_;
      for (std::size_t i = 0; i < chunk; ++i) left /= 4;
      return left % 4;
    }

   private:
    std::uint32_t picks_;
  };
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    SimulatedContext context = small_context(5);
    context.prefill = {seed % 2 == 0 ? 2e-4 : 5e-4, 2e-7};
    const LinkTrace link = LinkTrace::random(seed, 5e6, 200e6, 0.01, 0.1, 20);
    double least = 1e9;
    for (std::uint32_t picks = 0; picks < 1024; ++picks) {
      Listed listed(picks);
      least = std::min(least, simulate_load(context, link, listed).seconds);
    }
    EXPECT_DOUBLE_EQ(least_load_seconds(context, link), least) << seed;
  }
}

// A link of one rate that the controller knows: where no level is in time it takes the fastest mixture, and
// where that is late too, waits for a faster link.
TEST(StreamSimulation, TheMixedRuleLoadsInTheLeastTimeWhereItMust) {
  SimulatedContext context = small_context(12);
  context.decode_bytes_per_second = 1e18;
  for (const double rate : {2e6, 8e6, 20e6}) {
    const LinkTrace link = LinkTrace::constant(rate);
    StreamSettings settings;
    const double least = least_load_seconds(context, link);
    settings.slo = 1.02 * least;
    settings.bits_per_second = rate;
    settings.prefill = context.prefill;
    StreamController controller(settings, context.bytes, context.tokens);
    EXPECT_NEAR(simulate_load(context, link, controller).seconds, least, 0.02 * least) << rate;
    settings.slo = 0.9 * least;
    EXPECT_EQ(StreamController(settings, context.bytes, context.tokens).choose(0, 0), 2u) << rate;
  }
}

// Links of 5 to 200 Mbit/s, objectives between hard and easy, computing that pays and that does not: the
// mixed rule meets what knowing the link would meet nearly always, and no other choice does.
TEST(StreamSimulation, TheControllerMeetsObjectivesThatFixedLevelsMiss) {
  double controlled = 0, published = 0, fixed = 0, coarsest = 0, text_only = 0, possible = 0;
  for (const double slo : {0.15, 0.2, 0.35}) {
    for (const double relative : {0.8, 1.5}) {  // computing everything, in objectives
      SimulatedContext context = small_context(8);
      context.prefill = {relative * slo / 1024, 0};
      for (std::uint64_t seed = 0; seed < 40; ++seed) {
        const LinkTrace link = LinkTrace::random(seed, 5e6, 200e6, slo / 6, slo, 20);
        if (least_load_seconds(context, link) > slo) continue;
        ++possible;
        StreamSettings settings;
        settings.slo = slo;
        settings.prefill = context.prefill;
        settings.bits_per_second = link.steps.front().bits_per_second;
        const auto meets = [&](ChunkPolicy& policy) {
          return simulate_load(context, link, policy).seconds <= slo ? 1 : 0;
        };
        StreamController mixed(settings, context.bytes, context.tokens);
        settings.rule = StreamSettings::Rule::published;
        StreamController plain(settings, context.bytes, context.tokens);
        controlled += meets(mixed);
        published += meets(plain);
        fixed += meets(*fixed_form(1));
        coarsest += meets(*fixed_form(2));
        text_only += meets(*fixed_form(3));
      }
    }
  }
  EXPECT_GE(controlled, 0.9 * possible);
  for (const double other : {published, fixed, coarsest, text_only}) EXPECT_GT(controlled, other);
}

}  // namespace
}  // namespace laconic
