// Rows and models of training tasks by numbers worked out by hand: normalised pictures, sparse rows,
// factorisation of ratings.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/base/error.h"
#include "methods/gradients/tasks/classified_rows.h"
#include "methods/gradients/tasks/task_models.h"

namespace laconic {
namespace {

using testing::ElementsAre;
using testing::FloatEq;

ImageExamples two_pictures() {
  ImageExamples images;
  images.channels = 2;
  images.height = 1;
  images.width = 2;
  images.classes = 3;
  images.pixels = {0, 2, 7, 7, 4, 6, 7, 7};
  images.labels = {2, 0};
  return images;
}

TEST(PictureRows, HaveMeanZeroAndDeviationOneByChannel) {
  const ChannelNormalisation by = normalisation_of(two_pictures());
  const auto scale = static_cast<float>(1 / std::sqrt(5.0));
  EXPECT_THAT(by.mean, ElementsAre(3, 7));
  EXPECT_THAT(by.scale, ElementsAre(FloatEq(scale), 1)) << "a channel of one value stays";
  const PictureRows rows(two_pictures(), by);
  EXPECT_EQ(rows.width(), 4u);
  EXPECT_EQ(rows.count(), 2);
  EXPECT_EQ(rows.classes(), 3);
  EXPECT_THAT(rows.labels(), ElementsAre(2, 0));
  std::vector<float> row(4, -9.0f);
  rows.gather(1, row);
  EXPECT_THAT(row, ElementsAre(FloatEq(scale), FloatEq(3 * scale), 0, 0));
  const ClassifiedRows::Range first = rows.range_of(1), second = rows.range_of(2);
  EXPECT_FLOAT_EQ(first.least, -3 * scale);
  EXPECT_FLOAT_EQ(first.most, 252 * scale);
  EXPECT_FLOAT_EQ(first.unit, 255 * scale);
  EXPECT_FLOAT_EQ(second.least, -7);
  EXPECT_FLOAT_EQ(second.most, 248);
  std::vector<float> narrow(3);
  EXPECT_THROW(rows.gather(0, narrow), Error);
}

TEST(SparseRows, AreWrittenWholeAndMayBeAnyNumber) {
  SparseExamples examples;
  examples.columns = 4;
  examples.append(1, std::vector<std::uint32_t>{1, 3}, std::vector<float>{2, -5});
  examples.append(7, std::vector<std::uint32_t>{}, std::vector<float>{});
  const SparseRows rows(examples, {0, 1}, 2);
  EXPECT_EQ(rows.width(), 4u);
  std::vector<float> row(4, -9.0f);
  rows.gather(0, row);
  EXPECT_THAT(row, ElementsAre(0, 2, 0, -5));
  rows.gather(1, row);
  EXPECT_THAT(row, testing::Each(0));
  EXPECT_EQ(rows.range_of(0).least, -std::numeric_limits<float>::infinity());
  EXPECT_EQ(rows.range_of(0).unit, 1);
}

TEST(Factorisation, LossAndGradientOfTwoRatings) {
  RatingData ratings;
  ratings.train.users = ratings.train.items = ratings.test.users = ratings.test.items = 2;
  ratings.train.ratings = {{0, 0, 3, 0}, {1, 1, 1, 1}};
  ratings.test.ratings = {{0, 1, 4, 2}, {1, 1, 1, 3}};
  TaskData data;
  data.name = "ratings";
  data.parts = ratings;
  TaskRequest request;
  request.options = {{"width", 1}, {"regulariser", 0.1}};
  TaskOptions options(request);
  const auto task = make_factorisation_task(data, "factorisation", options);
  EXPECT_THAT(task->labels(), ElementsAre(0, 1)) << "users are the classes";
  // Biases of users and items, factors of users and items. The mean of the ratings is 2: predictions are 3
  // and 0.25, errors 0 and -0.75.
  const std::vector<float> point = {0.5f, 0, 0, 0.25f, 1, 2, 0.5f, -1};
  std::vector<float> gradient(8, -9.0f);
  std::vector<std::size_t> told;
  const auto replica = task->replica();
  EXPECT_NEAR(replica->gradient(point, std::vector<std::int64_t>{0, 1}, gradient,
                                [&](std::size_t tensor) { told.push_back(tensor); }),
              (0.075 + 0.28125 + 0.253125) / 2, 1e-7);
  const std::vector<float> wanted = {0.025f, -0.375f, 0, -0.3625f, 0.05f, 0.475f, 0.025f, -0.8f};
  for (std::size_t j = 0; j < 8; ++j) EXPECT_NEAR(gradient[j], wanted[j], 1e-6) << j;
  EXPECT_THAT(told, ElementsAre(3, 2, 1, 0));
  replica->gradient(point, std::vector<std::int64_t>{0}, gradient);
  EXPECT_EQ(gradient[5], 0) << "of a user without an example";
  EXPECT_FLOAT_EQ(gradient[4], 0.1f);
  // Held out: 1.75 for 4, without regularisers.
  const Evaluation one = replica->evaluate(point, 1), all = replica->evaluate(point);
  EXPECT_EQ(one.count, 1);
  EXPECT_NEAR(one.loss, 0.5 * 2.25 * 2.25, 1e-7);
  EXPECT_EQ(all.count, 2);
  EXPECT_NEAR(all.loss, (0.5 * 2.25 * 2.25 + 0.28125) / 2, 1e-7);
  EXPECT_FALSE(all.accuracy);
}

}  // namespace
}  // namespace laconic
