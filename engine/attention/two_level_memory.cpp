#include "engine/attention/two_level_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/base/error.h"

namespace laconic {

FastWords FastWords::part(std::int64_t offset, std::int64_t size) const {
  require(offset >= 0 && size >= 0 && size <= count - offset, "a part lies inside its buffer");
  return {values + offset, homes == nullptr ? nullptr : homes + offset, size};
}

TwoLevelMemory::TwoLevelMemory(std::int64_t words, AccessListener* listener)
    : words_(words), listener_(listener) {
  require(words >= 1, "fast memory holds a word");
}

TwoLevelMemory::SlowTensor& TwoLevelMemory::place(std::string name, std::span<float> words) {
  require(resident_ == 0, "tensors come before buffers");
  tensors_.push_back({std::move(name), words, slow_words_, {}});
  slow_words_ += static_cast<std::int64_t>(words.size());
  return tensors_.back();
}

TwoLevelMemory::Buffer::Buffer(TwoLevelMemory& memory, std::int64_t words)
    : memory_(&memory), values_(static_cast<std::size_t>(words)) {
  if (memory.listener_ != nullptr) {
    homes_.resize(values_.size());
    std::iota(homes_.begin(), homes_.end(), memory.slow_words_ + memory.resident_);
  }
  memory.resident_ += words;
  memory.peak_ = std::max(memory.peak_, memory.resident_);
}

TwoLevelMemory::Buffer::Buffer(Buffer&& other) noexcept
    : memory_(other.memory_), values_(std::move(other.values_)), homes_(std::move(other.homes_)) {
  other.memory_ = nullptr;
}

TwoLevelMemory::Buffer::~Buffer() {
  if (memory_ != nullptr) memory_->resident_ -= static_cast<std::int64_t>(values_.size());
}

FastWords TwoLevelMemory::Buffer::all() {
  return {values_.data(), homes_.empty() ? nullptr : homes_.data(),
          static_cast<std::int64_t>(values_.size())};
}

TwoLevelMemory::Buffer TwoLevelMemory::allocate(std::int64_t words) {
  require(words >= 0, "a buffer has a size");
  if (words > words_ - resident_) {
    fail(ErrorKind::usage,
         fmt::format("{} words do not fit into a fast memory of {} words that holds {}", words, words_,
                     resident_),
         "attention", "smaller tiles, or a larger memory");
  }
  return {*this, words};
}

void TwoLevelMemory::read(SlowTensor& tensor, std::int64_t offset, std::int64_t stride, FastWords to) {
  settle(to, tensor, offset, stride);
  const float* from = tensor.words.data() + offset;
  for (std::int64_t i = 0; i < to.count; ++i) to.values[i] = from[i * stride];
  tensor.traffic.reads += static_cast<std::uint64_t>(to.count);
  traffic_.reads += static_cast<std::uint64_t>(to.count);
}

void TwoLevelMemory::write(FastWords from, SlowTensor& tensor, std::int64_t offset, std::int64_t stride) {
  settle(from, tensor, offset, stride);
  float* to = tensor.words.data() + offset;
  for (std::int64_t i = 0; i < from.count; ++i) to[i * stride] = from.values[i];
  tensor.traffic.writes += static_cast<std::uint64_t>(from.count);
  traffic_.writes += static_cast<std::uint64_t>(from.count);
}

void TwoLevelMemory::settle(FastWords words, const SlowTensor& tensor, std::int64_t offset,
                            std::int64_t stride) {
  require(offset >= 0 && stride >= 1 && words.count >= 0 &&
              offset + std::max<std::int64_t>(0, words.count - 1) * stride <
                  static_cast<std::int64_t>(tensor.words.size()) + (words.count == 0),
          "moved words lie inside their tensor");
  if (words.homes == nullptr) return;
  for (std::int64_t i = 0; i < words.count; ++i) words.homes[i] = tensor.base + offset + i * stride;
}

void TwoLevelMemory::touch(FastWords words, bool write) const {
  if (words.homes == nullptr) return;
  for (std::int64_t i = 0; i < words.count; ++i) listener_->touch(words.homes[i], write);
}

float TwoLevelMemory::get(FastWords words, std::int64_t i) const {
  touch(words.part(i, 1), false);
  return words.values[i];
}

void TwoLevelMemory::set(FastWords words, std::int64_t i, float value) const {
  touch(words.part(i, 1), true);
  words.values[i] = value;
}

float TwoLevelMemory::dot(FastWords a, FastWords b) const {
  require(a.count == b.count, "a dot product is of two vectors of one size");
  touch(a, false);
  touch(b, false);
  float sums[8] = {};
  std::int64_t i = 0;
  for (; i + 8 <= a.count; i += 8) {
    for (int j = 0; j < 8; ++j) sums[j] += a.values[i + j] * b.values[i + j];
  }
  for (int j = 0; i < a.count; ++i, ++j) sums[j] += a.values[i] * b.values[i];
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

void TwoLevelMemory::scale(FastWords words, float factor) const {
  touch(words, true);
  for (std::int64_t i = 0; i < words.count; ++i) words.values[i] *= factor;
}

void TwoLevelMemory::add(FastWords to, float factor, FastWords from) const {
  require(to.count == from.count, "a sum is of two vectors of one size");
  touch(from, false);
  touch(to, true);
  for (std::int64_t i = 0; i < to.count; ++i) to.values[i] += factor * from.values[i];
}

}  // namespace laconic
