#include "runtime/evaluation/candidate_fitness.h"

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "runtime/evaluation/window_logits.h"

namespace laconic {
namespace {

// What a block computes, as far as variants of one model differ in it: its linear layers, none for a dropped
// half.
using BlockKey = std::array<const LinearOp*, linear_slots>;

BlockKey key_of(const BlockWeights& block) {
  BlockKey key = {};
  for (std::size_t slot = 0; slot < linear_slots; ++slot) {
    const bool attention = slot <= static_cast<std::size_t>(LinearSlot::o);
    const bool dropped = attention ? block.attention_dropped : block.mlp_dropped;
    key[slot] = dropped ? nullptr : block.linear[slot].get();
  }
  return key;
}

struct OrderedCandidates {
  std::vector<std::size_t> order;  // place -> candidate; variants with equal first blocks are neighbours
  std::vector<std::int64_t> same_blocks;  // of a place and the one before it; 0 for the first

  explicit OrderedCandidates(const std::vector<Transformer>& candidates)
      : order(candidates.size()), same_blocks(candidates.size()) {
    std::vector<std::vector<BlockKey>> keys(candidates.size());
    for (std::size_t i = 0; i < candidates.size(); ++i) {
      for (std::int64_t layer = 0; layer < candidates[i].config().layers; ++layer) {
        keys[i].push_back(key_of(candidates[i].block(layer)));
      }
    }
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto before = [](const LinearOp* a, const LinearOp* b) { return std::less<>()(a, b); };
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      for (std::size_t layer = 0; layer < keys[a].size(); ++layer) {
        if (keys[a][layer] == keys[b][layer]) continue;
        return std::lexicographical_compare(keys[a][layer].begin(), keys[a][layer].end(),
                                            keys[b][layer].begin(), keys[b][layer].end(), before);
      }
      return false;
    });
    for (std::size_t i = 1; i < order.size(); ++i) {
      const auto &a = keys[order[i - 1]], &b = keys[order[i]];
      same_blocks[i] = std::mismatch(a.begin(), a.end(), b.begin()).first - a.begin();
    }
  }
};

// Hidden states of one window at the depths from which later candidates go on.
class SharedPrefix {
 public:
  explicit SharedPrefix(std::vector<float> embeddings) { states_.push_back({0, std::move(embeddings)}); }
  // The states after `depth` blocks; deeper ones are forgotten.
  const std::vector<float>& at(std::int64_t depth) {
    while (states_.back().depth > depth) states_.pop_back();
    require(states_.back().depth == depth, "the states of a shared block were kept");
    return states_.back().hidden;
  }
  void keep(std::int64_t depth, const std::vector<float>& hidden) { states_.push_back({depth, hidden}); }

 private:
  struct State {
    std::int64_t depth;
    std::vector<float> hidden;
  };
  std::vector<State> states_;
};

// Depths at which a candidate after place `i` (before `end`) goes on from the candidate at `i`.
std::vector<bool> branches_after(const OrderedCandidates& ordered, std::size_t i, std::size_t end,
                                 std::int64_t layers) {
  std::vector<bool> branches(static_cast<std::size_t>(layers) + 1);
  std::int64_t shared = layers;
  for (std::size_t next = i + 1; next < end && shared > 0; ++next) {
    shared = std::min(shared, ordered.same_blocks[next]);
    branches[static_cast<std::size_t>(shared)] = true;
  }
  return branches;
}

}  // namespace

std::vector<double> candidate_fitness(const std::vector<Transformer>& candidates, const TeacherCache& teacher,
                                      const TeacherBatch& batch, FitnessMeasure measure) {
  if (candidates.empty()) return {};
  const ModelConfig& config = candidates.front().config();
  const OrderedCandidates ordered(candidates);
  const std::size_t windows = batch.windows.size(), count = candidates.size();
  std::vector<double> sums(windows * count);  // [window, candidate]

  // Runs of neighbours, as many as keep the threads busy; a run's first candidate shares nothing.
  const auto wanted = 2 * static_cast<std::size_t>(thread_count());
  const std::size_t runs = std::clamp<std::size_t>(wanted / std::max<std::size_t>(1, windows), 1, count);
  parallel_for(static_cast<std::int64_t>(windows * runs), [&](std::int64_t task) {
    throw_if_interrupted();
    const std::size_t w = static_cast<std::size_t>(task) / runs, run = static_cast<std::size_t>(task) % runs;
    const std::int64_t window = batch.windows[w];
    std::span<const std::int32_t> tokens = teacher.window(window);
    if (w + 1 == windows && batch.last_tokens > 0) {
      tokens = tokens.first(static_cast<std::size_t>(batch.last_tokens) + 1);
    }
    const std::int64_t rows = static_cast<std::int64_t>(tokens.size()) - 1;
    if (rows <= 0) return;
    const std::size_t begin = count * run / runs, end = count * (run + 1) / runs;
    SharedPrefix prefix(candidates.front().embed(tokens.first(static_cast<std::size_t>(rows))));
    std::vector<float> scratch;
    for (std::size_t i = begin; i < end; ++i) {
      const Transformer& candidate = candidates[ordered.order[i]];
      const std::int64_t shared = i == begin ? 0 : ordered.same_blocks[i];
      double& sum = sums[w * count + ordered.order[i]];
      if (shared == config.layers) {  // the same variant twice
        sum = sums[w * count + ordered.order[i - 1]];
        continue;
      }
      std::vector<float> hidden = prefix.at(shared);
      const std::vector<bool> branches = branches_after(ordered, i, end, config.layers);
      for (std::int64_t layer = shared; layer < config.layers; ++layer) {
        candidate.run_block(layer, hidden.data(), rows, nullptr);
        if (layer + 1 < config.layers && branches[static_cast<std::size_t>(layer) + 1]) {
          prefix.keep(layer + 1, hidden);
        }
      }
      visit_logits(candidate, hidden.data(), rows, [&](std::int64_t row, const float* logits) {
        sum += measure == FitnessMeasure::kl ? teacher.row_kl(window, row, logits, scratch)
                                             : teacher.row_nats(window, row, logits);
      });
    }
  });
  std::vector<double> result(count);
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t w = 0; w < windows; ++w) result[i] += sums[w * count + i];
    result[i] /= static_cast<double>(batch.scored_tokens);
  }
  return result;
}

}  // namespace laconic
