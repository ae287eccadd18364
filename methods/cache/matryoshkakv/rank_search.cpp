#include "methods/cache/matryoshkakv/rank_search.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "runtime/evaluation/window_logits.h"
#include "runtime/row_kernel.h"

namespace laconic::matryoshkakv {
namespace {

// The tokens of one window that follow its prompt, as the assignment so far sees them.
struct SearchWindow {
  std::vector<std::int32_t> forced;
  std::unique_ptr<KvCache> whole;          // the prompt with all columns
  std::unique_ptr<KvCache> now;            // with the assignment's
  std::vector<float> reference;            // logits with all columns, [forced, vocabulary]
  std::vector<std::vector<float>> hidden;  // before each layer, [forced, hidden]
};

class RankDescent {
 public:
  RankDescent(const Transformer& model, std::shared_ptr<const ModelBases> bases,
              const std::vector<std::vector<std::int32_t>>& windows, const RankSearch& search)
      : model_(model),
        shape_(model.kv_shape()),
        bases_(std::move(bases)),
        search_(search),
        space_(rank_space(shape_, search.step, search.share)) {
    if (windows.empty()) fail(ErrorKind::usage, "no windows to search ranks on", "matryoshkakv");
    const auto whole = rotated_map(shape_, bases_, RankTable(shape_, shape_.head_dim));
    for (std::int64_t layer = 0; layer < shape_.layers; ++layer) {
      KvStages stages;
      stages.canonical = "matryoshkakv";
      stages.features = whole;
      stages.window = {search.window, search.forced + search.window + 1, 1,
                       DType::f16};  // nothing is flushed
      codecs_.push_back(make_stage_codec(shape_, layer, std::move(stages)));
    }
    windows_.resize(windows.size());
    parallel_for(static_cast<std::int64_t>(windows.size()), [&](std::int64_t i) {
      start_window(windows[static_cast<std::size_t>(i)], windows_[static_cast<std::size_t>(i)]);
    });
  }

  Descent run() {
    const auto steps = static_cast<std::int64_t>(steps_to_go());
    Progress progress(search_.progress, "searching ranks", steps);
    std::size_t seen = 0;
    return descend(
        space_,
        [&](const Assignment& levels, std::span<const std::size_t> units) { return harms(levels, units); },
        [&](const Descent& descent) {
          move_to(descent.levels, descent.lowered, seen);
          progress.advance(static_cast<std::int64_t>(descent.lowered.size() - seen));
          seen = descent.lowered.size();
        });
  }

 private:
  std::uint64_t steps_to_go() const {
    // Ranks go down by whole steps (the first one may be shorter).
    const std::uint64_t all = static_cast<std::uint64_t>(shape_.head_dim) * space_.cost.size();
    return (all - space_.budget + static_cast<std::uint64_t>(search_.step) - 1) /
           static_cast<std::uint64_t>(search_.step);
  }

  void start_window(const std::vector<std::int32_t>& tokens, SearchWindow& window) const {
    const auto prompt = static_cast<std::int64_t>(tokens.size()) - search_.forced;
    if (prompt < search_.forced + 2 * search_.window + 1) {
      fail(ErrorKind::usage,
           fmt::format("windows of {} tokens are too short to search ranks on: {} are needed", tokens.size(),
                       2 * search_.forced + 2 * search_.window + 1),
           "matryoshkakv", "use longer calibration windows, or search=false");
    }
    window.whole = std::make_unique<KvCache>(shape_, codecs_);
    run_layers(std::span(tokens).first(static_cast<std::size_t>(prompt)), *window.whole, nullptr);
    window.forced.assign(tokens.begin() + prompt, tokens.end());
    window.now = window.whole->fork();
    const std::vector<float> last = run_layers(window.forced, *window.whole->fork(), &window.hidden);
    window.reference = logits_of(last);
  }

  // Hidden states after the last layer; before each layer they are kept in `hidden`.
  std::vector<float> run_layers(std::span<const std::int32_t> tokens, KvCache& cache,
                                std::vector<std::vector<float>>* hidden) const {
    std::vector<float> states = model_.embed(tokens);
    if (hidden != nullptr) hidden->clear();
    for (std::int64_t layer = 0; layer < shape_.layers; ++layer) {
      if (hidden != nullptr) hidden->push_back(states);
      model_.run_block(layer, states.data(), static_cast<std::int64_t>(tokens.size()), &cache);
    }
    return states;
  }

