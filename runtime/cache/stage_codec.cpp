#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "runtime/cache/stages.h"

namespace laconic {
namespace {

constexpr std::int64_t most_positions = std::int64_t{1} << 28;

// Rows of a matrix in another order.
HeadMatrix gathered(const HeadMatrix& from, const std::vector<TokenIndex::Positions>& classes) {
  std::int64_t count = 0;
  for (const TokenIndex::Positions& list : classes) count += static_cast<std::int64_t>(list.size());
  HeadMatrix to(count, from.width);
  std::int64_t at = 0;
  for (const TokenIndex::Positions& list : classes) {
    for (const std::int32_t r : list) std::copy(from.row(r), from.row(r) + from.width, to.row(at++));
  }
  return to;
}

// Rows of classes one after the other: those of `first`, then those of `second`, class by class.
HeadMatrix joined(const HeadMatrix& first, const std::vector<std::int64_t>& first_classes,
                  const HeadMatrix& second, const std::vector<std::int64_t>& second_classes) {
  HeadMatrix all(first.rows + second.rows, first.width);
  std::int64_t at = 0, from_first = 0, from_second = 0;
  const auto take = [&](const HeadMatrix& from, std::int64_t& begin, std::int64_t count) {
    std::copy(from.row(begin), from.row(begin + count), all.row(at));
    begin += count;
    at += count;
  };
  for (std::size_t c = 0; c < first_classes.size(); ++c) {
    take(first, from_first, first_classes[c]);
    take(second, from_second, second_classes[c]);
  }
  return all;
}

class StageCodec final : public KvCodec {
 public:
  StageCodec(const KvShape& shape, std::int64_t layer, KvStages stages)
      : shape_(shape), layer_(layer), stages_(std::move(stages)) {
    if (stages_.bits == nullptr) stages_.bits = exact_row_codec(DType::f16);
  }

  std::string canonical() const override { return stages_.canonical; }
  KvNeeds needs() const override {
    KvNeeds needs;
    if (stages_.split != nullptr) needs = stages_.split->needs();
    if (stages_.eviction != nullptr) {
      needs.prompt_scores |= stages_.eviction->sums().any();
      if (stages_.eviction->rewrites()) needs.sums = stages_.eviction->sums();
    }
    if (stages_.features != nullptr) needs.hidden |= stages_.features->needs_hidden();
    return needs;
  }
  KvCapabilities capabilities() const override {
    const bool final = stages_.eviction == nullptr && !rewrites();
    return {final, final};
  }
  WindowPolicy window() const override { return stages_.window; }
  std::uint64_t identity() const override {
    return stages_.features != nullptr ? stages_.features->identity() : 0;
  }
  std::uint64_t model_bytes() const override {
    return stages_.features != nullptr ? stages_.features->model_bytes() : 0;
  }
  std::int64_t side_width() const override {
    return stages_.features != nullptr ? stages_.features->side_width(layer_) : 0;
  }
  void side_rows(const LayerRows& rows, float* side) const override {
    stages_.features->side_rows(rows, layer_, side);
  }

  void compress(const ExactRows& rows, KvLayerState& state) const override {
    if (stages_.eviction != nullptr) return evict(rows, state);
    HeadMatrices keys, values;
    if (stages_.features != nullptr) {
      keys = stages_.features->project(rows, KvSide::keys);
      values = stages_.features->project(rows, KvSide::values);
    } else {
      keys = rows.keys;
      values = rows.values;
    }
    TokenIndex index = TokenIndex::run(shape_.kv_heads, rows.first_position, rows.count);
    std::vector<std::int64_t> class_rows;
    if (stages_.split != nullptr) {
      auto classes = stages_.split->split(rows, state, keys.size() == 1 && shape_.kv_heads > 1);
      for (const TokenIndex::Positions& list : classes.front())
        class_rows.push_back(static_cast<std::int64_t>(list.size()));
      for (std::size_t part = 0; part < keys.size(); ++part) {
        keys[part] = gathered(keys[part], classes[part]);
        values[part] = gathered(values[part], classes[part]);
      }
      // A latent that all heads share has one order for all of them.
      while (static_cast<std::int64_t>(classes.size()) < shape_.kv_heads) classes.push_back(classes.front());
      for (auto& head : classes) {
        for (TokenIndex::Positions& list : head) {
          for (std::int32_t& r : list) r += static_cast<std::int32_t>(rows.first_position);
        }
      }
      std::int64_t first = rows.first_position;
      if (rewrites() && !state.blocks.empty()) {
        const KvBlock& before = *state.blocks.front().block;
        first = before.index().first();
        join_block(before, keys, values, class_rows, classes);
        state.blocks.clear();
      }
      index = TokenIndex::listed(first, rows.first_position + rows.count - first, classes);
    }
    auto block = make_block(std::move(index), keys, values, class_rows, rows.prompt, {});
    state.blocks.push_back({std::move(block), rows.first_position + rows.count});
    if (state.sums.active()) {
      for (std::int64_t h = 0; h < shape_.kv_heads; ++h) state.sums.drop_front(h, rows.count);
    }
  }

