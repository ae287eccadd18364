#include "engine/coding/symbol_mixing.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <vector>

#include "engine/base/error.h"
#include "engine/coding/adaptive_models.h"
#include "engine/coding/mixing_logistic.h"
#include "engine/coding/range_coder.h"

namespace laconic {
namespace symbol_mixing {

// What a context's answer counts for, in halves: nothing as long as it saw nothing, more when it saw one bit,
// which is a sharper answer than its probability says.
constexpr auto trust = [] {
  std::array<std::int32_t, SettlingBit::most_seen + 1> halves{};
  halves.fill(2);
  halves[0] = 0;
  halves[1] = 3;
  return halves;
}();

// The three bits of a symbol that follow one another in a history: half a line of the cache.
struct alignas(32) ContextSlot {
  std::array<SettlingBit, 8> bits;  // by 1, then the bits so far
};
constexpr std::uint32_t slot_bits = 3;

class SymbolModel {
 public:
  SymbolModel(const SymbolTree& tree, std::size_t count)
      : tree_(tree), left_(tree.shares().begin(), tree.shares().end()) {
    const std::size_t places = count * ((tree.longest() + slot_bits - 1) / slot_bits);
    slots_.resize(std::bit_ceil(std::clamp<std::size_t>(2 * places, 512, most_slots)));
    for (auto& set : weights_) set.fill(1 << 14);
  }

  // Codes one symbol by coder(probability of a one in 65536ths, depth in the tree) -> the answer there. A
  // leaf, or `none` where the answers lead to no symbol.
  template <class Coder>
  std::uint32_t code(const Coder& coder) {
    const std::uint32_t leaf = left_.empty() ? code_symbol<false>(coder) : code_symbol<true>(coder);
    if (leaf != SymbolTree::none)
      kinds_ = kinds_ << 1 | (tree_.is_second_kind(leaf & ~SymbolTree::leaf_bit) ? 1 : 0);
    return leaf;
  }
  // The number that the last symbol stood for, new or not.
  void remember(std::uint32_t number) { last_ = {number, last_[0], last_[1]}; }

 private:
  static constexpr std::size_t contexts = 6, most_slots = std::size_t{1} << 14;
  template <bool counted>
  static constexpr std::size_t used = counted ? contexts : contexts - 1;
  static constexpr std::uint32_t recent_kinds = 15;  // of the last four symbols

  static std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
    hash = (hash + value + 1) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 31;
  }

  template <bool counted, class Coder>
  std::uint32_t code_symbol(const Coder& coder) {
    const std::array<std::uint64_t, contexts> histories{1,
                                                        mix(2, last_[0]),
                                                        mix(mix(3, last_[0]), last_[1]),
                                                        mix(mix(mix(4, last_[0]), last_[1]), last_[2]),
                                                        mix(5, last_[1]),
                                                        mix(6, kinds_ & recent_kinds)};
    std::uint32_t node = 0, inside = 1;
    std::array<ContextSlot*, contexts> slots{};
    for (std::uint32_t depth = 0;; ++depth) {
      if (depth % slot_bits == 0) {
        inside = 1;
        for (std::size_t c = 0; c < used<counted>; ++c)
          slots[c] = &slots_[mix(histories[c], node) >> 20 & (slots_.size() - 1)];
      }
      bool one;
      if (counted && (left_[node].no == 0 || left_[node].yes == 0)) {
        one = left_[node].yes != 0;
        if (!one && left_[node].no == 0) return SymbolTree::none;  // more symbols than were counted
      } else {
        std::array<SettlingBit*, contexts> cells;
        for (std::size_t c = 0; c < used<counted>; ++c) cells[c] = &slots[c]->bits[inside];
        one = code_bit<counted>(cells, node, depth, coder);
      }
      if (counted) --(one ? left_[node].yes : left_[node].no);
      inside = inside << 1 | (one ? 1 : 0);
      node = tree_.next(node, one);
      if ((node & SymbolTree::leaf_bit) != 0) return node;
    }
  }

  // The logit of a yes as far as counts tell it.
  std::int32_t expected(SymbolTree::Shares left) const {
    const std::uint64_t yes = (std::uint64_t{left.yes} << 16) / (std::uint64_t{left.yes} + left.no);
    return logistic_.stretch(static_cast<std::uint32_t>(std::clamp<std::uint64_t>(yes, 1, 65535)));
  }

