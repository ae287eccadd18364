#include "methods/text/logzip/joined_columns.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>
#include <optional>
#include <unordered_map>

#include "engine/base/hash.h"

namespace laconic::logzip {
namespace {

// A joined slot costs its reference and order that the byte coder might have used.
constexpr double join_bits = 24;
// Another column costs its description, and what its first values teach coders anew.
constexpr double column_bits = 24;
constexpr std::size_t least_values = 4, most_sharers = 24;
// Values that may be merged on trial in one block; beyond, columns stay as they are.
constexpr std::size_t most_merged_values = 4'000'000;

std::optional<std::int64_t> plain_number(std::string_view text) {
  if (text.empty() || text.size() > 18 || (text[0] == '0' && text.size() > 1)) return std::nullopt;
  std::int64_t number = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + (c - '0');
  }
  return number;
}

double text_bits(std::string_view text) {
  double bits = 4;
  for (const char c : text) bits += c >= '0' && c <= '9' ? 3.4 : 4.6;
  return bits;
}

// log2 of whole numbers, which costs are made of: equal on every machine, in 1/256 of a bit.
double log2_of(std::size_t n) {
  const auto value = static_cast<std::uint64_t>(n);
  int whole = 0;
  while ((value >> whole) > 1) ++whole;
  const std::uint64_t mantissa = whole <= 8 ? value << (8 - whole) : value >> (whole - 8);
  return whole + static_cast<double>(mantissa - 256) / 256.0;  // linear between powers of two
}

struct Value {
  std::uint64_t hash;
  std::uint32_t place;
  std::string_view text;
  std::optional<std::int64_t> number;
};

// Bits of a sequence in an adaptive code of three events: the last value again, one seen before by its
// distance, a new one by its text; or in differences, where all are numbers.
double sequence_bits(std::span<const Value> values) {
  enum Event : std::size_t { again, seen_before, fresh };
  std::array<std::array<std::size_t, 3>, 3> counts;
  for (auto& row : counts) row.fill(1);
  std::unordered_map<std::uint64_t, std::size_t> last;
  double bits = 0, difference_bits = 0;
  bool numbers = true;
  std::size_t context = fresh;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Value& value = values[i];
    const auto [known, is_new] = last.try_emplace(value.hash, i);
    const std::size_t event = is_new ? fresh : known->second + 1 == i ? again : seen_before;
    auto& row = counts[context];
    bits += log2_of(16 * (row[0] + row[1] + row[2])) - log2_of(16 * row[event]);
    if (event == seen_before) bits += std::min(log2_of(last.size()) + 0.5, log2_of(i - known->second) + 1.5);
    if (event == fresh) bits += text_bits(value.text);
    ++row[event];
    context = event;
    known->second = i;
    numbers = numbers && value.number;
    if (numbers && i > 0) {
      const std::int64_t difference = *value.number - *values[i - 1].number;
      difference_bits += 2 + 1.2 * log2_of(static_cast<std::size_t>(std::abs(difference)) + 1);
    }
  }
  return numbers ? std::min(bits, difference_bits + 16) : bits;
}

class SlotJoiner {
 public:
  explicit SlotJoiner(std::span<const SlotSample> slots) : slots_(slots) {}

