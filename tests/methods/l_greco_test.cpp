// L-GreCo (card 12): choices from tables, error tables against the real compressors, and plans that all ranks
// share while training goes on.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <mutex>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/codec/composition.h"
#include "engine/exchange/low_rank_exchange.h"
#include "engine/math/orthonormalise.h"
#include "engine/math/svd.h"
#include "engine/transport/thread_world.h"
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/l-greco/planned_exchange.h"
#include "tests/engine/exchange/exchange_step.h"

namespace laconic {
namespace {

using l_greco::ChoiceSettings;
using l_greco::LevelChoice;
using l_greco::PlannedExchange;
using l_greco::Planner;

AllocationProblem table_of_card_12() {
  AllocationProblem problem;
  problem.harm = {{6, 3, 1}, {4, 3, 2}, {9, 2, 1}};
  problem.cost = {{10, 20, 40}, {100, 200, 400}, {5, 10, 20}};
  return problem;
}

LevelChoice chosen(const AllocationProblem& table, Planner planner, double alpha = 1, bool squares = false) {
  ChoiceSettings settings;
  settings.planner = planner;
  settings.alpha = alpha;
  settings.squares = squares;
  return l_greco::choose_levels(table, 1, settings);
}

TEST(LGreco, PlannersOnTheWorkedExample) {
  const AllocationProblem table = table_of_card_12();
  const LevelChoice plan = chosen(table, Planner::dynamic);
  EXPECT_EQ(plan.levels, (Assignment{1, 0, 2}));
  EXPECT_EQ(plan.bytes, 140u);
  EXPECT_EQ(plan.default_bytes, 230u);
  EXPECT_EQ(plan.default_error, 8);
  EXPECT_EQ(chosen(table, Planner::uniform).bytes, 230u);
  EXPECT_LE(chosen(table, Planner::greedy).bytes, 140u);
  EXPECT_LE(chosen(table, Planner::random).bytes, 140u);
  // Of 150 bytes of 230, exactly (2,0,1) is within a quarter of a percent.
  ChoiceSettings drawn;
  drawn.planner = Planner::random;
  drawn.spend = 150.0 / 230 + 1e-9;
  EXPECT_EQ(l_greco::choose_levels(table, 1, drawn).bytes, 150u);
  drawn.spend = -1;
  EXPECT_THROW(l_greco::choose_levels(table, 1, drawn), Error);
  std::uint64_t last = std::numeric_limits<std::uint64_t>::max();
  for (const double alpha : {0.5, 1.0, 2.0, 4.0}) {
    const LevelChoice choice = chosen(table, Planner::dynamic, alpha);
    EXPECT_LE(choice.bytes, last) << alpha;
    last = choice.bytes;
  }
  // Squares: E = 9 + 9 + 4 = 22; 9 + 9 + 1 and 1 + 16 + 4 fit.
  EXPECT_EQ(chosen(table, Planner::dynamic, 1, true).levels, (Assignment{2, 0, 1}));
  EXPECT_FALSE(chosen(table, Planner::dynamic, 0.3).feasible);
  EXPECT_THROW(chosen(table, Planner::dynamic, 0), Error);
  EXPECT_THROW(l_greco::choose_levels(table, 3, {}), Error);
}

TEST(LGreco, RandomLevelsSpendTheBytesTheyAreGiven) {
  // Twelve layers of sizes 1 : 4, seven levels of 2 to 8 bits.
  AllocationProblem table;
  for (std::uint64_t layer = 0; layer < 12; ++layer) {
    table.cost.emplace_back();
    table.harm.emplace_back();
    for (std::uint64_t bits = 2; bits <= 8; ++bits) {
      table.cost.back().push_back(1000 + (4096 + 1024 * layer) * bits / 8);
      table.harm.back().push_back(1 / static_cast<double>(bits));
    }
  }
  ChoiceSettings settings;
  settings.planner = Planner::random;
  Assignment before;
  bool above = false, below = false;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    settings.seed = seed;
    settings.spend = 0.75 + 0.01 * static_cast<double>(seed);
    const LevelChoice drawn = l_greco::choose_levels(table, 2, settings);
    const double share = static_cast<double>(drawn.bytes) / static_cast<double>(drawn.default_bytes);
    EXPECT_NEAR(share / settings.spend, 1, 0.003) << seed;
    above = above || share > settings.spend;
    below = below || share < settings.spend;
    EXPECT_NE(drawn.levels, before);
    before = drawn.levels;
    EXPECT_EQ(l_greco::choose_levels(table, 2, settings).levels, drawn.levels);
  }
  EXPECT_TRUE(above && below);
}

TEST(LGreco, AccordionTakesTheCoarsestWhereNormsAreSteady) {
  ChoiceSettings settings;
  settings.planner = Planner::accordion;
  const AllocationProblem table = table_of_card_12();
  EXPECT_EQ(l_greco::choose_levels(table, 1, settings, {1, 1, 1}, {1.4, 4, 0.1}).levels,
            (Assignment{0, 1, 1}));
  EXPECT_EQ(l_greco::choose_levels(table, 1, settings, {1, 1, 1}, {}).levels, (Assignment{1, 1, 1}));
  settings.planner = Planner::accordion_dynamic;
  const LevelChoice both = l_greco::choose_levels(table, 1, settings, {1, 1, 1}, {1.4, 4, 0.1});
  EXPECT_LE(both.error, 6 + 3 + 2 + 0.01);
  EXPECT_LE(both.bytes, 10u + 200u + 10u);
}

std::vector<float> gaussian(std::size_t size, std::uint64_t step, int rank = 0) {
  RandomStream random(8, "l-greco test", "gradient", step, static_cast<std::uint16_t>(rank));
  std::vector<float> values(size);
  for (float& value : values) value = random.gaussian();
  return values;
}

l_greco::LevelRequest level_request(std::vector<TensorSlice> tensors) {
  l_greco::LevelRequest request;
  request.tensors = std::move(tensors);
  return request;
}

TEST(LGreco, ErrorTablesAreThoseOfTheRealCompressors) {
  const std::vector<TensorSlice> tensors = {{"w", {40, 60}, 0, 2400}};
  const std::vector<float> gradient = gaussian(2400, 1);
  const TensorView view{DType::f32, {2400}, reinterpret_cast<const std::byte*>(gradient.data())};

  const auto quantised = l_greco::quantised_levels(level_request(tensors), 4);
  ASSERT_EQ(quantised.levels.size(), 7u);
  EXPECT_EQ(quantised.levels[quantised.default_level], "4 bits");
  const auto quantised_costs = quantised.costs(0, gradient);
  for (std::size_t level = 0; level < 7; ++level) {
    const auto codec =
        parse_codec("uniform(group=1024,rounding=half_up,bits=" + std::to_string(level + 2) + ")");
    const Tensor decoded = codec->decode(codec->encode(view, {}));
    double square = 0;
    for (std::size_t i = 0; i < 2400; ++i)
      square += std::pow(static_cast<double>(gradient[i]) - decoded.f32()[i], 2);
    EXPECT_NEAR(quantised_costs.error[level], std::sqrt(square), 1e-5);
    EXPECT_GE(quantised_costs.bytes[level], 2400 * (level + 2) / 8);
  }

  const auto sparse = l_greco::sparse_levels(level_request(tensors), 0.01);
  EXPECT_EQ(sparse.levels.size(), 11u);
  const auto sparse_costs = sparse.costs(0, gradient);
  for (std::size_t level = 1; level < 11; ++level) {
    EXPECT_LT(sparse_costs.error[level], sparse_costs.error[level - 1]);
    EXPECT_GT(sparse_costs.bytes[level], sparse_costs.bytes[level - 1]);
  }
  // The tail of one sort, up to rounding of the values to f16.
  std::vector<float> sorted = gradient;
  std::sort(sorted.begin(), sorted.end(), [](float a, float b) { return std::abs(a) > std::abs(b); });
  double tail = 0;
  for (std::size_t i = 24; i < sorted.size(); ++i) tail += static_cast<double>(sorted[i]) * sorted[i];
  EXPECT_NEAR(sparse_costs.error[sparse.default_level], std::sqrt(tail), 1e-4);
}

TEST(LGreco, LowRankErrorsBySingularValuesAndBySubspaceIterationAgree) {
  // Singular values 0.5^k between random directions.
  std::vector<float> left = gaussian(40 * 30, 1), right = gaussian(50 * 30, 2), gradient(2000, 0.0f);
  orthonormalise_columns(left, 40, 30);
  orthonormalise_columns(right, 50, 30);
  for (std::size_t k = 0; k < 30; ++k)
    for (std::size_t i = 0; i < 40; ++i)
      for (std::size_t j = 0; j < 50; ++j)
        gradient[i * 50 + j] += std::pow(0.5f, static_cast<float>(k)) * left[i * 30 + k] * right[j * 30 + k];
  const std::vector<TensorSlice> tensors = {{"w", {40, 50}, 0, 2000}};
  l_greco::LowRankRange range;
  const auto power = l_greco::low_rank_levels(level_request(tensors), range);
  range.exact = true;
  const auto exact = l_greco::low_rank_levels(level_request(tensors), range);
  EXPECT_EQ(exact.levels.size(), 7u);  // ranks 2 .. 8
  EXPECT_EQ(exact.levels[exact.default_level], "rank 4");
  const auto a = power.costs(0, gradient), b = exact.costs(0, gradient);
  const Svd svd = exact_svd(gradient.data(), 40, 50);
  for (std::size_t level = 0; level < 7; ++level) {
    double tail = 0;
    for (std::size_t r = level + 2; r < svd.values.size(); ++r)
      tail += static_cast<double>(svd.values[r]) * svd.values[r];
    EXPECT_NEAR(b.error[level], std::sqrt(tail), 1e-5 * b.error[0]);
    EXPECT_NEAR(a.error[level], b.error[level], 0.02 * b.error[level]);
    EXPECT_EQ(a.bytes[level], (40 + 50) * (level + 2) * 4);
  }
}

TEST(LGreco, ARankThatAMatrixCannotHaveLosesToATruthfulOne) {
  const std::vector<TensorSlice> tensors = {{"w", {5, 400}, 0, 2000}};
  l_greco::LowRankRange range;
  range.rank = 2;
  range.high = 4;
  const auto leveled = l_greco::low_rank_levels(level_request(tensors), range);
  ASSERT_TRUE(leveled.leveled[0]);
  const auto costs = leveled.costs(0, gaussian(2000, 3));
  EXPECT_EQ(costs.bytes[4], 405u * 5 * 4);      // rank 5
  EXPECT_EQ(costs.bytes[5], 405u * 5 * 4 + 1);  // rank 6
  EXPECT_EQ(costs.error[5], costs.error[4]);
}

TEST(LGreco, AZeroLayerGetsTheCoarsestLevelAndIdenticalLayersTheSame) {
  const std::vector<TensorSlice> tensors = {{"w", {40, 50}, 0, 2000}};
  const auto leveled = l_greco::low_rank_levels(level_request(tensors), {});
  const auto costs = leveled.costs(0, gaussian(2000, 4));
  const auto none = leveled.costs(0, std::vector<float>(2000, 0.0f));
  AllocationProblem table;
  table.harm = {costs.error, costs.error, none.error, costs.error};
  table.cost = {costs.bytes, costs.bytes, none.bytes, costs.bytes};
  const LevelChoice choice = l_greco::choose_levels(table, leveled.default_level, {});
  EXPECT_EQ(choice.levels[2], 0);
  for (const std::size_t u : {1u, 3u}) EXPECT_LE(std::abs(choice.levels[u] - choice.levels[0]), 1);
  for (auto& row : table.harm)
    for (double& harm : row) harm *= 4096;
  EXPECT_EQ(l_greco::choose_levels(table, leveled.default_level, {}).levels, choice.levels);
  AllocationProblem zeros;
  zeros.harm = {none.error};
  zeros.cost = {none.bytes};
  EXPECT_TRUE(l_greco::choose_levels(zeros, leveled.default_level, {}).keep);
}

std::vector<TensorSlice> model() {
  return {{"a", {40, 60}, 0, 2400}, {"bias", {60}, 2400, 60}, {"b", {64, 80}, 2460, 5120}};
}
constexpr std::size_t model_size = 7580;

// "b" has a small gradient, "a" a large one.
std::vector<float> model_gradient(int rank, std::uint64_t step) {
  std::vector<float> gradient = gaussian(model_size, step, rank);
  for (std::size_t i = 2460; i < model_size; ++i) gradient[i] *= 0.1f;
  return gradient;
}

TrainingExchange make_planned(const std::string& family, Communicator& communicator,
                              std::string planner = "dynamic") {
  ExchangeRequest request;
  request.tensors = model();
  request.parameters = Parameters(method_named("l-greco").parameters);
  for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{
           {"family", family}, {"start", "3"}, {"period", "4"}, {"window", "2"}, {"planner", planner}})
    request.parameters.set(name, value);
  request.seed = 3;
  request.ranks = communicator.size();
  request.rank = communicator.rank();
  return method_named("l-greco").exchange(request);
}