  template <bool counted, class Coder>
  bool code_bit(const std::array<SettlingBit*, contexts>& cells, std::uint32_t node, std::uint32_t depth,
                const Coder& coder) {
    // Weights are chosen by how long a history has been seen before.
    constexpr std::size_t first = counted ? 1 : 0, last = used<counted>;
    std::size_t known = first;
    std::array<std::int32_t, contexts> inputs;
    if (counted) inputs[0] = expected(left_[node]);
    for (std::size_t c = first; c < last; ++c) {
      const SettlingBit& cell = *cells[c];
      // Without branches, which nobody could predict here.
      const std::size_t is_known = cell.seen != 0 && c < 4 ? 1 : 0;
      known += is_known * (c + 1 - known);
      inputs[c] = logistic_.stretch(cell.ones) * trust[cell.seen] / 2;
    }
    auto& weights = weights_[known];
    std::int64_t sum = 0;
    for (std::size_t c = 0; c < last; ++c) sum += std::int64_t{weights[c]} * inputs[c];
    const auto logit = static_cast<int>(std::clamp<std::int64_t>(sum >> 16, -logit_limit, logit_limit));
    const auto ones = static_cast<std::uint32_t>(std::clamp(logistic_.squash(logit), 24, 65512));
    const bool one = coder(ones, depth);
    const std::int32_t error = (one ? 65535 : 0) - static_cast<std::int32_t>(ones);
    for (std::size_t c = 0; c < last; ++c)
      weights[c] += static_cast<std::int32_t>((std::int64_t{inputs[c]} * error) >> 15);
    for (std::size_t c = first; c < last; ++c) cells[c]->learn(one);
    return one;
  }

  const SymbolTree& tree_;
  std::vector<SymbolTree::Shares> left_;  // of the counts, where there are any
  const LogisticTables& logistic_ = LogisticTables::shared();
  std::vector<ContextSlot> slots_;
  std::array<std::array<std::int32_t, contexts>, 5> weights_{};
  std::array<std::uint32_t, 3> last_{};
  std::uint32_t kinds_ = 0;  // of the symbols so far, the last one lowest
};

}  // namespace symbol_mixing

using symbol_mixing::SymbolModel;

struct SymbolMixingEncoder::State {
  State(const SymbolTree& symbols, std::size_t count) : tree(symbols), model(symbols, count) {}
  const SymbolTree& tree;
  SymbolModel model;
  RangeEncoder encoder;
};

SymbolMixingEncoder::SymbolMixingEncoder(const SymbolTree& tree, std::size_t count)
    : state_(std::make_unique<State>(tree, count)) {}
SymbolMixingEncoder::~SymbolMixingEncoder() = default;

void SymbolMixingEncoder::put(std::uint32_t symbol, std::uint32_t number) {
  const SymbolTree::Path path = state_->tree.path_to(symbol);
  require(path.length > 0, "a symbol that the tree has");
  const std::uint32_t leaf = state_->model.code([&](std::uint32_t ones, std::uint32_t depth) {
    const bool one = depth < path.length && (path.bits >> (path.length - 1 - depth) & 1) != 0;
    state_->encoder.put_bit(one, ones);
    return one;
  });
  require(leaf == (SymbolTree::leaf_bit | symbol), "symbols are as many as a tree was made for");
  state_->model.remember(number);
}

Bytes SymbolMixingEncoder::take() { return state_->encoder.take(); }

struct SymbolMixingDecoder::State {
  State(const SymbolTree& tree, std::size_t count, ByteSpan coded, std::string_view place)
      : where(place), model(tree, count), decoder(coded, where) {}
  std::string where;
  SymbolModel model;
  RangeDecoder decoder;
};

SymbolMixingDecoder::SymbolMixingDecoder(const SymbolTree& tree, std::size_t count, ByteSpan coded,
                                         std::string_view where)
    : state_(std::make_unique<State>(tree, count, coded, where)) {}
SymbolMixingDecoder::~SymbolMixingDecoder() = default;

std::uint32_t SymbolMixingDecoder::take() {
  const std::uint32_t leaf =
      state_->model.code([&](std::uint32_t ones, std::uint32_t) { return state_->decoder.take_bit(ones); });
  if (leaf == SymbolTree::none) fail(ErrorKind::corrupt, "answers that lead to no symbol", state_->where);
  return leaf & ~SymbolTree::leaf_bit;
}

void SymbolMixingDecoder::stands_for(std::uint32_t number) { state_->model.remember(number); }
void SymbolMixingDecoder::expect_end() const { state_->decoder.expect_end(); }

}  // namespace laconic