  std::shared_ptr<const KvBlock> read_block(ByteReader& reader, std::int64_t layer) const override {
    TokenIndex index = TokenIndex::read(reader, shape_.kv_heads, most_positions);
    if (!index.consecutive() && stages_.split == nullptr && stages_.eviction == nullptr)
      reader.corrupt("chosen tokens in a cache that keeps all of them in order");
    if (stages_.eviction != nullptr && index.classes() != 1)
      reader.corrupt("slots that are sorted into classes");
    std::vector<std::vector<float>> log_weights;
    if (stages_.features == nullptr) log_weights = read_log_weights(reader, index);
    std::vector<std::int64_t> class_rows;
    if (!index.consecutive() && stages_.split != nullptr) {
      for (std::int64_t c = 0; c < index.classes(); ++c) class_rows.push_back(index.class_rows(0, c));
      for (std::int64_t h = 1; h < index.heads(); ++h) {
        for (std::int64_t c = 0; c < index.classes(); ++c) {
          if (index.class_rows(h, c) != class_rows[static_cast<std::size_t>(c)])
            reader.corrupt("classes of tokens whose sizes differ between heads");
        }
      }
    }
    const auto shape_for = [&](KvSide side) {
      RowStoreShape shape;
      if (stages_.features == nullptr) {
        for (std::int64_t h = 0; h < shape_.kv_heads; ++h)
          shape.parts.push_back({index.rows(h), shape_.head_dim});
        return shape;
      }
      std::int64_t part = 0;
      for (const std::int64_t width : stages_.features->widths(layer, side))
        shape.parts.push_back({index.rows(part++), width});
      return shape;
    };
    const bool prompt = index.first() == 0;
    auto keys =
        stages_.bits->read(reader, shape_for(KvSide::keys), context(KvSide::keys, prompt, index, class_rows));
    auto values = stages_.bits->read(reader, shape_for(KvSide::values),
                                     context(KvSide::values, prompt, index, class_rows));
    if (stages_.features != nullptr)
      return stages_.features->block(layer, std::move(index), std::move(keys), std::move(values));
    return std::make_shared<StoredBlock>(std::move(index), std::move(keys), std::move(values),
                                         std::move(log_weights));
  }

 private:
  bool rewrites() const { return stages_.split != nullptr && stages_.split->rewrites(); }

  // Puts the rows of a block before those of the same class.
  void join_block(const KvBlock& block, HeadMatrices& keys, HeadMatrices& values,
                  std::vector<std::int64_t>& class_rows,
                  std::vector<std::vector<TokenIndex::Positions>>& classes) const {
    std::vector<std::int64_t> before;
    for (std::int64_t c = 0; c < block.index().classes(); ++c)
      before.push_back(block.index().class_rows(0, c));
    for (std::int64_t h = 0; h < shape_.kv_heads; ++h) {
      const auto part = static_cast<std::size_t>(h);
      HeadMatrix old_keys(block.rows(h), shape_.head_dim), old_values(block.rows(h), shape_.head_dim);
      block.read(h, 0, block.rows(h), old_keys.values.data(), old_values.values.data());
      keys[part] = joined(old_keys, before, keys[part], class_rows);
      values[part] = joined(old_values, before, values[part], class_rows);
      const TokenIndex::Positions positions = block.index().positions(h);
      auto from = positions.begin();
      for (std::size_t c = 0; c < before.size(); ++c) {
        TokenIndex::Positions& list = classes[part][c];
        list.insert(list.begin(), from, from + before[c]);
        from += before[c];
      }
    }
    for (std::size_t c = 0; c < before.size(); ++c) class_rows[c] += before[c];
  }

  RowContext context(KvSide side, bool prompt, const TokenIndex& index,
                     std::span<const std::int64_t> class_rows, const LayerRows* prompt_rows = nullptr) const {
    const bool turned_run =
        side == KvSide::keys && stages_.features == nullptr && index.consecutive() && shape_.rope != nullptr;
    return {layer_,       shape_.layers, side,        prompt,  index.first(),
            stages_.seed, class_rows,    prompt_rows, &shape_, turned_run};
  }