TEST(LGreco, PlansAreMadeAtTheirStepsAndAllRanksHaveThem) {
  for (const std::string family : {"lowrank", "quantise", "sparse"}) {
    std::mutex mutex;
    std::vector<float> first;
    std::vector<Assignment> levels(3);
    run_ranks(3, [&](Communicator& communicator) {
      const TrainingExchange made = make_planned(family, communicator);
      auto& exchange = dynamic_cast<PlannedExchange&>(*made.exchange);
      std::vector<float> agreed, joined;
      for (std::uint64_t step = 1; step <= 9; ++step) {
        const auto own = model_gradient(communicator.rank(), step);
        ASSERT_TRUE(exchange_step(exchange, communicator, step, own, agreed));
        joined.insert(joined.end(), agreed.begin(), agreed.end());
        EXPECT_EQ(exchange.choices_made(), step < 4 ? 0u : step < 8 ? 1u : 2u) << step;
        if (step > 3) continue;
        std::vector<float> mean(model_size, 0.0f);
        for (int rank = 0; rank < 3; ++rank) {
          const auto gradient = model_gradient(rank, step);
          for (std::size_t i = 0; i < model_size; ++i) mean[i] += gradient[i] / 3;
        }
        for (std::size_t i = 0; i < model_size; ++i)
          ASSERT_NEAR(agreed[i], mean[i], 1e-5) << "dense before the start";
      }
      const std::lock_guard lock(mutex);
      levels[static_cast<std::size_t>(communicator.rank())] = exchange.levels();
      if (communicator.rank() == 0) {
        EXPECT_LE(exchange.choice().bytes, exchange.choice().default_bytes);
        EXPECT_LE(exchange.choice().error, exchange.choice().default_error * (1 + 2 / 10000.0));
        EXPECT_LT(exchange.levels()[1], exchange.levels()[0]) << "small gradients get the coarser level";
      }
      if (first.empty()) first = joined;
      EXPECT_EQ(joined, first);
    });
    EXPECT_EQ(levels[1], levels[0]);
    EXPECT_EQ(levels[2], levels[0]);
  }
}

