#include "methods/text/logzip/id_sequence.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <unordered_map>

#include "engine/base/error.h"
#include "engine/coding/range_coder.h"
#include "engine/coding/zstd_bytes.h"
#include "methods/text/logzip/symbol_tree.h"

namespace laconic::logzip {
namespace {

// Logistic function and its inverse between 12-bit probabilities and the domain [-2047, 2047] in 1/256.
struct LogisticTables {
  std::array<std::uint16_t, 4096> squash{};  // by domain + 2048, in 65536ths
  std::array<std::int16_t, 4096> stretch{};  // by probability in 4096ths
};

constexpr LogisticTables logistic_tables() {
  LogisticTables tables;
  // e^(-i / 256) in 2^-32, by repeated products with e^(-1 / 256).
  constexpr std::uint64_t one = std::uint64_t{1} << 32, step = 4278222805;
  std::uint64_t power = one;
  for (std::size_t i = 0; i < 2048; ++i) {
    const std::uint64_t p = (std::uint64_t{65536} << 32) / (one + power);
    tables.squash[2048 + i] = static_cast<std::uint16_t>(p > 65535 ? 65535 : p);
    tables.squash[2048 - i] = static_cast<std::uint16_t>(65536 - p);
    power = (power * step) >> 32;
  }
  tables.squash[0] = tables.squash[1];
  std::size_t domain = 0;
  for (std::size_t p = 0; p < 4096; ++p) {
    while (domain < 4095 && tables.squash[domain] < p * 16 + 8) ++domain;
    tables.stretch[p] = static_cast<std::int16_t>(static_cast<int>(domain) - 2048);
  }
  return tables;
}

constexpr LogisticTables logistic = logistic_tables();

// 2 / (2 n + 3) in 65536ths: how far a probability moves when it has seen n bits.
constexpr std::uint16_t most_seen = 60;
constexpr auto learning_rates = [] {
  std::array<std::int32_t, most_seen + 1> rates{};
  for (std::int32_t seen = 0; seen <= most_seen; ++seen)
    rates[static_cast<std::size_t>(seen)] = 131072 / (2 * seen + 3);
  return rates;
}();

// What a context's answer counts for, in halves: nothing as long as it saw nothing, more when it saw one bit,
// which is a sharper answer than its probability says.
constexpr auto trust = [] {
  std::array<std::int32_t, most_seen + 1> halves{};
  halves.fill(2);
  halves[0] = 0;
  halves[1] = 3;
  return halves;
}();

// The probability of a one in one context: the mean of what was seen, at first, later a moving one.
struct ContextBit {
  std::uint16_t ones = 32768;
  std::uint16_t seen = 0;

  void learn(bool one) {
    const std::int32_t target = one ? 65535 : 0;
    const std::int64_t step = (std::int64_t{target - ones} * learning_rates[seen]) >> 16;
    ones = static_cast<std::uint16_t>(ones + step);
    if (seen < most_seen) ++seen;
  }
};

// The three bits of a symbol that follow one another in a history: half a line of the cache.
struct alignas(32) ContextSlot {
  std::array<ContextBit, 8> bits;  // by 1, then the bits so far
};
constexpr std::uint32_t slot_bits = 3;

class SymbolModel {
 public:
  SymbolModel(const SymbolTree& tree, std::size_t count) : tree_(tree) {
    const std::size_t places = count * ((tree.longest() + slot_bits - 1) / slot_bits);
    slots_.resize(std::bit_ceil(std::clamp<std::size_t>(2 * places, 512, most_slots)));
    for (auto& set : weights_) set.fill(1 << 14);
  }

  // Codes one symbol by coder(probability of a one in 65536ths, depth in the tree) -> the answer there. A
  // leaf, or `none` where the answers lead to no symbol.
  template <class Coder>
  std::uint32_t code(const Coder& coder) {
    const std::array<std::uint64_t, contexts> histories{1, mix(2, last_[0]), mix(mix(3, last_[0]), last_[1]),
                                                        mix(mix(mix(4, last_[0]), last_[1]), last_[2]),
                                                        mix(5, last_[1])};
    std::uint32_t node = 0, inside = 1;
    std::array<ContextSlot*, contexts> slots{};
    for (std::uint32_t depth = 0;; ++depth) {
      if (depth % slot_bits == 0) {
        inside = 1;
        for (std::size_t c = 0; c < contexts; ++c)
          slots[c] = &slots_[mix(histories[c], node) >> 20 & (slots_.size() - 1)];
      }
      std::array<ContextBit*, contexts> cells;
      for (std::size_t c = 0; c < contexts; ++c) cells[c] = &slots[c]->bits[inside];
      const bool one = code_bit(cells, depth, coder);
      inside = inside << 1 | (one ? 1 : 0);
      node = tree_.next(node, one);
      if ((node & SymbolTree::leaf_bit) != 0) return node;
    }
  }
  // The number that the last symbol stood for, new or not.
  void remember(std::uint32_t number) { last_ = {number, last_[0], last_[1]}; }