  std::shared_ptr<const KvBlock> make_block(TokenIndex index, const HeadMatrices& keys,
                                            const HeadMatrices& values,
                                            std::span<const std::int64_t> class_rows, const LayerRows* prompt,
                                            std::vector<std::vector<float>> log_weights) const {
    const auto of = [&](KvSide side) { return context(side, prompt != nullptr, index, class_rows, prompt); };
    auto key_store = stages_.bits->encode(keys, of(KvSide::keys));
    auto value_store = stages_.bits->encode(values, of(KvSide::values));
    if (stages_.features != nullptr)
      return stages_.features->block(layer_, std::move(index), std::move(key_store), std::move(value_store));
    return std::make_shared<StoredBlock>(std::move(index), std::move(key_store), std::move(value_store),
                                         std::move(log_weights));
  }

  // Slots and the tokens that leave the window compete; what is kept becomes the one block. While everything
  // fits, the tokens become a block of their own.
  void evict(const ExactRows& rows, KvLayerState& state) const {
    EvictionStep step;
    step.layer = layer_;
    step.seen = state.tokens;
    step.prompt = state.prompt;
    step.prompt_rows = rows.prompt != nullptr;
    step.window = shape_.window_of(layer_);
    step.seed = stages_.seed;
    const std::int64_t end = rows.first_position + rows.count;
    std::int64_t most = rows.count;
    for (std::int64_t h = 0; h < shape_.kv_heads; ++h) most = std::max(most, held(state, h) + rows.count);
    if (most <= stages_.eviction->capacity(step)) {
      TokenIndex index = TokenIndex::run(shape_.kv_heads, rows.first_position, rows.count);
      state.blocks.push_back(
          {make_block(std::move(index), rows.keys, rows.values, {}, rows.prompt, {}), end});
      return;
    }
    std::vector<KvSlots> candidates;
    std::vector<std::vector<std::int64_t>> visible;
    for (std::int64_t h = 0; h < shape_.kv_heads; ++h) {
      candidates.push_back(candidates_of(rows, state, h, step.prompt_rows));
      visible.push_back(still_visible(candidates.back(), step));
      const auto h_at = static_cast<std::size_t>(h);
      if (static_cast<std::int64_t>(visible[h_at].size()) < candidates[h_at].rows())
        candidates[h_at] = candidate_rows(candidates[h_at], visible[h_at]);
    }
    std::vector<KeptSlots> kept = stages_.eviction->keep(candidates, step);
    require(static_cast<std::int64_t>(kept.size()) == shape_.kv_heads, "a policy answers for every head");
    HeadMatrices keys, values;
    std::vector<std::vector<TokenIndex::Positions>> classes;
    std::vector<std::vector<float>> log_weights;
    bool weighted = false;
    for (std::int64_t h = 0; h < shape_.kv_heads; ++h) {
      const auto at = static_cast<std::size_t>(h);
      KeptSlots& slots = kept[at];
      if (state.sums.active()) {
        std::vector<std::int32_t> slot_of(static_cast<std::size_t>(held(state, h) + rows.count), -1);
        for (std::size_t i = 0; i < visible[at].size(); ++i)
          slot_of[static_cast<std::size_t>(visible[at][i])] = slots.slot_of[i];
        state.sums.regroup(h, slot_of, static_cast<std::int64_t>(slots.positions.size()));
        state.sums.set_reach(h, reach_of(candidates[at], slots));
      }
      keys.push_back(std::move(slots.keys));
      values.push_back(std::move(slots.values));
      weighted = weighted || !slots.log_weights.empty();
      log_weights.push_back(std::move(slots.log_weights));
      classes.push_back({std::move(slots.positions)});
    }
    if (weighted) {
      for (std::size_t h = 0; h < log_weights.size(); ++h) log_weights[h].resize(classes[h].front().size());
    } else {
      log_weights.clear();
    }
    TokenIndex index = TokenIndex::listed(0, end, classes);
    auto block = make_block(std::move(index), keys, values, {}, rows.prompt, std::move(log_weights));
    state.blocks.assign(1, {std::move(block), end});
  }

  static std::int64_t held(const KvLayerState& state, std::int64_t head) {
    std::int64_t rows = 0;
    for (const BlockRef& ref : state.blocks) rows += ref.block->rows(head);
    return rows;
  }

  // Candidates that a later query may still see: all of them where the layer has no sliding window.
  static std::vector<std::int64_t> still_visible(const KvSlots& candidates, const EvictionStep& step) {
    std::vector<std::int64_t> rows;
    for (std::int64_t r = 0; r < candidates.rows(); ++r) {
      if (step.window == 0 || candidates.positions[static_cast<std::size_t>(r)] > step.seen - step.window)
        rows.push_back(r);
    }
    return rows;
  }

  // Each kept row reaches back to the earliest token that it stands for.
  static std::vector<std::int32_t> reach_of(const KvSlots& candidates, const KeptSlots& slots) {
    std::vector<std::int32_t> reach(slots.positions.size());
    for (std::size_t i = 0; i < slots.slot_of.size(); ++i) {
      if (slots.slot_of[i] < 0) continue;
      const auto slot = static_cast<std::size_t>(slots.slot_of[i]);
      reach[slot] = std::max(reach[slot], slots.positions[slot] - candidates.first[i]);
    }
    return reach;
  }

