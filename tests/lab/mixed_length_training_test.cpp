#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/random.h"
#include "engine/base/scratch_folder.h"
#include "engine/dataset/text_windows.h"
#include "methods/gradients/bytescale/planner.h"
#include "methods/lab_plugin.h"
#include "runtime/corpus/stories.h"

namespace laconic::bytescale {
namespace {

std::string some_text(std::size_t bytes) {
  std::string text;
  for (std::uint64_t i = 0; text.size() < bytes; ++i) text += make_story(3, i).text + "\n";
  text.resize(bytes);
  return text;
}

StepCosts small_costs() {
  StepCosts costs;
  costs.layers = 3;
  costs.attention = 1e-9;
  costs.linear = 1e-6;
  costs.activation = 1000;
  costs.host_rate = 1e9;
  costs.key_value_bytes = 256;
  costs.link_rate = 25e6;
  return costs;
}

MixedLengthRequest small_request() {
  MixedLengthRequest request;
  request.model = {3, 32, 4, 2, 48, 256};
  request.text = byte_tokens(some_text(6000));
  request.batches = {{70, 200, 33, 64, 5, 120, 1, 90, 64}, {150, 40, 222, 8, 8, 60}};
  request.costs = small_costs();
  request.keep_gradient = true;
  request.plan = [](std::span<const std::uint32_t> lengths) {
    PlannerOptions options;
    options.capacity = 256;
    return make_plan(lengths, small_costs(), options);
  };
  return request;
}

std::function<Plan(std::span<const std::uint32_t>)> planning(std::uint32_t ranks, Schedule schedule) {
  return [=](std::span<const std::uint32_t> lengths) {
    PlannerOptions options;
    options.ranks = ranks;
    options.capacity = ranks < 4 ? 128 : 64;
    options.schedule = schedule;
    return make_plan(lengths, small_costs(), options);
  };
}

// Random groups in random slots; no rank is told more than it holds, for it holds everything.
Plan random_plan(std::span<const std::uint32_t> lengths, std::uint32_t ranks, std::uint64_t seed) {
  RandomStream random(seed, "bytescale", "random plan");
  Plan plan{ranks, 1 << 20, {}};
  std::vector<std::uint16_t> slot(ranks, 0);
  for (std::uint32_t s = 0; s < lengths.size(); ++s) {
    std::vector<std::uint16_t> all(ranks), group;
    std::iota(all.begin(), all.end(), std::uint16_t{0});
    for (std::uint32_t left = 1 + random.below(ranks); left > 0; --left) {
      const auto at = all.begin() + random.below(static_cast<std::uint32_t>(all.size()));
      group.push_back(*at);
      all.erase(at);
    }
    std::uint16_t when = 0;
    for (const std::uint16_t rank : group) when = std::max(when, slot[rank]);
    when = static_cast<std::uint16_t>(when + random.below(2));
    for (const std::uint16_t rank : group) slot[rank] = static_cast<std::uint16_t>(when + 1);
    plan.items.push_back({s, 0, lengths[s], group, when, static_cast<std::uint8_t>(random.below(256))});
  }
  return plan;
}

// |a - b| / |b|, and the largest difference of one number against the largest number.
void expect_equal(const std::vector<float>& a, const std::vector<float>& b, double tolerance,
                  const std::string& what) {
  ASSERT_EQ(a.size(), b.size());
  double difference = 0, size = 0, worst = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = double{a[i]} - b[i];
    difference += d * d;
    size += double{b[i]} * b[i];
    worst = std::max(worst, std::abs(d));
    largest = std::max(largest, std::abs(double{b[i]}));
  }
  EXPECT_GT(size, 0);
  EXPECT_LE(std::sqrt(difference / size), tolerance) << what;
  EXPECT_LE(worst / largest, tolerance) << what;
}

TEST(MixedLengthTraining, GradientIsThatOfTheLabsModel) {
  // The same windows through LibTorch's own differentiation.
  const ScratchFolder folder("mixed-length");
  const std::string text = some_text(4000);
  write_file(folder.path() / "text.txt", text);
  TaskRequest wish;
  wish.dataset = (folder.path() / "text.txt").string();
  wish.model = "lm";
  wish.options = {{"layers", 3}, {"width", 32}, {"heads", 4}, {"mlp", 48}, {"context", 50}};
  const auto task = load_lab().training_task(wish);
  const std::vector<float> point = task->initial(5);
  std::vector<float> wanted(point.size());
  const std::int64_t examples[] = {0, 1, 2, 3};
  const double loss = task->replica()->gradient(point, examples, wanted);

  MixedLengthRequest request = small_request();
  request.model.kv_heads = 4;
  request.seed = 5;
  request.text = byte_tokens(text);
  request.batches = {{50, 50, 50, 50}};
  const MixedLengthResult got = load_lab().mixed_length_training(request);
  EXPECT_NEAR(got.losses[0], loss, 1e-5);
  expect_equal(got.gradient, wanted, 1e-5, "gradient");
}

TEST(MixedLengthTraining, GradientIsTheSameForEveryPlan) {
  const MixedLengthRequest base = small_request();
  const MixedLengthResult alone = load_lab().mixed_length_training(base);
  MixedLengthRequest request = base;
  for (const int ranks : {2, 4, 5}) {
    request.ranks = ranks;
    for (const Schedule schedule : schedules) {
      request.plan = planning(static_cast<std::uint32_t>(ranks), schedule);
      const MixedLengthResult got = load_lab().mixed_length_training(request);
      const std::string what = std::to_string(ranks) + " ranks, " + std::string(name_of(schedule));
      expect_equal(got.gradient, alone.gradient, 1e-5, what);
      for (std::size_t step = 0; step < got.losses.size(); ++step)
        EXPECT_NEAR(got.losses[step], alone.losses[step], 1e-4) << what;
      EXPECT_EQ(got.skipped, 0);
    }
    for (const std::uint64_t seed : {1, 2, 3}) {
      request.plan = [=](std::span<const std::uint32_t> lengths) {
        return random_plan(lengths, static_cast<std::uint32_t>(ranks), seed);
      };
      expect_equal(load_lab().mixed_length_training(request).gradient, alone.gradient, 1e-5,
                   std::to_string(ranks) + " ranks, random plan " + std::to_string(seed));
    }
  }
}

TEST(MixedLengthTraining, OffloadedActivationsComeBackAsTheyWere) {
  MixedLengthRequest request = small_request();
  request.model.layers = 6;
  const MixedLengthResult whole = load_lab().mixed_length_training(request);
  request.plan = [](std::span<const std::uint32_t> lengths) {
    Plan plan{1, 1 << 20, {}};
    for (std::uint32_t s = 0; s < lengths.size(); ++s)
      plan.items.push_back({s, 0, lengths[s], {0}, static_cast<std::uint16_t>(s), 128});
    return plan;
  };
  for (const bool file : {false, true}) {
    request.offload = {1e9, file};
    const MixedLengthResult got = load_lab().mixed_length_training(request);
    EXPECT_GT(got.offloaded_bytes, 0u);
    expect_equal(got.gradient, whole.gradient, 1e-5, file ? "file" : "memory");
    // The same plan with nothing moved: the same bits.
    request.offload = {};
    EXPECT_EQ(load_lab().mixed_length_training(request).parameters, got.parameters);
  }
}

TEST(MixedLengthTraining, ALossThatIsNotANumberStopsTheStepOnAllRanks) {
  MixedLengthRequest request = small_request();
  request.ranks = 3;
  request.plan = planning(3, Schedule::balanced_data);
  request.batches.resize(1);
  const MixedLengthResult first = load_lab().mixed_length_training(request);
  request.batches = {request.batches[0], request.batches[0]};
  request.poisoned_rank = 1;
  request.poisoned_step = 1;
  const MixedLengthResult got = load_lab().mixed_length_training(request);
  EXPECT_EQ(got.skipped, 1);
  EXPECT_TRUE(std::isnan(got.losses[1]));
  EXPECT_EQ(got.parameters, first.parameters);  // those after step 0
}

TEST(MixedLengthTraining, CountsWhatTravels) {
  MixedLengthRequest request = small_request();
  request.ranks = 4;
  request.plan = planning(4, Schedule::balanced_data);
  const MixedLengthResult got = load_lab().mixed_length_training(request);
  double wanted = 0;
  std::uint64_t plans = 0;
  StepCosts costs = small_costs();
  costs.key_value_bytes = 2 * 2 * 8 * 4;
  for (const auto& batch : request.batches) {
    const Plan plan = request.plan(batch);
    plans += 3 * encode_plan(plan).size();
    for (const PlanItem& item : plan.items) {
      const auto members = static_cast<std::uint32_t>(item.ranks.size());
      wanted += sent_bytes(costs, item.length, members) * members;
    }
  }
  EXPECT_GT(wanted, 0);
  EXPECT_EQ(static_cast<double>(got.ring_bytes), wanted);
  EXPECT_EQ(got.plan_bytes, plans);
}

TEST(MixedLengthTraining, RefusesWhatDoesNotFit) {
  MixedLengthRequest request = small_request();
  request.text.resize(100);
  EXPECT_THROW(load_lab().mixed_length_training(request), Error);
  request = small_request();
  request.text[7] = 300;
  EXPECT_THROW(load_lab().mixed_length_training(request), Error);
  request = small_request();
  request.ranks = 2;  // the plan is for one
  EXPECT_THROW(load_lab().mixed_length_training(request), Error);
}

TEST(MixedLengthTraining, ProfilesFindCoefficients) {
  LengthProfileRequest request;
  request.model = {3, 32, 4, 4, 48, 256};
  request.lengths = {32, 128, 512};
  request.rounds = 1;
  request.ranks = 2;
  request.link_rate = 25e6;
  const StepCosts costs = load_lab().profile_lengths(request);
  EXPECT_GT(costs.forward_seconds(512), costs.forward_seconds(32));
  EXPECT_GT(costs.backward, 0.5);
  EXPECT_GT(costs.head, 0);
  EXPECT_EQ(costs.key_value_bytes, 2 * 32 * 4);
  // x, q, k, v, out, middle of 32, gate and up of 48, log sums of 4 heads.
  EXPECT_NEAR(costs.activation, 4 * (6 * 32 + 2 * 48 + 4), 1);
}

}  // namespace
}  // namespace laconic::bytescale
