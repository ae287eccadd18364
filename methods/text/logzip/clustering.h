// Iterative structure extraction's clustering (card 34, step 2, after Liu et al. 2019): skeletons that have
// most of their tokens in common become one template, in which a wildcard stands wherever they differ.
//
// Skeletons are divided by their kind, by the fields that go with the template, and by their `frequent_words`
// most frequent words of the content (by lines, ties by first place). Within a division, in one pass by
// descending number of lines, a skeleton joins the template with the highest similarity
//   |longest common subsequence of the literal tokens| / max(tokens of either)
// if that is at least `similarity` and, where asked, the joined columns are expected to code smaller; else it
// opens a template. What it joins becomes the alignment: every gap one wildcard, neighbouring wildcards and
// those that only a joining byte separates (skeleton.h) fused.
//
// Departure from the paper: lines with equal skeletons were one already, so that skeletons are clustered by
// the number of their lines where the paper clusters lines.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace laconic::logzip {

struct ClusterOptions {
  double similarity = 0.5;
  std::uint32_t frequent_words = 3;
  // Expected cost in bits (the MDL test): what a template of its own costs, with each of its slots a column,
  // against what each line loses in a template that says less. Both 0: similarity alone decides.
  double template_bits = 40, column_bits = 24, line_bits = 0.5;
  std::uint32_t most_alignments = 8;  // that are tried for one skeleton
  std::uint32_t most_compared = 256;  // templates that a skeleton is compared with
  std::uint32_t longest = 512;        // tokens; longer skeletons stay alone
};

struct WeighedSkeleton {
  std::string_view text;  // with its first byte
  std::uint32_t lines = 1;
};

struct SkeletonCluster {
  std::string text;  // the template, with its first byte
  std::uint64_t lines = 0;
  std::vector<std::uint32_t> members;  // indices of skeletons
};

// Clusters by the order of their first members. A template of nothing but wildcards and spaces is dropped,
// and its members are in no cluster.
std::vector<SkeletonCluster> cluster_skeletons(std::span<const WeighedSkeleton> skeletons,
                                               const ClusterOptions& options = {});

// The longest common subsequence of two token sequences, wildcards left out, as pairs of indices.
std::vector<std::pair<std::uint32_t, std::uint32_t>> common_tokens(std::span<const std::uint64_t> a,
                                                                   std::span<const std::uint64_t> b);

}  // namespace laconic::logzip
