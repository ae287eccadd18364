// Card 62: orthogonal bases trained through a frozen miniature.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "engine/math/cayley.h"
#include "lab_models.h"
#include "methods/lab_plugin.h"

namespace laconic {
namespace {

class ProjectionTrainingTest : public testing::Test {
 protected:
  ProjectionTrainingTest() {
    description_.head_dim = 8;
    description_.max_positions = 64;
    reference::write_model(directory(), description_, weights_that_shrink(), DType::f32, "");
    request_.model = directory();
    const std::size_t heads = static_cast<std::size_t>(description_.layers * 2 * description_.kv_heads);
    RandomStream random(1, "test", "projections");
    request_.x.resize(heads * 64);
    for (std::size_t i = 0; i < request_.x.size(); ++i) {
      const std::size_t row = i / 8 % 8, column = i % 8;
      if (column < row) request_.x[i] = random.gaussian();
    }
    request_.mean.assign(heads * 8, 0.05f);
    for (std::uint64_t w = 0; w < 8; ++w)
      request_.windows.push_back(random_tokens(description_.vocabulary, 40, w));
    for (std::uint64_t w = 20; w < 23; ++w)
      request_.held_out.push_back(random_tokens(description_.vocabulary, 40, w));
    request_.kl_weight = 1;  // the text is random
    request_.cross_entropy_weight = 0;
    request_.steps = 60;
    request_.sequences = 2;
    request_.warmup_steps = 5;
    request_.learning_rate = 0.1;
    request_.threads = 2;
  }
  fs::path directory() const { return folder_.path() / "model"; }

  // Keys and values of random weights fill all columns alike, and no basis keeps much with half of them. Here
  // half of the columns hold nearly everything; keys in whole planes of rotation, so that turns leave it so.
  reference::Weights weights_that_shrink() const {
    reference::Weights weights = reference::random_weights(description_, 3, DType::f32);
    for (auto& [name, numbers] : weights) {
      const bool keys = name.find("k_proj") != std::string::npos;
      if (!keys && name.find("v_proj") == std::string::npos) continue;
      for (std::size_t i = 0; i < numbers.size(); ++i) {
        const std::size_t row = i / static_cast<std::size_t>(description_.hidden) % 8;
        if (keys ? row % 4 >= 2 : row >= 4) numbers[i] /= 8;
      }
    }
    return weights;
  }

  TemporaryFolder folder_;
  reference::Description description_;
  ProjectionTrainingRequest request_;
};

TEST_F(ProjectionTrainingTest, AllColumnsChangeNothing) {
  request_.steps = 0;
  request_.judged_rank = 8;
  // Tokens that follow a prompt see it as the model itself does.
  request_.prompt_share = 0.6;
  EXPECT_NEAR(load_lab().projection_training(request_).kl_before, 0, 1e-6);
  request_.prompt_share = 0;
  const ProjectionTrainingResult result = load_lab().projection_training(request_);
  EXPECT_NEAR(result.kl_before, 0, 1e-6);
  ASSERT_EQ(result.x.size(), request_.x.size());
  for (std::size_t i = 0; i < result.x.size(); ++i) EXPECT_NEAR(result.x[i], request_.x[i], 1e-6);
  EXPECT_EQ(result.mean, request_.mean);
}

TEST_F(ProjectionTrainingTest, LowersTheDivergenceAndStaysOrthogonal) {
  const ProjectionTrainingResult result = load_lab().projection_training(request_);
  EXPECT_LT(result.kl_after, 0.7 * result.kl_before);
  const std::vector<double> x(result.x.begin(), result.x.begin() + 64);
  const std::vector<double> u = cayley(x, 8);
  for (int a = 0; a < 8; ++a) {
    for (int b = 0; b < 8; ++b) {
      double sum = a == b ? -1 : 0;
      for (int k = 0; k < 8; ++k)
        sum += u[static_cast<std::size_t>(k * 8 + a)] * u[static_cast<std::size_t>(k * 8 + b)];
      EXPECT_NEAR(sum, 0, 1e-12);
    }
    for (int b = a; b < 8; ++b) EXPECT_EQ(result.x[static_cast<std::size_t>(a * 8 + b)], 0);
  }
}

TEST_F(ProjectionTrainingTest, LearnsFromWhatFollowsAPrompt) {
  request_.prompt_share = 0.5;
  // All windows in every step, and many steps: with fewer, how far it gets depends on how a processor's
  // kernels round.
  request_.sequences = 8;
  request_.steps = 240;
  const ProjectionTrainingResult result = load_lab().projection_training(request_);
  EXPECT_LT(result.kl_after, 0.7 * result.kl_before);
}

TEST_F(ProjectionTrainingTest, AnInterruptedTrainingEndsLikeAWholeOne) {
  request_.steps = 12;
  request_.checkpoint_every = 5;
  const ProjectionTrainingResult whole = load_lab().projection_training(request_);
  request_.checkpoint = folder_.path() / "checkpoint.safetensors";
  request_.progress = [](const ProgressReport& report) {
    if (report.done == 7) request_interrupt();
  };
  EXPECT_THROW(load_lab().projection_training(request_), Error);
  clear_interrupt();
  request_.progress = {};
  const ProjectionTrainingResult resumed = load_lab().projection_training(request_);
  EXPECT_EQ(resumed.resumed_from, 7);
  EXPECT_EQ(resumed.x, whole.x);
  EXPECT_EQ(resumed.mean, whole.mean);
  // Not by one with other settings.
  request_.learning_rate = 0.01;
  EXPECT_THROW(load_lab().projection_training(request_), Error);
}

TEST_F(ProjectionTrainingTest, RefusesWhatDoesNotFit) {
  const auto refused = [&](const auto& change) {
    ProjectionTrainingRequest wrong = request_;
    change(wrong);
    EXPECT_THROW(load_lab().projection_training(wrong), Error);
  };
  refused([](auto& r) { r.x.pop_back(); });
  refused([](auto& r) { r.mean.clear(); });
  refused([](auto& r) { r.windows.clear(); });
  refused([](auto& r) { r.windows.front().front() = 10000; });
  refused([](auto& r) { r.ranks = {9}; });
  refused([](auto& r) { r.ranks = {0}; });
  refused([](auto& r) { r.prompt_share = 1; });
}

}  // namespace
}  // namespace laconic
