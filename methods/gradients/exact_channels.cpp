#include "methods/gradients/exact_channels.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/math/top_k.h"

namespace laconic {
namespace {

[[noreturn]] void wrong_length(std::size_t bytes) {
  fail(ErrorKind::corrupt, fmt::format("a message of {} bytes is not one of this channel", bytes));
}

void put_number(std::byte* to, double value) { std::memcpy(to, &value, sizeof(value)); }

double finite_number(const std::byte* from) {
  double value;
  std::memcpy(&value, from, sizeof(value));
  if (!std::isfinite(value)) fail(ErrorKind::corrupt, "a message holds a number that is not finite");
  return value;
}

class ExactChannel final : public Channel {
 public:
  std::string text() const override { return "f64"; }
  void encode_into(std::span<const double> vector, const MessageKey&, Bytes& message) const override {
    const auto bytes = std::as_bytes(vector);
    message.assign(bytes.begin(), bytes.end());
  }
  void decode(ByteSpan message, std::span<double> vector) const override {
    if (message.size() != vector.size_bytes()) wrong_length(message.size());
    if (!message.empty()) std::memcpy(vector.data(), message.data(), message.size());
  }
  CodecProperties properties(std::size_t) const override {
    CodecProperties properties;
    properties.lossless = properties.positively_homogeneous = properties.unbiased = true;
    properties.delta = 1;
    properties.omega = 0;
    return properties;
  }
};

class ExactTopKChannel final : public Channel {
 public:
  explicit ExactTopKChannel(std::int64_t k) : k_(static_cast<std::size_t>(k)) {
    if (k < 1) fail(ErrorKind::usage, "top-k keeps at least one number", "k");
  }
  std::string text() const override { return fmt::format("top-{} in f64", k_); }

  void encode_into(std::span<const double> vector, const MessageKey&, Bytes& message) const override {
    thread_local TopKWork work;
    const std::span<const std::int64_t> positions = top_k(vector, static_cast<std::int64_t>(k_), work);
    const int bits = position_bits(vector.size());
    const std::size_t head = head_bytes(positions.size(), bits);
    message.resize(head + positions.size() * sizeof(double));
    std::byte* to = message.data();
    std::uint64_t held = 0;
    int count = 0;
    for (const std::int64_t position : positions) {
      held |= static_cast<std::uint64_t>(position) << count;
      for (count += bits; count >= 8; count -= 8, held >>= 8) *to++ = static_cast<std::byte>(held);
    }
    if (count > 0) *to++ = static_cast<std::byte>(held);
    for (std::size_t i = 0; i < positions.size(); ++i, to += sizeof(double))
      put_number(to, vector[static_cast<std::size_t>(positions[i])]);
  }

  void decode(ByteSpan message, std::span<double> vector) const override {
    const std::size_t k = std::min(k_, vector.size());
    const int bits = position_bits(vector.size());
    const std::size_t head = head_bytes(k, bits);
    if (message.size() != head + k * sizeof(double)) wrong_length(message.size());
    std::fill(vector.begin(), vector.end(), 0.0);
    const std::byte* from = message.data();
    const std::byte* value = message.data() + head;
    std::uint64_t held = 0;
    int count = 0;
    std::int64_t before = -1;
    for (std::size_t i = 0; i < k; ++i, value += sizeof(double)) {
      for (; count < bits; count += 8) held |= std::to_integer<std::uint64_t>(*from++) << count;
      const std::uint64_t position = held & ((std::uint64_t{1} << bits) - 1);
      held >>= bits;
      count -= bits;
      if (position >= vector.size() || static_cast<std::int64_t>(position) <= before)
        fail(ErrorKind::corrupt, "positions of a message are not ascending");
      before = static_cast<std::int64_t>(position);
      vector[position] = finite_number(value);
    }
    if (held != 0) fail(ErrorKind::corrupt, "unused bits of a message are not zero");
  }

  CodecProperties properties(std::size_t dimension) const override {
    CodecProperties properties;
    properties.positively_homogeneous = true;
    properties.delta = static_cast<double>(std::min(k_, dimension)) / static_cast<double>(dimension);
    return properties;
  }

 private:
  // ceil(log2 d): none for a single number.
  static int position_bits(std::size_t dimension) {
    return dimension < 2 ? 0 : static_cast<int>(std::bit_width(dimension - 1));
  }
  static std::size_t head_bytes(std::size_t k, int bits) {
    return (k * static_cast<std::size_t>(bits) + 7) / 8;
  }
  std::size_t k_;
};

class ExactRandKChannel final : public Channel {
 public:
  ExactRandKChannel(std::int64_t k, std::uint64_t seed)
      : k_(static_cast<std::size_t>(k)), seed_(seed), key_(RandomStream(seed, "exact rand-k", "").key()) {
    if (k < 1) fail(ErrorKind::usage, "rand-k keeps at least one number", "k");
  }
  std::string text() const override { return fmt::format("rand-{} in f64, seed {}", k_, seed_); }

