// Lengths of sequences as long-context training meets them. Of the two data sets of the paper it is published
// which share of their tokens lies in sequences of more than 256K; a lognormal distribution, cut off at the
// longest context, meets that share and has its median at 2K tokens (our choice: nothing is published on it).
// A shorter context drops what is longer, as training does.
//
// Draws are stratified: the n sequences of a batch lie in n parts of equal probability, one in each, in
// random order. So each batch, and not merely their mean, has the tail that the distribution has.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace laconic::bytescale {

struct LengthDistribution {
  std::string_view name;
  double share = 0;  // of tokens in sequences longer than `beyond`, at context `longest`
  double beyond = 262144, longest = 2097152;
  double median = 2048;
  double shortest = 32;  // shorter ones count as this
};

// "github-like" (9.8 %), "long-text" (37 %): the two of the paper.
const LengthDistribution& length_distribution(std::string_view name);
const std::vector<LengthDistribution>& length_distributions();

// Deviation of the logarithm that meets the share.
double log_deviation(const LengthDistribution& distribution);

// About `tokens` tokens in sequences of at most `longest`.
std::vector<std::uint32_t> draw_lengths(const LengthDistribution& distribution, std::uint32_t longest,
                                        std::uint64_t tokens, std::uint64_t seed, std::uint64_t step);

// Of tokens, in sequences longer than `beyond`.
double token_share_beyond(const std::vector<std::uint32_t>& lengths, double beyond);

}  // namespace laconic::bytescale