 private:
  static constexpr std::size_t contexts = 5, most_slots = std::size_t{1} << 14;

  static std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
    hash = (hash + value + 1) * 0x9E3779B97F4A7C15u;
    return hash ^ hash >> 31;
  }

  template <class Coder>
  bool code_bit(const std::array<ContextBit*, contexts>& cells, std::uint32_t depth, const Coder& coder) {
    // Weights are chosen by how long a history has been seen before.
    std::size_t known = 0;
    std::array<std::int32_t, contexts> inputs;
    for (std::size_t c = 0; c < contexts; ++c) {
      const ContextBit& cell = *cells[c];
      // Without branches, which nobody could predict here.
      const std::size_t is_known = cell.seen != 0 && c < 4 ? 1 : 0;
      known += is_known * (c + 1 - known);
      inputs[c] = logistic.stretch[cell.ones >> 4] * trust[cell.seen] / 2;
    }
    auto& weights = weights_[known];
    std::int64_t sum = 0;
    for (std::size_t c = 0; c < contexts; ++c) sum += std::int64_t{weights[c]} * inputs[c];
    const auto domain = static_cast<std::int32_t>(std::clamp<std::int64_t>(sum >> 16, -2047, 2047));
    const std::uint32_t ones =
        std::clamp<std::uint32_t>(logistic.squash[static_cast<std::size_t>(domain + 2048)], 24, 65512);
    const bool one = coder(ones, depth);
    const std::int32_t error = (one ? 65535 : 0) - static_cast<std::int32_t>(ones);
    for (std::size_t c = 0; c < contexts; ++c) {
      weights[c] += static_cast<std::int32_t>((std::int64_t{inputs[c]} * error) >> 15);
      cells[c]->learn(one);
    }
    return one;
  }

  const SymbolTree& tree_;
  std::vector<ContextSlot> slots_;
  std::array<std::array<std::int32_t, contexts>, 5> weights_{};
  std::array<std::uint32_t, 3> last_{};
};

}  // namespace

namespace {

// Symbols are 0, "one not seen yet", and the numbers of those seen. Where counts are told, they say how often
// each occurs.
SymbolTree symbol_tree(std::span<const IdCount> distinct, bool told) {
  if (!told) return SymbolTree::even(static_cast<int>(std::bit_width(distinct.size())));
  std::vector<std::uint64_t> counts{distinct.size()};
  for (const IdCount& one : distinct) counts.push_back(one.lines - 1);
  return SymbolTree::by_counts(counts);
}

Bytes mixed_symbols(std::span<const std::uint32_t> numbers, std::span<const IdCount> distinct) {
  const SymbolTree tree = symbol_tree(distinct, numbers.size() >= counted_ids);
  SymbolModel model(tree, numbers.size());
  RangeEncoder encoder;
  std::uint32_t seen = 0;
  for (const std::uint32_t number : numbers) {
    const SymbolTree::Path path = tree.path_to(number > seen ? 0 : number);
    seen = std::max(seen, number);
    model.code([&](std::uint32_t ones, std::uint32_t depth) {
      const bool one = (path.bits >> (path.length - 1 - depth) & 1) != 0;
      encoder.put(one ? 0 : ones, one ? ones : 65536 - ones, 65536);
      return one;
    });
    model.remember(number);
  }
  return encoder.take();
}

std::size_t plain_width(std::size_t distinct) { return distinct <= 256 ? 1 : distinct <= 65536 ? 2 : 3; }

Bytes plain_symbols(std::span<const std::uint32_t> numbers, std::size_t distinct) {
  Bytes planes(plain_width(distinct) * numbers.size());
  for (std::size_t i = 0; i < planes.size(); ++i)
    planes[i] = static_cast<std::byte>((numbers[i % numbers.size()] - 1) >> 8 * (i / numbers.size()));
  return zstd_compress(planes, 3);
}

}  // namespace

Bytes encode_ids(std::span<const std::uint32_t> ids, IdCoding coding) {
  std::unordered_map<std::uint32_t, std::uint32_t> known;
  std::vector<std::uint32_t> numbers(ids.size());
  std::vector<IdCount> distinct;
  ByteWriter writer, firsts;
  std::int64_t previous = 0;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto [at, is_new] = known.try_emplace(ids[i], static_cast<std::uint32_t>(known.size() + 1));
    numbers[i] = at->second;
    if (is_new) {
      firsts.signed_varint(ids[i] - previous);
      previous = ids[i];
      distinct.push_back({ids[i], 0});
    }
    ++distinct[numbers[i] - 1].lines;
  }
  const bool plain = coding == IdCoding::plain;
  writer.varint(2 * known.size() + (plain ? 1 : 0));
  writer.append(firsts.span());
  if (known.size() <= 1) return writer.take();
  if (ids.size() >= counted_ids)
    for (std::size_t i = 0; i + 1 < distinct.size(); ++i) writer.varint(distinct[i].lines);
  writer.append(plain ? plain_symbols(numbers, known.size()) : mixed_symbols(numbers, distinct));
  return writer.take();
}