  KvSlots candidates_of(const ExactRows& rows, const KvLayerState& state, std::int64_t head,
                        bool of_prompt) const {
    const auto h = static_cast<std::size_t>(head);
    const std::int64_t old = held(state, head), d = shape_.head_dim;
    KvSlots slots;
    slots.keys = HeadMatrix(old + rows.count, d);
    slots.values = HeadMatrix(old + rows.count, d);
    std::int64_t at = 0;
    for (const BlockRef& ref : state.blocks) {
      const KvBlock& block = *ref.block;
      const std::int64_t count = block.rows(head);
      block.read(head, 0, count, slots.keys.row(at), slots.values.row(at));
      const TokenIndex::Positions positions = block.index().positions(head);
      slots.positions.insert(slots.positions.end(), positions.begin(), positions.end());
      const std::span<const float> weights = block.log_weights(head);
      if (!weights.empty()) {
        slots.log_weights.resize(static_cast<std::size_t>(old + rows.count));
        std::copy(weights.begin(), weights.end(), slots.log_weights.begin() + at);
      }
      at += count;
    }
    std::copy(rows.keys[h].values.begin(), rows.keys[h].values.end(), slots.keys.values.begin() + old * d);
    std::copy(rows.values[h].values.begin(), rows.values[h].values.end(),
              slots.values.values.begin() + old * d);
    for (std::int64_t r = 0; r < rows.count; ++r)
      slots.positions.push_back(static_cast<std::int32_t>(rows.first_position + r));
    slots.first = slots.positions;
    const auto count = static_cast<std::size_t>(old + rows.count);
    const AttentionSumsForm form = stages_.eviction->sums();
    if (of_prompt) {
      // Sums of a prompt before they are rounded for keeping.
      if (form.total) slots.total = rows.scores->column_sums()[h];
      if (form.recent > 0) slots.recent = std::move(rows.scores->last_rows(form.recent)[h]);
    } else if (state.sums.active()) {
      slots.total = state.sums.total(head);
      slots.recent = state.sums.recent_sum(head);
      const std::vector<std::int32_t>& reach = state.sums.reach(head);
      for (std::size_t i = 0; i < std::min(reach.size(), count); ++i)
        slots.first[i] = std::max(0, slots.first[i] - reach[i]);
    }
    if (form.total) slots.total.resize(count);
    if (form.recent > 0) slots.recent.resize(count);
    return slots;
  }

  KvShape shape_;
  std::int64_t layer_;
  KvStages stages_;
};

}  // namespace

std::shared_ptr<const KvCodec> make_stage_codec(const KvShape& shape, std::int64_t layer, KvStages stages) {
  if (stages.split != nullptr && stages.eviction != nullptr) {
    fail(ErrorKind::usage, "two stages decide about tokens", stages.canonical,
         "keep one that drops or merges them, or one that gives them different bits");
  }
  if (stages.eviction != nullptr && stages.features != nullptr) {
    fail(ErrorKind::usage, "tokens cannot be merged again once their features are projected",
         stages.canonical, "use one of the two stages");
  }
  require(
      stages.split == nullptr || !stages.split->needs().sums.any() || stages.split->needs().sums.window_only,
      "a split asks for sums over the window");
  if (stages.split != nullptr && stages.split->rewrites() && stages.features != nullptr) {
    fail(ErrorKind::usage, "features of blocks that are there already cannot be encoded anew",
         stages.canonical, "use fidelity=corrected, which leaves blocks as they are");
  }
  if (stages.eviction != nullptr) {
    stages.window.granule = 1;  // what is kept of a prompt fills no whole granules anyway
    stages.eviction->set_window(stages.window);
  }
  if (stages.eviction != nullptr && stages.bits != nullptr) {
    if (stages.eviction->rewrites() && !stages.bits->rows_stand_alone()) {
      fail(ErrorKind::usage,
           fmt::format(
               "slots are stored anew whenever tokens leave the window, and the error of {} would grow "
               "each time: its grids depend on which rows lie side by side",
               stages.bits->canonical()),
           stages.canonical,
           "write later=kept so that only the prompt is cut down, or take f16 or per-token grids");
    }
    if (stages.eviction->uneven() && stages.bits->even_parts()) {
      fail(ErrorKind::usage,
           fmt::format("{} needs as many rows in one head as in the other", stages.bits->canonical()),
           stages.canonical, "give all heads the same number of slots");
    }
  }
  return std::make_shared<StageCodec>(shape, layer, std::move(stages));
}

}  // namespace laconic
