#include "methods/text/logzip/clustering.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "methods/text/logzip/skeleton.h"
#include "methods/text/logzip/template_choice.h"
#include "methods/text/logzip/token_sequence.h"

namespace laconic::logzip {
namespace {

using ::testing::ElementsAre;

std::string with_slots(std::string text) {
  for (char& c : text)
    if (c == '*') c = slot_mark;
  return "P" + text + "\n";
}

std::string shown(std::string text) {
  for (char& c : text)
    if (c == slot_mark) c = '*';
  return text.substr(1, text.size() - 2);
}

std::vector<std::string> clusters_of(const std::vector<std::string>& texts, ClusterOptions options = {},
                                     std::uint32_t lines = 1) {
  std::vector<std::string> marked;
  for (const std::string& text : texts) marked.push_back(with_slots(text));
  std::vector<WeighedSkeleton> skeletons;
  for (const std::string& text : marked) skeletons.push_back({text, lines});
  std::vector<std::string> found;
  for (const SkeletonCluster& cluster : cluster_skeletons(skeletons, options))
    found.push_back(shown(cluster.text) + " x" + std::to_string(cluster.members.size()));
  return found;
}

TEST(CommonTokens, LongestCommonSubsequence) {
  const std::vector<std::uint64_t> a{1, 2, 3, wildcard_token, 4, 5}, b{1, 3, wildcard_token, 5, 4};
  const auto common = common_tokens(a, b);
  ASSERT_EQ(common.size(), 3u);  // 1 3 4 or 1 3 5, wildcards never
  EXPECT_EQ(common[0], (std::pair<std::uint32_t, std::uint32_t>{0, 0}));
  EXPECT_EQ(common[1], (std::pair<std::uint32_t, std::uint32_t>{2, 1}));
}

TEST(Clustering, GapsBecomeOneWildcard) {
  EXPECT_THAT(clusters_of({"user alice logged in", "user bob logged in"}),
              ElementsAre("user * logged in x2"));
  EXPECT_THAT(clusters_of({"user alice smith logged in", "user bob logged in"}),
              ElementsAre("user * logged in x2"));
  // Joined wildcards fuse, as slots do.
  EXPECT_THAT(clusters_of({"connect to www.left.com port * done", "connect to ftp.right.com port * done"}),
              ElementsAre("connect to *.com port * done x2"));
}

TEST(Clustering, UnlikeSkeletonsStayApart) {
  EXPECT_THAT(clusters_of({"user alice logged in", "disk full"}),
              ElementsAre("user alice logged in x1", "disk full x1"));
  ClusterOptions strict;
  strict.similarity = 0.95;
  EXPECT_EQ(clusters_of({"user alice logged in", "user bob logged in"}, strict).size(), 2u);
}

TEST(Clustering, DivisionsByFrequentWords) {
  // "alpha beta gamma" are the most frequent of the first three, "delta ..." of the others.
  ClusterOptions options;
  options.similarity = 0.1;
  const auto found = clusters_of({"alpha beta gamma one", "alpha beta gamma two", "alpha beta gamma three",
                                  "delta beta epsilon one", "delta beta epsilon two"},
                                 options);
  EXPECT_THAT(found, ElementsAre("alpha beta gamma * x3", "delta beta epsilon * x2"));
}

TEST(Clustering, WhatCostsMoreThanItSavesIsNotJoined) {
  const std::vector<std::string> texts{"user alice logged in", "user bob logged in"};
  EXPECT_EQ(clusters_of(texts, {}, 3).size(), 1u);
  EXPECT_EQ(clusters_of(texts, {}, 5000).size(), 2u);
  ClusterOptions likeness_alone;
  likeness_alone.template_bits = likeness_alone.column_bits = 0;
  EXPECT_EQ(clusters_of(texts, likeness_alone, 5000).size(), 1u);
}

TEST(Clustering, NothingButWildcardsIsNoTemplate) {
  EXPECT_THAT(clusters_of({"* *", "*"}), ElementsAre());
  EXPECT_THAT(clusters_of({"", "----"}), ElementsAre(" x1", "---- x1"));
}

TEST(TemplateChoice, RareSkeletonsShareATemplateWhereTheyCan) {
  std::vector<std::string> texts;
  for (const char* name : {"alice", "bob", "carol", "dave"})
    texts.push_back(with_slots("user " + std::string(name) + " logged in"));
  texts.push_back(with_slots("something else entirely happened"));
  std::vector<WeighedSkeleton> skeletons;
  for (const std::string& text : texts) skeletons.push_back({text, 1});
  const KnownTemplates known(1);
  const TemplateChoice choice = choose_templates(skeletons, known);
  ASSERT_EQ(choice.fresh.size(), 1u);
  EXPECT_EQ(shown(choice.fresh[0].text), "user * logged in");
  EXPECT_EQ(choice.skeletons[0].id, 2u);
  EXPECT_TRUE(choice.skeletons[0].by_wildcards);
  EXPECT_EQ(choice.skeletons[4].id, TemplateTable::plain_line);
  ExtractionOptions equal_only;
  equal_only.clustering = false;
  EXPECT_TRUE(choose_templates(skeletons, known, equal_only).fresh.empty());
}

TEST(TemplateChoice, KnownTemplatesComeFirst) {
  KnownTemplates known(1);
  const Template one(with_slots("user * logged in"));
  known.add({&one, 1});
  const std::string exact = with_slots("user * logged in"), near = with_slots("user alice logged in");
  const std::vector<WeighedSkeleton> skeletons{{exact, 10}, {near, 1}};
  const TemplateChoice choice = choose_templates(skeletons, known);
  EXPECT_TRUE(choice.fresh.empty());
  EXPECT_EQ(choice.skeletons[0].id, 2u);
  EXPECT_FALSE(choice.skeletons[0].by_wildcards);
  EXPECT_EQ(choice.skeletons[1].id, 2u);
  EXPECT_TRUE(choice.skeletons[1].by_wildcards);
}

}  // namespace
}  // namespace laconic::logzip
