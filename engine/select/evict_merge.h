// Merging tokens into the tokens that stay: each is given to the centre that it resembles most, in key and in
// value, or to nobody (the zero class of EMS, Li et al. 2024, arXiv 2412.08521; the clamp at 0, the ties and
// the degenerate cases are ours):
//   r_xc = max(0, cos(k_x, k_c)) max(0, cos(v_x, v_c)),  a(x) = argmax over {threshold, r_x1, ..., r_xn}
// and every centre c becomes the weighted mean of its group G_c = {c} and the tokens given to it,
//   v_c' = sum w_x v_x / sum w_x,  k_c' = |k_c| u / |u|  with  u = sum w_x k_x / |k_x|
// so that keys keep their norms, which decide how much attention a token gets.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace laconic {

// Keys [count, key_width] and values [count, value_width] of tokens. Borrowed.
struct TokenRows {
  std::int64_t count = 0, key_width = 0, value_width = 0;
  const float* keys = nullptr;
  const float* values = nullptr;
};

constexpr std::int32_t zero_class = -1;

// The centre of each token. The threshold wins ties, and a lower centre over a higher one; a row of norm 0
// resembles nothing. Without `clamp`, products of two negative cosines count as likeness.
std::vector<std::int32_t> assign_to_centres(const TokenRows& tokens, const TokenRows& centres,
                                            float threshold, bool clamp = true);

// Centres that differ, and the tokens that resemble them. Rows are taken in `order`, the most important
// first: one that resembles an earlier centre by more than the threshold is given to it, any other becomes a
// centre, up to `centres` of them. At most `members` rows are given away; the walk ends when both counts are
// reached. Where all rows are done before there are enough centres, the first of those given away become
// centres after all.
struct Grouping {
  std::vector<std::int64_t> centres;    // rows, in the order they were chosen
  std::vector<std::int32_t> centre_of;  // per row: index into `centres`, its own for a centre; or zero_class
};
Grouping distinct_centres(const TokenRows& rows, std::span<const std::int64_t> order, std::int64_t centres,
                          std::int64_t members, float threshold, bool clamp = true);

struct MergeForm {
  bool keys = true;        // else values alone are merged
  bool mean_norm = false;  // keys get the weighted mean of the norms in place of the centre's own
};

// Centres that are to be changed, and the sum of the weights of each group.
struct MergedCentres {
  float* keys = nullptr;    // [centres, key_width]
  float* values = nullptr;  // [centres, value_width]
  std::vector<float> weights;
};

// Merges tokens into the centres that they were given to. Weights are at least 0; a group whose weights sum
// to 0 is left as it is, and a key whose group cancels keeps its direction. Centres without tokens are
// untouched.
void merge_into_centres(const TokenRows& tokens, std::span<const std::int32_t> centre_of,
                        std::span<const float> token_weights, std::span<const float> centre_weights,
                        const TokenRows& centres, const MergeForm& form, MergedCentres& merged);

}  // namespace laconic