  std::vector<float> logits_of(const std::vector<float>& states) const {
    const std::int64_t rows = static_cast<std::int64_t>(states.size()) / shape_.hidden;
    std::vector<float> logits(static_cast<std::size_t>(rows * model_.config().vocabulary));
    model_.head(states.data(), rows, logits.data());
    return logits;
  }

  // Mean over all predicted tokens, for each unit lowered alone.
  std::vector<double> harms(const Assignment& levels, std::span<const std::size_t> units) const {
    throw_if_interrupted();
    std::vector<std::shared_ptr<const RotatedMap>> maps;
    for (const std::size_t unit : units) {
      Assignment lowered = levels;
      --lowered[unit];
      maps.push_back(rotated_map(shape_, bases_, ranks_of(shape_, space_, lowered)));
    }
    const auto windows = static_cast<std::int64_t>(windows_.size());
    std::vector<double> sums(units.size() * windows_.size());
    parallel_for(static_cast<std::int64_t>(sums.size()), [&](std::int64_t task) {
      const auto unit = static_cast<std::size_t>(task / windows);
      const SearchWindow& window = windows_[static_cast<std::size_t>(task % windows)];
      const auto layer = static_cast<std::int64_t>(units[unit]) / (2 * shape_.kv_heads);
      sums[static_cast<std::size_t>(task)] = divergence(window, *maps[unit], layer);
    });
    std::vector<double> harms;
    for (std::size_t unit = 0; unit < units.size(); ++unit) {
      double sum = 0;
      for (std::int64_t w = 0; w < windows; ++w)
        sum += sums[unit * windows_.size() + static_cast<std::size_t>(w)];
      harms.push_back(sum / static_cast<double>(windows * search_.forced));
    }
    return harms;
  }

  // Summed KL of one window with one layer lowered; layers below it are as they were.
  double divergence(const SearchWindow& window, const RotatedMap& map, std::int64_t lowered) const {
    const auto cache =
        window.now->recoded(codecs_, [&](std::int64_t layer, const std::shared_ptr<const KvBlock>& block) {
          return layer == lowered ? map.narrowed(layer, *block) : block;
        });
    std::vector<float> states = window.hidden[static_cast<std::size_t>(lowered)];
    for (std::int64_t layer = lowered; layer < shape_.layers; ++layer)
      model_.run_block(layer, states.data(), search_.forced, cache.get());
    const std::vector<float> logits = logits_of(states);
    const std::int64_t vocabulary = model_.config().vocabulary;
    double sum = 0;
    for (std::int64_t i = 0; i < search_.forced; ++i) {
      const float *a = window.reference.data() + i * vocabulary, *b = logits.data() + i * vocabulary;
      sum += kl_divergence(a, log_sum_exp(a, vocabulary), b, log_sum_exp(b, vocabulary), vocabulary);
    }
    return sum;
  }

  void move_to(const Assignment& levels, std::span<const std::size_t> lowered, std::size_t seen) {
    const auto map = rotated_map(shape_, bases_, ranks_of(shape_, space_, levels));
    std::vector<bool> touched(static_cast<std::size_t>(shape_.layers));
    for (std::size_t i = seen; i < lowered.size(); ++i)
      touched[lowered[i] / static_cast<std::size_t>(2 * shape_.kv_heads)] = true;
    parallel_for(static_cast<std::int64_t>(windows_.size()), [&](std::int64_t w) {
      SearchWindow& window = windows_[static_cast<std::size_t>(w)];
      window.now =
          window.now->recoded(codecs_, [&](std::int64_t layer, const std::shared_ptr<const KvBlock>& block) {
            return touched[static_cast<std::size_t>(layer)] ? map->narrowed(layer, *block) : block;
          });
      run_layers(window.forced, *window.now->fork(), &window.hidden);
    });
  }

  const Transformer& model_;
  KvShape shape_;
  std::shared_ptr<const ModelBases> bases_;
  RankSearch search_;
  DescentSpace space_;
  std::vector<std::shared_ptr<const KvCodec>> codecs_;
  std::vector<SearchWindow> windows_;
};

}  // namespace

Descent search_ranks(const Transformer& model, const std::shared_ptr<const ModelBases>& bases,
                     const std::vector<std::vector<std::int32_t>>& windows, const RankSearch& search) {
  return RankDescent(model, bases, windows, search).run();
}

}  // namespace laconic::matryoshkakv