TEST(LGreco, RefusedStepsAreNotPlannedOnAndAStateGoesOn) {
  for (const std::string family : {"lowrank", "quantise", "sparse"}) {
    run_ranks(2, [&](Communicator& communicator) {
      const TrainingExchange made = make_planned(family, communicator),
                             other = make_planned(family, communicator);
      auto& exchange = dynamic_cast<PlannedExchange&>(*made.exchange);
      std::vector<float> agreed, again;
      for (std::uint64_t step = 1; step <= 6; ++step) {
        std::vector<float> own = model_gradient(communicator.rank(), step);
        const bool broken = step == 3 || step == 6;
        if (broken && communicator.rank() == 1) own[3000] = std::numeric_limits<float>::quiet_NaN();
        const Bytes before = exchange.save();
        EXPECT_EQ(exchange_step(exchange, communicator, step, own, agreed), !broken);
        if (broken && communicator.rank() == 1) {
          Bytes after = exchange.save();
          EXPECT_EQ(after, before);
        }
      }
      EXPECT_EQ(exchange.skipped_steps(), communicator.rank() == 0 ? 2u : 0u);
      // In the middle of a window, after a plan.
      other.exchange->restore(exchange.save(), "state");
      EXPECT_EQ(dynamic_cast<PlannedExchange&>(*other.exchange).levels(), exchange.levels());
      for (std::uint64_t step = 7; step <= 9; ++step) {
        const auto own = model_gradient(communicator.rank(), step);
        ASSERT_TRUE(exchange_step(exchange, communicator, step, own, agreed));
        ASSERT_TRUE(exchange_step(*other.exchange, communicator, step, own, again));
        EXPECT_EQ(agreed, again);
      }
      EXPECT_EQ(dynamic_cast<PlannedExchange&>(*other.exchange).levels(), exchange.levels());
      Bytes damaged = exchange.save();
      damaged[damaged.size() / 3] ^= std::byte{4};
      EXPECT_THROW(other.exchange->restore(damaged, "state"), Error);
    });
  }
}