  void encode_into(std::span<const double> vector, const MessageKey& key, Bytes& message) const override {
    ByteWriter head;
    head.varint(key.step);
    head.varint(key.sender);
    const std::vector<std::size_t>& positions = drawn(vector.size(), key.step, key.sender);
    message.assign(head.span().begin(), head.span().end());
    message.resize(head.size() + positions.size() * sizeof(double));
    std::byte* to = message.data() + head.size();
    for (const std::size_t position : positions) {
      put_number(to, vector[position]);
      to += sizeof(double);
    }
  }

  void decode(ByteSpan message, std::span<double> vector) const override {
    ByteReader reader(message, "message");
    const std::uint64_t step = reader.varint(), sender = reader.varint();
    if (sender > UINT16_MAX || reader.remaining() != std::min(k_, vector.size()) * sizeof(double))
      wrong_length(message.size());
    std::fill(vector.begin(), vector.end(), 0.0);
    const std::vector<std::size_t>& positions =
        drawn(vector.size(), step, static_cast<std::uint16_t>(sender));
    const double scale = static_cast<double>(vector.size()) / static_cast<double>(positions.size());
    const std::byte* from = message.data() + reader.position();
    for (const std::size_t position : positions) {
      vector[position] = scale * finite_number(from);
      from += sizeof(double);
    }
  }

  CodecProperties properties(std::size_t dimension) const override {
    CodecProperties properties;
    properties.positively_homogeneous = properties.unbiased = true;
    properties.omega = static_cast<double>(dimension) / static_cast<double>(std::min(k_, dimension)) - 1;
    return properties;
  }

 private:
  // k distinct positions, in the order in which they were drawn (Floyd's sampling).
  const std::vector<std::size_t>& drawn(std::size_t n, std::uint64_t step, std::uint16_t sender) const {
    thread_local std::vector<std::size_t> positions;
    thread_local std::vector<char> taken;
    positions.clear();
    taken.resize(std::max(taken.size(), n));
    RandomStream random(key_, step, sender);
    for (std::size_t j = n - std::min(k_, n); j < n; ++j) {
      std::size_t position = random.below(static_cast<std::uint32_t>(j) + 1);
      if (taken[position] != 0) position = j;
      taken[position] = 1;
      positions.push_back(position);
    }
    for (const std::size_t position : positions) taken[position] = 0;
    return positions;
  }

  std::size_t k_;
  std::uint64_t seed_, key_;
};

class ExactThresholdChannel final : public Channel {
 public:
  explicit ExactThresholdChannel(double threshold) : threshold_(threshold) {
    if (!(threshold > 0) || !std::isfinite(threshold))
      fail(ErrorKind::usage, "is not a positive number", "threshold");
  }
  std::string text() const override { return fmt::format("|z| > {} in f64", threshold_); }

  void encode_into(std::span<const double> vector, const MessageKey&, Bytes& message) const override {
    const std::size_t head = (vector.size() + 7) / 8;
    message.assign(head, std::byte{0});
    for (std::size_t i = 0; i < vector.size(); ++i) {
      if (!(std::abs(vector[i]) > threshold_)) continue;
      message[i / 8] |= static_cast<std::byte>(1u << (i % 8));
      message.resize(message.size() + sizeof(double));
      put_number(message.data() + message.size() - sizeof(double), vector[i]);
    }
  }

  void decode(ByteSpan message, std::span<double> vector) const override {
    const std::size_t head = (vector.size() + 7) / 8;
    if (message.size() < head) wrong_length(message.size());
    std::size_t at = head;
    for (std::size_t i = 0; i < 8 * head; ++i) {
      const bool sent = (std::to_integer<unsigned>(message[i / 8]) >> (i % 8) & 1u) != 0;
      if (i >= vector.size()) {
        if (sent) fail(ErrorKind::corrupt, "unused bits of a message are not zero");
        continue;
      }
      vector[i] = 0;
      if (!sent) continue;
      if (message.size() - at < sizeof(double)) wrong_length(message.size());
      vector[i] = finite_number(message.data() + at);
      at += sizeof(double);
    }
    if (at != message.size()) wrong_length(message.size());
  }

  CodecProperties properties(std::size_t) const override { return {}; }

 private:
  double threshold_;
};

}  // namespace

std::unique_ptr<Channel> exact_channel() { return std::make_unique<ExactChannel>(); }
std::unique_ptr<Channel> exact_top_k_channel(std::int64_t k) { return std::make_unique<ExactTopKChannel>(k); }
std::unique_ptr<Channel> exact_rand_k_channel(std::int64_t k, std::uint64_t seed) {
  return std::make_unique<ExactRandKChannel>(k, seed);
}
std::unique_ptr<Channel> exact_threshold_channel(double threshold) {
  return std::make_unique<ExactThresholdChannel>(threshold);
}

}  // namespace laconic
