// Partitions cover all examples once, and have the shape that their rule promises; generated data repeat.
#include "engine/dataset/partition.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "engine/base/error.h"
#include "engine/dataset/synthetic.h"

namespace laconic {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::Ge;
using testing::IsEmpty;

std::vector<std::int32_t> round_labels(std::int64_t examples, std::int32_t classes) {
  std::vector<std::int32_t> labels;
  for (std::int64_t i = 0; i < examples; ++i) labels.push_back(static_cast<std::int32_t>(i % classes));
  return labels;
}

void expect_cover(const Partition& parts, std::int64_t examples) {
  std::vector<int> seen(static_cast<std::size_t>(examples), 0);
  for (const auto& part : parts) {
    EXPECT_TRUE(std::is_sorted(part.begin(), part.end()));
    for (const std::int64_t example : part) ++seen.at(static_cast<std::size_t>(example));
  }
  EXPECT_THAT(seen, Each(1));
}

std::set<std::int32_t> classes_of(const std::vector<std::int64_t>& part,
                                  const std::vector<std::int32_t>& labels) {
  std::set<std::int32_t> classes;
  for (const std::int64_t example : part) classes.insert(labels[static_cast<std::size_t>(example)]);
  return classes;
}

TEST(Partition, EveryRuleCovers) {
  const std::vector<std::int32_t> labels = round_labels(1003, 7);
  for (const char* rule : {"iid", "labels:1", "labels:2", "labels:9", "dirichlet:0.01", "dirichlet:100",
                           "dirichlet:1", "sorted", "rows"}) {
    for (const int clients : {7, 10, 200}) {
      SCOPED_TRACE(testing::Message() << rule << ", " << clients << " clients");
      const PartitionRule parsed = parse_partition_rule(rule);
      EXPECT_EQ(text_of(parsed), rule);
      const Partition parts = partition(parsed, 1003, labels, clients, 5);
      ASSERT_EQ(parts.size(), static_cast<std::size_t>(clients));
      expect_cover(parts, 1003);
      EXPECT_EQ(parts, partition(parsed, 1003, labels, clients, 5));
    }
  }
}

TEST(Partition, ClientsOfTwoClasses) {
  const std::vector<std::int32_t> labels = round_labels(4000, 10);
  const Partition parts = partition(parse_partition_rule("labels:2"), 4000, labels, 200, 1);
  for (const auto& part : parts) {
    EXPECT_EQ(classes_of(part, labels).size(), 2u);
    EXPECT_EQ(part.size(), 20u);
  }
  EXPECT_NE(parts, partition(parse_partition_rule("labels:2"), 4000, labels, 200, 2)) << "by seed";
  EXPECT_THROW(partition(parse_partition_rule("labels:2"), 4000, labels, 4, 1), Error)
      << "8 places for 10 classes";
}

TEST(Partition, DirichletGoesFromOneClientToAll) {
  const std::vector<std::int32_t> labels = round_labels(10000, 10);
  const auto largest_share = [&](const char* rule) {
    const Partition parts = partition(parse_partition_rule(rule), 10000, labels, 10, 3);
    double sum = 0;
    for (std::int32_t c = 0; c < 10; ++c) {
      std::int64_t most = 0;
      for (const auto& part : parts)
        most =
            std::max<std::int64_t>(most, std::count_if(part.begin(), part.end(), [&](std::int64_t example) {
                                     return labels[static_cast<std::size_t>(example)] == c;
                                   }));
      sum += static_cast<double>(most) / 1000;
    }
    return sum / 10;
  };
  EXPECT_LT(largest_share("dirichlet:1000"), 0.13);
  EXPECT_GT(largest_share("dirichlet:0.0001"), 0.99);
  // The mean of the largest of 10 Dirichlet(1) shares is H(10)/10 = 0.293; one class's has deviation 0.08.
  EXPECT_NEAR(largest_share("dirichlet:1"), 0.293, 0.1);
}

TEST(Partition, RunsAreEqual) {
  EXPECT_THAT(partition(parse_partition_rule("rows"), 7, {}, 3, 1),
              ElementsAre(ElementsAre(0, 1), ElementsAre(2, 3), ElementsAre(4, 5, 6)));
  const std::vector<std::int32_t> labels{1, 0, 1, 0};
  EXPECT_THAT(partition(parse_partition_rule("sorted"), 4, labels, 2, 1),
              ElementsAre(ElementsAre(1, 3), ElementsAre(0, 2)));
  const std::vector<double> keys{3, 1, 2};
  EXPECT_THAT(partition_by_key(keys, 3), ElementsAre(ElementsAre(1), ElementsAre(2), ElementsAre(0)));
  EXPECT_THAT(partition(parse_partition_rule("iid"), 0, {}, 2, 1), ElementsAre(IsEmpty(), IsEmpty()));
  EXPECT_THAT(partition(parse_partition_rule("rows"), 1, {}, 2, 1), ElementsAre(IsEmpty(), ElementsAre(0)));
}

TEST(Partition, WrongRulesAreRefused) {
  for (const char* wrong : {"", "IID", "iid:3", "labels:0", "labels:x", "dirichlet:0", "dirichlet:-1",
                            "dirichlet:nan", "labels:", "sorted:1"})
    EXPECT_THROW(parse_partition_rule(wrong), Error) << wrong;
  EXPECT_THROW(partition(parse_partition_rule("sorted"), 4, {}, 2, 1), Error) << "no labels";
  EXPECT_THROW(partition(PartitionRule{}, 4, {}, 0, 1), Error);
}

TEST(Synthetic, PartsOfOneWorld) {
  const SyntheticClasses settings{.examples = 500};
  const ImageExamples train = synthetic_classes(settings, SetPart::train, 1);
  const ImageExamples test = synthetic_classes(settings, SetPart::test, 1);
  EXPECT_EQ(train.pixels.size(), 500u * 64);
  EXPECT_NE(train.pixels, test.pixels);
  EXPECT_EQ(train.pixels, synthetic_classes(settings, SetPart::train, 1).pixels);
  const ImageExamples shorter = synthetic_classes({.examples = 20}, SetPart::train, 1);
  EXPECT_TRUE(std::equal(shorter.pixels.begin(), shorter.pixels.end(), train.pixels.begin()));
  // The nearest class mean of the training part tells the classes of the test part.
  std::vector<std::vector<double>> means(10, std::vector<double>(64, 0));
  for (std::int64_t i = 0; i < 500; ++i) {
    for (std::size_t p = 0; p < 64; ++p)
      means[static_cast<std::size_t>(i % 10)][p] += train.picture(i)[p] / 50.0;
  }
  int right = 0;
  for (std::int64_t i = 0; i < 500; ++i) {
    std::vector<double> distance(10, 0);
    for (std::size_t c = 0; c < 10; ++c) {
      for (std::size_t p = 0; p < 64; ++p)
        distance[c] += (test.picture(i)[p] - means[c][p]) * (test.picture(i)[p] - means[c][p]);
    }
    right += std::min_element(distance.begin(), distance.end()) - distance.begin() == i % 10;
  }
  EXPECT_GT(right, 350);
}

TEST(Synthetic, QuadraticRowsHaveTheirSmoothness) {
  const SparseExamples rows = synthetic_quadratic(2000, 10, 2, 3);
  double mean = 0, square = 0;
  for (std::int64_t i = 0; i < rows.rows(); ++i) {
    double norm = 0;
    for (const float value : rows.row(i).values) norm += static_cast<double>(value) * value;
    mean += std::log(norm) / 2000;
    square += std::log(norm) * std::log(norm) / 2000;
  }
  EXPECT_NEAR(mean, 0, 0.15);
  EXPECT_NEAR(std::sqrt(square), 2, 0.1);
  const SparseExamples one = synthetic_quadratic(1, 1, 0, 3);
  EXPECT_NEAR(std::abs(one.value[0]), 1, 1e-6) << "without a spread every row has length 1";
}

TEST(Synthetic, LogisticLabelsFollowTheModel) {
  const SparseExamples train = synthetic_logistic(2000, 12, SetPart::train, 7);
  EXPECT_EQ(train.columns, 12);
  const auto positive = std::count(train.label.begin(), train.label.end(), 1.0f);
  EXPECT_NEAR(static_cast<double>(positive), 1000, 150);
  EXPECT_NE(train.value, synthetic_logistic(2000, 12, SetPart::test, 7).value);
}

}  // namespace
}  // namespace laconic