TEST(LGreco, PlansNoMoreOftenThanItIsAskedTo) {
  run_ranks(2, [&](Communicator& communicator) {
    ExchangeRequest request;
    request.tensors = model();
    request.parameters = Parameters(method_named("l-greco").parameters);
    for (const auto& [name, value] : std::vector<std::pair<std::string, std::string>>{
             {"start", "0"}, {"period", "2"}, {"window", "1"}, {"most_plans", "2"}})
      request.parameters.set(name, value);
    request.ranks = communicator.size();
    request.rank = communicator.rank();
    const TrainingExchange made = method_named("l-greco").exchange(request);
    auto& exchange = dynamic_cast<PlannedExchange&>(*made.exchange);
    std::vector<float> agreed;
    for (std::uint64_t step = 1; step <= 9; ++step) {
      ASSERT_TRUE(
          exchange_step(exchange, communicator, step, model_gradient(communicator.rank(), step), agreed));
      // Nothing to plan by in step 1; then in steps 3 and 5.
      EXPECT_EQ(exchange.choices_made(), step < 3 ? 0u : step < 5 ? 1u : 2u) << step;
    }
  });
}

TEST(LGreco, APlanIsWrittenReadAndTrainedBy) {
  run_ranks(1, [&](Communicator& communicator) {
    const TrainingExchange made = make_planned("lowrank", communicator),
                           other = make_planned("lowrank", communicator);
    auto& exchange = dynamic_cast<PlannedExchange&>(*made.exchange);
    auto& fixed = dynamic_cast<PlannedExchange&>(*other.exchange);
    EXPECT_TRUE(exchange.plan().empty());
    std::vector<float> agreed;
    for (std::uint64_t step = 1; step <= 4; ++step)
      ASSERT_TRUE(exchange_step(exchange, communicator, step, model_gradient(0, step), agreed));
    const std::string text = l_greco::plan_text(exchange.plan());
    auto plan = l_greco::parse_plan(text, "plan");
    ASSERT_EQ(plan.size(), 2u);
    EXPECT_EQ(plan[0].name, "a");
    EXPECT_EQ(plan[0].bytes + plan[1].bytes, exchange.choice().bytes);
    EXPECT_EQ(l_greco::plan_text(plan), text);
    fixed.fix_levels(plan);
    EXPECT_EQ(fixed.levels(), exchange.levels());
    for (std::uint64_t step = 1; step <= 9; ++step)
      ASSERT_TRUE(exchange_step(fixed, communicator, step, model_gradient(0, step), agreed));
    EXPECT_EQ(fixed.choices_made(), 0u);
    plan[1].level = "rank 77";
    EXPECT_THROW(exchange.fix_levels(plan), Error);
    plan.pop_back();
    EXPECT_THROW(exchange.fix_levels(plan), Error);
  });
  EXPECT_THROW(l_greco::parse_plan("{\"layers\": [{\"name\": 3}]}", "plan"), Error);
  EXPECT_THROW(l_greco::parse_plan("[]", "plan"), Error);
}

