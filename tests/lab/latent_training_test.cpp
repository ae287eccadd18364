// Card 20: reconstruction of a projection by two factors.
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "methods/cache/cskv/latent_factors.h"
#include "methods/lab_plugin.h"

namespace laconic {
namespace {

class LatentTrainingTest : public testing::Test {
 protected:
  static constexpr std::int64_t inputs_ = 24, outputs_ = 16, rank_ = 6, tokens_ = 64, batches_ = 12;

  LatentTrainingTest() : moment_(inputs_) {
    RandomStream random(1, "test", "latent training");
    weight_.resize(static_cast<std::size_t>(outputs_ * inputs_));
    for (float& w : weight_) w = random.gaussian() / 5;
    x_.resize(static_cast<std::size_t>(batches_ * tokens_ * inputs_));
    for (std::size_t i = 0; i < x_.size(); ++i) x_[i] = random.gaussian() * (i % inputs_ < 4 ? 3.0f : 0.4f);
    moment_.add(x_.data(), batches_ * tokens_);
  }

  LatentTrainingRequest request(const cskv::LatentFactors& start) const {
    LatentTrainingRequest request;
    request.inputs = inputs_;
    request.outputs = outputs_;
    request.rank = rank_;
    request.weight = weight_;
    request.down = start.down;
    request.up = start.up;
    request.batches = batches_;
    request.batch = [this](std::int64_t i) {
      return std::span<const float>(x_).subspan(static_cast<std::size_t>(i * tokens_ * inputs_),
                                                static_cast<std::size_t>(tokens_ * inputs_));
    };
    request.steps = 1500;
    request.learning_rate = 5e-3;
    return request;
  }
  cskv::LatentWeight view() const { return {weight_.data(), outputs_, inputs_}; }
  cskv::LatentFactors svd() const {
    return cskv::scaled_factors(view(), std::vector<double>(static_cast<std::size_t>(inputs_), 1.0), rank_);
  }

  std::vector<float> weight_, x_;
  SecondMoment moment_;
};

// Reduced-rank regression is the least there is; training from the plain SVD comes within 5 % of it.
TEST_F(LatentTrainingTest, ApproachesTheClosedFormOptimum) {
  const cskv::LatentFactors start = svd();
  const LatentTrainingResult result = load_lab().latent_training(request(start));
  EXPECT_NEAR(result.error_before, reconstruction_error(view(), start, moment_), 1e-4 * result.error_before);
  const double least = cskv::least_errors(view(), moment_)[rank_];
  EXPECT_GT(result.error_before, 1.2 * least);
  EXPECT_LE(result.error_after, 1.05 * least);
  EXPECT_GE(result.error_after, least * (1 - 1e-4));
  const cskv::LatentFactors trained{inputs_, outputs_, rank_, result.down, result.up};
  EXPECT_NEAR(result.error_after, reconstruction_error(view(), trained, moment_), 1e-3 * result.error_after);
}

// Training starts from the least error there is without grids, so all it can lower is what grids add: it must
// see that their steps follow from the latents. With the ends of grids held constant it does not.
TEST_F(LatentTrainingTest, PreparesLatentsForGrids) {
  for (const bool by_channel : {false, true}) {
    for (const bool contains_zero : {false, true}) {
      LatentTrainingRequest coarse = request(cskv::whitened_factors(view(), moment_, rank_));
      // 64 tokens and 6 channels: short last groups. Groups of 4 channels reach their ends exactly and add
      // little in 3 bits.
      coarse.bits = by_channel ? 3 : 2;
      coarse.group = by_channel ? 40 : 4;
      coarse.by_channel = by_channel;
      coarse.contains_zero = contains_zero;
      coarse.steps = 800;
      coarse.learning_rate = 5e-2;
      const LatentTrainingResult result = load_lab().latent_training(coarse);
      EXPECT_LT(result.error_after, 0.97 * result.error_before) << by_channel << contains_zero;
    }
  }
}

TEST_F(LatentTrainingTest, NeverEndsWorseThanItBegan) {
  LatentTrainingRequest wild = request(svd());
  wild.learning_rate = 0.9;
  wild.steps = 5;
  const LatentTrainingResult result = load_lab().latent_training(wild);
  EXPECT_EQ(result.error_after, result.error_before);
  EXPECT_EQ(result.down, wild.down);
}

TEST_F(LatentTrainingTest, RepeatsAndRefuses) {
  LatentTrainingRequest short_run = request(svd());
  short_run.steps = 20;
  const LatentTrainingResult a = load_lab().latent_training(short_run),
                             b = load_lab().latent_training(short_run);
  EXPECT_EQ(a.down, b.down);
  EXPECT_EQ(a.up, b.up);
  LatentTrainingRequest wrong = short_run;
  wrong.down.pop_back();
  EXPECT_THROW(load_lab().latent_training(wrong), Error);
  wrong = short_run;
  wrong.batches = 0;
  EXPECT_THROW(load_lab().latent_training(wrong), Error);
  wrong = short_run;
  std::vector<float> damaged(static_cast<std::size_t>(tokens_ * inputs_),
                             std::numeric_limits<float>::infinity());
  wrong.batch = [&](std::int64_t) { return std::span<const float>(damaged); };
  EXPECT_THROW(load_lab().latent_training(wrong), Error);
}

}  // namespace
}  // namespace laconic