  std::vector<std::uint32_t> join() {
    first_.resize(slots_.size());
    std::iota(first_.begin(), first_.end(), 0);
    repeated_ = first_;
    values_.resize(slots_.size());
    bits_.resize(slots_.size());
    for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) read(slot);
    join_paths();
    for (const Pair& pair : candidates()) try_join(root(pair.a), root(pair.b), -join_bits);
    join_repeated();
    for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) first_[slot] = root(slot);
    return first_;
  }

 private:
  struct Pair {
    std::uint32_t common, a, b;
  };

  void read(std::uint32_t slot) {
    const SlotSample& sample = slots_[slot];
    if (sample.path == 0 && (sample.values.size() < least_values || constant(slot))) return;
    if (sample.values.size() >= least_values) repeated_[slot] = equal_earlier_slot(slot);
    if (repeated_[slot] != slot) return;
    for (std::size_t i = 0; i < sample.values.size(); ++i)
      values_[slot].push_back(
          {xxh3_64(sample.values[i]), sample.places[i], sample.values[i], plain_number(sample.values[i])});
    bits_[slot] = sequence_bits(values_[slot]);
  }
  bool constant(std::uint32_t slot) const {
    const auto& values = slots_[slot].values;
    return std::ranges::all_of(values, [&](std::string_view value) { return value == values.front(); });
  }
  // Equal columns of one template are cheap as they are; itself where there is none. Columns are found by a
  // hash of their values: one that equals by chance is left unjoined.
  std::uint32_t equal_earlier_slot(std::uint32_t slot) {
    std::uint64_t hash = slots_[slot].group;
    for (const std::string_view value : slots_[slot].values)
      hash = (hash ^ xxh3_64(value)) * 0x9E3779B97F4A7C15u + value.size();
    return by_values_.try_emplace(hash, slot).first->second;
  }

  // Pairs of slots with values in common, most in common first.
  std::vector<Pair> candidates() const {
    std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> holders;
    std::vector<std::uint64_t> order;
    std::vector<std::uint32_t> distinct(slots_.size());
    for (std::uint32_t slot = 0; slot < slots_.size(); ++slot)
      for (const Value& value : values_[slot]) {
        std::vector<std::uint32_t>& held = holders[value.hash];
        if (held.empty()) order.push_back(value.hash);
        if (!held.empty() && held.back() == slot) continue;
        ++distinct[slot];
        if (held.size() < most_sharers) held.push_back(slot);
      }
    std::unordered_map<std::uint64_t, std::uint32_t> common;
    for (const std::uint64_t hash : order) {
      const std::vector<std::uint32_t>& held = holders[hash];
      for (std::size_t i = 0; i < held.size(); ++i)
        for (std::size_t j = i + 1; j < held.size(); ++j) ++common[std::uint64_t{held[i]} << 32 | held[j]];
    }
    std::vector<Pair> pairs;
    for (const auto& [key, count] : common) {
      const auto a = static_cast<std::uint32_t>(key >> 32), b = static_cast<std::uint32_t>(key);
      if (count >= 2 && count * 4 >= std::min(distinct[a], distinct[b])) pairs.push_back({count, a, b});
    }
    std::ranges::sort(pairs, [](const Pair& x, const Pair& y) {
      return x.common != y.common ? x.common > y.common : x.a != y.a ? x.a < y.a : x.b < y.b;
    });
    if (pairs.size() > 4 * slots_.size()) pairs.resize(4 * slots_.size());
    return pairs;
  }

  // The slots of every path, in the order of their paths' first ones, then all made ready for candidates().
  void join_paths() {
    std::unordered_map<std::uint64_t, std::size_t> numbers;
    std::vector<std::vector<std::uint32_t>> members;
    for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot].path == 0 || repeated_[slot] != slot) continue;
      const std::size_t number = numbers.try_emplace(slots_[slot].path, members.size()).first->second;
      if (number == members.size()) members.emplace_back();
      members[number].push_back(slot);
    }
    for (std::vector<std::uint32_t>& slots : members) join_path(slots);
    for (std::uint32_t slot = 0; slot < slots_.size(); ++slot) {
      std::vector<Value>& values = values_[slot];
      const auto same = [&](const Value& value) { return value.hash == values.front().hash; };
      if (values.size() < least_values || std::ranges::all_of(values, same)) values.clear();
    }
  }

  // A field that says again what an earlier one said goes with it into the column that took it away.
  void join_repeated() {
    std::vector<bool> shared(slots_.size());
    for (std::uint32_t slot = 0; slot < slots_.size(); ++slot)
      if (root(slot) != slot) shared[root(slot)] = true;
    for (std::uint32_t slot = 0; slot < slots_.size(); ++slot)
      if (slots_[slot].path != 0 && repeated_[slot] != slot && shared[root(repeated_[slot])])
        first_[slot] = root(repeated_[slot]);
  }

  // Neighbours by size pair by pair, and again what came out, so that every value is looked at few times.
  void join_path(std::vector<std::uint32_t>& slots) {
    std::ranges::stable_sort(slots, std::greater{}, [&](std::uint32_t slot) { return values_[slot].size(); });
    std::vector<std::uint32_t> left = slots;
    while (!left.empty() && values_[left.back()].empty()) left.pop_back();
    const std::size_t sampled = left.size();
    for (bool joined = true; joined && left.size() > 1;) {
      joined = false;
      std::vector<std::uint32_t> next;
      for (std::size_t i = 0; i < left.size(); ++i) {
        next.push_back(left[i]);
        if (i + 1 == left.size() || !try_join(left[i], left[i + 1], column_bits)) continue;
        next.back() = std::min(left[i], left[i + 1]);
        joined = true;
        ++i;
      }
      left = std::move(next);
    }
    for (std::size_t i = std::max<std::size_t>(sampled, 1); i < slots.size(); ++i) {
      const std::uint32_t a = root(slots[0]), b = slots[i];
      if (a <= b) {
        first_[b] = a;
      } else {
        first_[a] = b;
        values_[b] = std::move(values_[a]);
        bits_[b] = bits_[a];
      }
    }
  }

  // Whether joined values cost less than the two apart and `allowed` bits.
  bool try_join(std::uint32_t a, std::uint32_t b, double allowed) {
    if (a == b) return false;
    if (a > b) std::swap(a, b);
    merged_values_ += values_[a].size() + values_[b].size();
    if (merged_values_ > most_merged_values) return false;
    std::vector<Value> merged;
    merged.reserve(values_[a].size() + values_[b].size());
    std::ranges::merge(values_[a], values_[b], std::back_inserter(merged), {}, &Value::place, &Value::place);
    const double bits = sequence_bits(merged);
    if (bits >= bits_[a] + bits_[b] + allowed) return false;
    values_[a] = std::move(merged);
    values_[b].clear();
    bits_[a] = bits;
    first_[b] = a;
    return true;
  }

  std::uint32_t root(std::uint32_t slot) const {
    while (first_[slot] != slot) slot = first_[slot];
    return slot;
  }

  std::span<const SlotSample> slots_;
  std::vector<std::uint32_t> first_;
  std::vector<std::uint32_t> repeated_;     // the earlier slot with equal values, or itself
  std::vector<std::vector<Value>> values_;  // of the column of a root
  std::vector<double> bits_;
  std::unordered_map<std::uint64_t, std::uint32_t> by_values_;
  std::size_t merged_values_ = 0;
};

}  // namespace

std::vector<std::uint32_t> join_slots(std::span<const SlotSample> slots) { return SlotJoiner(slots).join(); }

}  // namespace laconic::logzip
