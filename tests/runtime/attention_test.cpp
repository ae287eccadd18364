// Attention of a whole prompt, whichever way it goes.
#include "runtime/attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "engine/attention/scheduled_attention.h"
#include "engine/base/random.h"

namespace laconic {
namespace {

std::vector<float> normal(std::int64_t count, std::string_view name) {
  const RandomStream random(1, "attention test", name);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = random.gaussian_at(i);
  return values;
}

// Head `head` of states [rows, heads, width].
std::vector<float> head_of(const std::vector<float>& states, std::int64_t heads, std::int64_t width,
                           std::int64_t head) {
  std::vector<float> rows;
  for (std::size_t at = static_cast<std::size_t>(head * width); at < states.size();
       at += static_cast<std::size_t>(heads * width)) {
    const auto from = states.begin() + static_cast<std::ptrdiff_t>(at);
    rows.insert(rows.end(), from, from + width);
  }
  return rows;
}

TEST(PromptAttention, IsWhatTheDefinitionSaysForFewRowsAndMany) {
  constexpr std::int64_t d = 12, kv_heads = 2;
  for (const std::int64_t group : {1, 3, 9}) {
    for (const std::int64_t rows : {1, 2, 3, 7, 8, 20, 150}) {
      for (const std::int64_t window : {0, 5}) {
        SCOPED_TRACE(testing::Message() << rows << " rows of " << group << " heads, window " << window);
        const std::int64_t heads = group * kv_heads;
        const auto queries = normal(rows * heads * d, "q"), keys = normal(rows * kv_heads * d, "k"),
                   values = normal(rows * kv_heads * d, "v");
        std::vector<float> out(queries.size(), 9.0f);
        attend_prompt(
            {rows, heads, kv_heads, d, window, queries.data(), keys.data(), values.data(), out.data()});
        for (std::int64_t head = 0; head < heads; ++head) {
          const auto q = head_of(queries, heads, d, head), k = head_of(keys, kv_heads, d, head / group),
                     v = head_of(values, kv_heads, d, head / group);
          const AttentionProblem problem{{rows, rows, d, {true, 0, window}},
                                         static_cast<float>(1 / std::sqrt(static_cast<double>(d))),
                                         q,
                                         k,
                                         v};
          EXPECT_LE(largest_error(head_of(out, heads, d, head), attention_by_definition(problem)), 1e-5);
        }
      }
    }
  }
}

// What a model computes for a token cannot depend on the tokens after it, not even in the last bit.
TEST(PromptAttention, TheStartOfALongerPromptHasTheSameBits) {
  constexpr std::int64_t d = 24, heads = 2, rows = 140, less = 90;
  const auto queries = normal(rows * heads * d, "q"), keys = normal(rows * d, "k"),
             values = normal(rows * d, "v");
  std::vector<float> whole(queries.size()), start(static_cast<std::size_t>(less * heads * d));
  attend_prompt({rows, heads, 1, d, 0, queries.data(), keys.data(), values.data(), whole.data()});
  attend_prompt({less, heads, 1, d, 0, queries.data(), keys.data(), values.data(), start.data()});
  for (std::size_t i = 0; i < start.size(); ++i) ASSERT_EQ(start[i], whole[i]) << i;
}

}  // namespace
}  // namespace laconic