TEST(LGreco, NamesTheFirstLayerThatDiffers) {
  try {
    run_ranks(2, [&](Communicator& communicator) {
      ExchangeRequest request;
      request.tensors = model();
      if (communicator.rank() == 1) request.tensors[2].name = "other";
      request.parameters = Parameters(method_named("l-greco").parameters);
      request.ranks = 2;
      request.rank = communicator.rank();
      const TrainingExchange made = method_named("l-greco").exchange(request);
      made.exchange->begin_step(communicator, 1);
    });
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(error.what()).find("other"), std::string::npos);
  }
}

TEST(LGreco, RefusesWhatMakesNoSense) {
  run_ranks(1, [](Communicator& communicator) {
    EXPECT_NO_THROW(make_planned("lowrank", communicator));
    EXPECT_THROW(make_planned("vectors", communicator), Error);
    EXPECT_THROW(make_planned("lowrank", communicator, "luck"), Error);
  });
  EXPECT_THROW(l_greco::quantised_levels(level_request(model()), 9), Error);
  EXPECT_THROW(l_greco::sparse_levels(level_request(model()), 0), Error);
  l_greco::LowRankRange range;
  range.low = 2;
  EXPECT_THROW(l_greco::low_rank_levels(level_request(model()), range), Error);
}

}  // namespace
}  // namespace laconic
