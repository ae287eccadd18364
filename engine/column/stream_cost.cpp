#include "engine/column/stream_cost.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <span>

namespace laconic {
namespace {

constexpr std::uint32_t count_weight = 16;  // of one seen literal
constexpr std::uint32_t start_weight = 24 * count_weight;
constexpr std::uint64_t bit = 256;
constexpr std::uint64_t near_match_cost = 9 * bit;  // at the distance of the last match
constexpr std::uint64_t match_cost = 11 * bit;      // and half of the bits of its distance
constexpr std::size_t shortest_match = 4;
constexpr int largest_table_bits = 12;
constexpr std::uint64_t learned_limit = 1 << 16;

// log2 in 1/256 bits.
constexpr int log_table_bits = 10;
const auto log_table = [] {
  std::array<std::uint16_t, std::size_t{1} << log_table_bits> table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    table[i] =
        static_cast<std::uint16_t>(std::lround(256 * std::log2(1.0 + static_cast<double>(i) / table.size())));
  }
  return table;
}();

std::uint32_t log2_256(std::uint32_t value) {
  const int width = std::bit_width(value) - 1;
  const std::uint32_t mantissa =
      width >= log_table_bits ? value >> (width - log_table_bits) : value << (log_table_bits - width);
  return static_cast<std::uint32_t>(width) * 256 + log_table[mantissa & ((1U << log_table_bits) - 1)];
}

std::uint32_t start_count(ColumnStreamKind kind, std::size_t byte) {
  const bool texts = kind == ColumnStreamKind::text || kind == ColumnStreamKind::dictionary;
  if (!texts) return static_cast<std::uint32_t>(1 + 256 / (byte + 4));
  const bool digit = byte >= '0' && byte <= '9';
  const bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
  return digit || byte == '\n' ? 40 : letter ? 10 : 1;
}

std::uint32_t four_bytes(const std::byte* at) {
  std::uint32_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// Places of four bytes, by hash: the latest wins.
class MatchTable {
 public:
  explicit MatchTable(std::size_t bytes)
      : bits_(std::min<int>(largest_table_bits, static_cast<int>(std::bit_width(bytes)))) {
    std::fill_n(places_.begin(), std::size_t{1} << bits_, 0U);
  }
  // The place noted before for the same hash, plus one; 0 when there is none.
  std::uint32_t exchange(std::uint32_t key, std::size_t place) {
    std::uint32_t& slot = places_[(key * 2654435761U) >> (32 - bits_)];
    const std::uint32_t before = slot;
    slot = static_cast<std::uint32_t>(place) + 1;
    return before;
  }

 private:
  std::array<std::uint32_t, std::size_t{1} << largest_table_bits> places_;
  int bits_;
};

std::size_t match_length(ByteSpan bytes, std::size_t at, std::size_t from) {
  std::size_t length = shortest_match;
  while (at + length < bytes.size() && bytes[at + length] == bytes[from + length]) ++length;
  return length;
}

}  // namespace

void StreamCosts::Histogram::refresh() {
  weight_total = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    weights[i] = static_cast<std::uint16_t>(1 + counts[i] * std::uint64_t{start_weight} /
                                                    std::max<std::uint64_t>(total, 1));
    weight_total += weights[i];
  }
}

StreamCosts::StreamCosts() {
  for (std::size_t kind = 0; kind < column_stream_kinds; ++kind) {
    Histogram& histogram = histograms_[kind];
    for (std::size_t i = 0; i < 256; ++i) {
      histogram.counts[i] = start_count(static_cast<ColumnStreamKind>(kind), i);
      histogram.total += histogram.counts[i];
    }
    histogram.refresh();
  }
}

std::uint64_t StreamCosts::stream_cost(const Histogram& histogram, ByteSpan bytes) const {
  std::array<std::uint32_t, 256> weights;
  std::copy(histogram.weights.begin(), histogram.weights.end(), weights.begin());
  std::uint32_t total = histogram.weight_total;
  MatchTable table(bytes.size());
  std::uint64_t cost = 0;
  std::size_t last_distance = 0;
  for (std::size_t at = 0; at < bytes.size();) {
    if (at + shortest_match <= bytes.size()) {
      const std::uint32_t key = four_bytes(&bytes[at]);
      const std::uint32_t before = table.exchange(key, at);
      if (before != 0 && four_bytes(&bytes[before - 1]) == key) {
        const std::size_t distance = at - (before - 1);
        const std::size_t length = match_length(bytes, at, before - 1);
        cost += distance == last_distance ? near_match_cost
                                          : match_cost + log2_256(static_cast<std::uint32_t>(distance)) / 2;
        last_distance = distance;
        at += length;
        continue;
      }
    }
    std::uint32_t& weight = weights[static_cast<std::uint8_t>(bytes[at++])];
    cost += log2_256(total) - log2_256(weight);
    weight += count_weight;
    total += count_weight;
  }
  return cost;
}

std::uint64_t StreamCosts::cost(const ColumnParts& parts) const {
  std::uint64_t total = 0;
  for (std::size_t kind = 0; kind < column_stream_kinds; ++kind) {
    const Bytes& bytes = parts.streams[kind];
    if (bytes.empty()) continue;
    const std::uint64_t one = stream_cost(histograms_[kind], bytes);
    // Digits packed to whole bytes are often by chance, and then stored.
    total += static_cast<ColumnStreamKind>(kind) == ColumnStreamKind::fixed
                 ? std::min(one, bytes.size() * 8 * bit)
                 : one;
  }
  return total;
}

void StreamCosts::learn(const ColumnParts& parts) {
  for (std::size_t kind = 0; kind < column_stream_kinds; ++kind) {
    if (parts.streams[kind].empty()) continue;
    Histogram& histogram = histograms_[kind];
    for (const std::byte byte : parts.streams[kind]) ++histogram.counts[static_cast<std::uint8_t>(byte)];
    histogram.total += parts.streams[kind].size();
    if (histogram.total > learned_limit) {
      histogram.total = 0;
      for (std::uint32_t& count : histogram.counts) histogram.total += count /= 2;
    }
    histogram.refresh();
  }
}

}  // namespace laconic