IdSequence::IdSequence(ByteSpan bytes, std::size_t count, std::uint32_t limit, std::string where)
    : count_(count), where_(std::move(where)) {
  ByteReader reader(bytes, where_);
  const std::uint64_t head = reader.varint(), distinct = head / 2;
  coding_ = head % 2 != 0 ? IdCoding::plain : IdCoding::mixed;
  if (distinct > std::min<std::uint64_t>(count, limit)) reader.corrupt("more template ids than there can be");
  if ((distinct == 0) != (count == 0)) reader.corrupt("no template ids for the lines of a block");
  std::int64_t previous = 0;
  for (std::uint64_t i = 0; i < distinct; ++i) {
    const std::int64_t difference = reader.signed_varint();
    if (difference < -std::int64_t{limit} || difference > limit) reader.corrupt("a template id out of range");
    previous += difference;
    if (previous < 0 || previous >= limit) reader.corrupt("a template id out of range");
    distinct_.push_back({static_cast<std::uint32_t>(previous), 0});
  }
  std::vector<std::uint32_t> sorted;
  for (const IdCount& one : distinct_) sorted.push_back(one.id);
  std::ranges::sort(sorted);
  if (std::ranges::adjacent_find(sorted) != sorted.end()) reader.corrupt("a template id is told twice");
  if (distinct <= 1) {
    reader.expect_end();
    if (distinct == 1) distinct_[0].lines = static_cast<std::uint32_t>(count);
    if (distinct == 1) ids_.assign(count, distinct_[0].id);
    counted_ = decoded_ = true;
    return;
  }
  if (count >= counted_ids) {
    std::uint64_t left = count;
    for (std::size_t i = 0; i + 1 < distinct_.size(); ++i) {
      distinct_[i].lines = static_cast<std::uint32_t>(reader.length(left));
      left -= distinct_[i].lines;
      if (distinct_[i].lines == 0) reader.corrupt("a template id without lines");
    }
    if (left == 0) reader.corrupt("a template id without lines");
    distinct_.back().lines = static_cast<std::uint32_t>(left);
    counted_ = true;
  }
  coded_ = reader.take(reader.remaining());
}

const std::vector<IdCount>& IdSequence::counts() {
  if (!counted_) ids();
  return distinct_;
}

const std::vector<std::uint32_t>& IdSequence::ids() {
  if (decoded_) return ids_;
  if (coding_ == IdCoding::plain) {
    decode_plain();
  } else {
    decode_mixed();
  }
  count_ids();
  decoded_ = true;
  return ids_;
}

void IdSequence::decode_mixed() {
  RangeDecoder decoder(coded_, where_);
  const SymbolTree tree = symbol_tree(distinct_, counted_);
  SymbolModel model(tree, count_);
  ids_.resize(count_);
  std::uint32_t seen = 0;
  for (std::uint32_t& id : ids_) {
    const std::uint32_t leaf = model.code([&](std::uint32_t ones, std::uint32_t) {
      const bool one = decoder.peek(65536) < ones;
      decoder.take(one ? 0 : ones, one ? ones : 65536 - ones, 65536);
      return one;
    });
    const std::uint32_t symbol = leaf & ~SymbolTree::leaf_bit;
    if (symbol > seen || (symbol == 0 && seen == distinct_.size()))
      fail(ErrorKind::corrupt, "a template id that was not introduced", where_);
    const std::uint32_t number = symbol == 0 ? ++seen : symbol;
    model.remember(number);
    id = number - 1;
  }
  decoder.expect_end();
}

void IdSequence::decode_plain() {
  const std::size_t width = plain_width(distinct_.size());
  Bytes planes(width * count_);
  zstd_expand(coded_, planes, where_);
  ids_.assign(count_, 0);
  for (std::size_t i = 0; i < planes.size(); ++i)
    ids_[i % count_] |= static_cast<std::uint32_t>(planes[i]) << 8 * (i / count_);
  for (const std::uint32_t number : ids_)
    if (number >= distinct_.size()) fail(ErrorKind::corrupt, "a template id that does not exist", where_);
}

// From numbers by first use to ids; what was told of their counts is checked.
void IdSequence::count_ids() {
  std::vector<std::uint32_t> lines(distinct_.size());
  for (std::uint32_t& id : ids_) {
    ++lines[id];
    id = distinct_[id].id;
  }
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (counted_ && lines[i] != distinct_[i].lines)
      fail(ErrorKind::corrupt, "another number of lines of a template than was told", where_);
    distinct_[i].lines = lines[i];
  }
  counted_ = true;
}

}  // namespace laconic::logzip
