#include "engine/coding/normalise.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <queue>

#include "engine/base/error.h"

namespace laconic {
namespace {

using Frequencies = std::vector<std::uint32_t>;

// `shares` are wished frequencies: real numbers whose sum is about the total.
Frequencies by_largest_remainder(const std::vector<double>& shares, std::uint32_t total) {
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  const std::size_t symbols = shares.size();
  Frequencies frequencies(symbols, 0);
  std::vector<double> remainder(symbols, -1.0);
  std::int64_t left = total;
  for (std::size_t i = 0; i < symbols; ++i) {
    if (shares[i] <= 0) continue;
    const double exact = sum == total ? shares[i] : shares[i] * (total / sum);
    frequencies[i] = std::max<std::uint32_t>(1, static_cast<std::uint32_t>(exact));
    remainder[i] = exact - frequencies[i];
    left -= frequencies[i];
  }
  if (left > 0) {
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < symbols; ++i) {
      if (frequencies[i] > 0) order.push_back(i);
    }
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return remainder[a] > remainder[b]; });
    for (std::size_t at = 0; left > 0; --left, at = (at + 1) % order.size()) ++frequencies[order[at]];
  }
  if (left < 0) {
    // Each symbol raised to 1 has made the sum larger; one count weighs least where there are most.
    using Entry = std::pair<std::uint32_t, std::size_t>;
    const auto below = [](const Entry& a, const Entry& b) {
      return a.first != b.first ? a.first < b.first : a.second > b.second;
    };
    std::priority_queue<Entry, std::vector<Entry>, decltype(below)> widest(below);
    for (std::size_t i = 0; i < symbols; ++i) {
      if (frequencies[i] > 1) widest.push({frequencies[i], i});
    }
    for (; left < 0; ++left) {
      const Entry top = widest.top();
      widest.pop();
      if (--frequencies[top.second] > 1) widest.push({top.first - 1, top.second});
    }
  }
  return frequencies;
}

Frequencies by_stealing(const std::vector<double>& shares, std::uint32_t total) {
  std::vector<std::uint64_t> rounded(shares.size());
  for (std::size_t i = 0; i < shares.size(); ++i) {
    rounded[i] = static_cast<std::uint64_t>(std::nearbyint(shares[i]));
  }
  const std::uint64_t sum = std::accumulate(rounded.begin(), rounded.end(), std::uint64_t{0});
  if (sum == 0) fail(ErrorKind::input, "probabilities are too small to be told apart");
  Frequencies frequencies(shares.size());
  std::uint64_t used = 0;
  for (std::size_t i = 0; i + 1 < shares.size(); ++i) {
    frequencies[i] = static_cast<std::uint32_t>(rounded[i] * total / sum);
    used += frequencies[i];
  }
  frequencies.back() = static_cast<std::uint32_t>(total - used);
  for (std::uint32_t& empty : frequencies) {
    if (empty > 0) continue;
    std::uint32_t* narrowest = nullptr;
    for (std::uint32_t& other : frequencies) {
      if (other > 1 && (narrowest == nullptr || other < *narrowest)) narrowest = &other;
    }
    --*narrowest;
    ++empty;
  }
  return frequencies;
}

Frequencies by_floor(const std::vector<double>& shares, std::uint32_t total) {
  Frequencies frequencies(shares.size());
  std::int64_t left = total;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    frequencies[i] = std::max<std::uint32_t>(1, static_cast<std::uint32_t>(shares[i]));
    left -= frequencies[i];
  }
  const auto largest = std::max_element(frequencies.begin(), frequencies.end());
  if (static_cast<std::int64_t>(*largest) + left < 1) {
    fail(ErrorKind::input, "the largest probability cannot pay for so many rare symbols", {},
         "use the largest_remainder policy");
  }
  *largest = static_cast<std::uint32_t>(*largest + left);
  return frequencies;
}

void require_room(std::size_t symbols, std::size_t room) {
  if (symbols > room) {
    fail(ErrorKind::input,
         std::to_string(symbols) + " symbols do not fit a total of " + std::to_string(room));
  }
}

Frequencies from_cumulative(const std::vector<std::uint32_t>& cumulative, std::uint32_t total) {
  Frequencies frequencies(cumulative.size() - 1);
  for (std::size_t i = 0; i < frequencies.size(); ++i) frequencies[i] = cumulative[i + 1] - cumulative[i];
  frequencies.back() = total - cumulative[frequencies.size() - 1];
  return frequencies;
}

Frequencies from_shares(const std::vector<double>& shares, std::uint32_t total, NormalisePolicy policy) {
  if (policy == NormalisePolicy::steal_smallest) return by_stealing(shares, total);
  if (policy == NormalisePolicy::floor_plus_largest) return by_floor(shares, total);
  return by_largest_remainder(shares, total);
}

}  // namespace

std::vector<std::uint32_t> normalise(std::span<const std::uint64_t> counts, std::uint32_t total,
                                     NormalisePolicy policy) {
  std::uint64_t sum = 0;
  std::size_t seen = 0;
  for (const std::uint64_t count : counts) {
    sum += count;
    seen += count > 0;
  }
  if (sum == 0) fail(ErrorKind::input, "no symbol was counted");
  if (policy == NormalisePolicy::spread) {
    require_room(counts.size(), total - 1);
    std::vector<std::uint32_t> cumulative(counts.size() + 1);
    std::uint64_t before = 0;
    for (std::size_t i = 0; i <= counts.size(); ++i) {
      // 128 bits: counts are as large as files.
      __extension__ using Wide128 = unsigned __int128;
      cumulative[i] = static_cast<std::uint32_t>(Wide128{total - 1 - counts.size()} * before / sum + i);
      if (i < counts.size()) before += counts[i];
    }
    return from_cumulative(cumulative, total);
  }
  require_room(policy == NormalisePolicy::largest_remainder ? seen : counts.size(), total);
  std::vector<double> shares(counts.size());
  for (std::size_t i = 0; i < shares.size(); ++i) {
    shares[i] = static_cast<double>(counts[i]) * total / static_cast<double>(sum);
  }
  return from_shares(shares, total, policy);
}

std::vector<std::uint32_t> normalise(std::span<const double> probabilities, std::uint32_t total,
                                     NormalisePolicy policy) {
  double sum = 0;
  for (const double probability : probabilities) {
    if (!(probability >= 0) || !std::isfinite(probability)) {
      fail(ErrorKind::input, "a probability is negative or not finite");
    }
    sum += probability;
  }
  if (!(sum > 0.5 && sum < 2)) fail(ErrorKind::input, "probabilities do not sum to 1");
  if (policy == NormalisePolicy::spread) {
    require_room(probabilities.size(), total - 1);
    std::vector<std::uint32_t> cumulative(probabilities.size() + 1);
    double before = 0;
    for (std::size_t i = 0; i <= probabilities.size(); ++i) {
      cumulative[i] = static_cast<std::uint32_t>(static_cast<double>(total - 1 - probabilities.size()) *
                                                 std::min(1.0, before)) +
                      static_cast<std::uint32_t>(i);
      if (i < probabilities.size()) before += probabilities[i];
    }
    return from_cumulative(cumulative, total);
  }
  require_room(probabilities.size(), total);
  std::vector<double> shares(probabilities.size());
  for (std::size_t i = 0; i < shares.size(); ++i) shares[i] = probabilities[i] * total;
  return from_shares(shares, total, policy);
}

}  // namespace laconic
