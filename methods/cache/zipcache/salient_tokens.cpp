#include "methods/cache/zipcache/salient_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/math/top_k.h"
#include "runtime/cache/saliency.h"

namespace laconic {
namespace {

using Scores = std::vector<std::vector<float>>;  // per KV head and token
using Positions = TokenIndex::Positions;

constexpr float above_all_scores = 1e6f;  // a score is at most the number of query heads

std::vector<std::int32_t> first_positions(std::int64_t count) {
  std::vector<std::int32_t> positions(static_cast<std::size_t>(count));
  std::iota(positions.begin(), positions.end(), 0);
  return positions;
}

// The published draw: the last 5 % of the rows, and as many before them with repetition.
std::vector<std::int64_t> probes_with_repetition(std::int64_t tokens, const SaliencyRule& rule,
                                                 RandomStream stream) {
  const std::int64_t last = count_of(tokens, rule.recent, CountRule::ceil, 0), before = tokens - last;
  std::vector<std::int64_t> ids;
  const std::int64_t drawn = before > 0 ? count_of(tokens, rule.random, CountRule::floor, 0) : 0;
  for (std::int64_t i = 0; i < drawn; ++i) ids.push_back(stream.below(static_cast<std::uint32_t>(before)));
  std::sort(ids.begin(), ids.end());
  for (std::int64_t id = before; id < tokens; ++id) ids.push_back(id);
  return ids;
}

// Takes out what probes saw of their own tokens.
void leave_out_own(const PromptScores& prompt, const std::vector<std::int64_t>& ids, Scores& sums,
                   std::vector<std::int64_t>& rows) {
  for (const std::int64_t id : ids) {
    const auto at = static_cast<std::size_t>(id);
    const std::vector<std::vector<float>> seen = prompt.row(id);  // per query head
    const std::size_t group = seen.size() / sums.size();
    for (std::size_t head = 0; head < seen.size(); ++head)
      sums[head / group][at] = std::max(0.0f, sums[head / group][at] - seen[head].back());
    --rows[at];
  }
}

class SalientTokens final : public TokenSplit {
 public:
  SalientTokens(const KvShape& shape, std::int64_t layer, const SaliencyRule& rule, std::uint64_t seed)
      : heads_(shape.kv_heads), window_(shape.window_of(layer)), layer_(layer), rule_(rule), seed_(seed) {}

  KvNeeds needs() const override {
    KvNeeds needs;
    if (rule_.score == SaliencyRule::Score::random) return needs;
    needs.prompt_scores = true;
    needs.sums.recent = rule_.steps;
    needs.sums.window_only = true;
    return needs;
  }
  bool rewrites() const override { return rule_.official; }

  std::vector<std::vector<Positions>> split(const ExactRows& rows, const KvLayerState& state,
                                            bool joint) const override {
    Scores scores = scores_of(rows, state);
    if (joint) {
      for (std::size_t h = 1; h < scores.size(); ++h) {
        for (std::size_t j = 0; j < scores[h].size(); ++j) scores.front()[j] += scores[h][j];
      }
      scores.resize(1);
    }
    const std::int64_t salient = salient_count(rows.count, rows.prompt != nullptr);
    std::vector<std::vector<Positions>> classes;
    for (const std::vector<float>& head : scores) {
      std::vector<bool> chosen(head.size());
      for (const std::int64_t j : top_k(head, salient)) chosen[static_cast<std::size_t>(j)] = true;
      std::vector<Positions>& of_head = classes.emplace_back(2);
      for (std::size_t j = 0; j < head.size(); ++j)
        of_head[chosen[j] ? 0 : 1].push_back(static_cast<std::int32_t>(j));
    }
    return classes;
  }

 private:
  std::int64_t salient_count(std::int64_t count, bool prompt) const {
    if (rule_.official) return count - count_of(count, 1 - rule_.ratio, CountRule::floor, 0);
    if (prompt) return count_of(count, rule_.ratio, CountRule::nearest, 0);
    return count - count_of(count, 1 - rule_.ratio, CountRule::nearest, 0);
  }

  Scores scores_of(const ExactRows& rows, const KvLayerState& state) const {
    if (rule_.score == SaliencyRule::Score::random) return by_chance(rows);
    return rows.scores != nullptr ? of_prompt(*rows.scores, rows.count) : of_steps(state, rows.count);
  }

  // The window still holds the tokens, as the first of it, and its last rows are the last steps.
  Scores of_steps(const KvLayerState& state, std::int64_t count) const {
    const std::int64_t held = state.window_rows();
    std::vector<std::int64_t> ids;
    for (std::int64_t id = std::max<std::int64_t>(0, held - rule_.steps); id < held; ++id) ids.push_back(id);
    std::vector<std::int64_t> rows = rows_that_see(held, ids, window_);
    if (rule_.score == SaliencyRule::Score::accumulated) std::fill(rows.begin(), rows.end(), 1);
    Scores scores;
    for (std::int64_t h = 0; h < heads_; ++h) {
      std::vector<float> sums = state.sums.recent_sum(h);
      sums.resize(rows.size());
      scores.push_back(normalised_scores(sums, rows));
      scores.back().resize(static_cast<std::size_t>(count));
    }
    return scores;
  }

  Scores of_prompt(const PromptScores& prompt, std::int64_t count) const {
    const std::int64_t tokens = prompt.tokens();
    const std::vector<std::int32_t> columns = first_positions(tokens);
    Scores sums;
    std::vector<std::int64_t> rows = rows_that_see(tokens, columns, window_);
    if (rule_.score == SaliencyRule::Score::normalised) {
      const RandomStream stream(seed_, "zipcache probes", fmt::format("layer {}", layer_));
      const std::vector<std::int64_t> ids = rule_.official
                                                ? probes_with_repetition(tokens, rule_, stream)
                                                : probe_rows(tokens, rule_.recent, rule_.random, stream);
      sums = prompt.sums(ids);
      if (!rule_.official) rows = rows_that_see(tokens, ids, window_);
      if (!rule_.own) leave_out_own(prompt, ids, sums, rows);
    } else {
      sums = prompt.column_sums();
      if (rule_.score == SaliencyRule::Score::accumulated) std::fill(rows.begin(), rows.end(), 1);
    }
    Scores scores;
    for (const std::vector<float>& head : sums) {
      scores.push_back(normalised_scores(head, rows));
      scores.back().resize(static_cast<std::size_t>(count));
      // The newest tokens, which no other probe can see yet, come first.
      for (std::size_t j = 0; !rule_.own && j < scores.back().size(); ++j) {
        if (rows[j] == 0) scores.back()[j] = above_all_scores;
      }
    }
    return scores;
  }

  Scores by_chance(const ExactRows& rows) const {
    Scores scores;
    for (std::int64_t h = 0; h < heads_; ++h) {
      RandomStream stream(seed_, "zipcache tokens", fmt::format("layer {}", layer_),
                          static_cast<std::uint64_t>(rows.first_position), static_cast<std::uint16_t>(h));
      std::vector<float>& head = scores.emplace_back();
      for (std::int64_t j = 0; j < rows.count; ++j) head.push_back(stream.uniform());
    }
    return scores;
  }

  std::int64_t heads_, window_, layer_;
  SaliencyRule rule_;
  std::uint64_t seed_;
};

}  // namespace

std::shared_ptr<const TokenSplit> salient_tokens(const KvShape& shape, std::int64_t layer,
                                                 const SaliencyRule& rule, std::uint64_t seed) {
  return std::make_shared<SalientTokens>(shape, layer, rule, seed);
}

}  // namespace laconic
