// The memory model of I/O complexity (Hong and Kung 1981): M words of fast memory, everything else slow. An
// algorithm written against it reads words into buffers, computes on buffers alone and writes words back;
// what it moves is counted while it runs, and a buffer that does not fit throws. Numbers in registers (a sum,
// a weight) are free, as computing is.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "engine/attention/io_model.h"

namespace laconic {

// Hears every word that a computation touches, by its address: where the word lives in slow memory, or,
// beyond all tensors, a place of its own.
class AccessListener {
 public:
  virtual ~AccessListener() = default;
  virtual void touch(std::int64_t address, bool write) = 0;
};

// Words of a buffer.
struct FastWords {
  float* values = nullptr;
  std::int64_t* homes = nullptr;  // their addresses, while someone listens
  std::int64_t count = 0;
  FastWords part(std::int64_t offset, std::int64_t size) const;
};

class TwoLevelMemory {
 public:
  // `listener` may be null and must outlive the memory otherwise.
  explicit TwoLevelMemory(std::int64_t words, AccessListener* listener = nullptr);

  struct SlowTensor {
    std::string name;
    std::span<float> words;
    std::int64_t base = 0;  // address of the first word
    MovedWords traffic;
  };
  // A tensor that lies in slow memory; the reference stays valid. Tensors come before the first buffer.
  SlowTensor& place(std::string name, std::span<float> words);

  class Buffer {
   public:
    Buffer(Buffer&& other) noexcept;
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;
    Buffer& operator=(Buffer&&) = delete;
    ~Buffer();
    FastWords all();
    FastWords part(std::int64_t offset, std::int64_t size) { return all().part(offset, size); }

   private:
    friend class TwoLevelMemory;
    Buffer(TwoLevelMemory& memory, std::int64_t words);
    TwoLevelMemory* memory_;
    std::vector<float> values_;
    std::vector<std::int64_t> homes_;
  };
  // Zeros. Error(usage) when they and what is resident exceed M.
  Buffer allocate(std::int64_t words);

  // Words offset, offset + stride, ... of a tensor, as many as `to` or `from` holds.
  void read(SlowTensor& tensor, std::int64_t offset, std::int64_t stride, FastWords to);
  void write(FastWords from, SlowTensor& tensor, std::int64_t offset, std::int64_t stride);
  // The words are those of the tensor, which they will be written to: only their addresses change.
  void settle(FastWords words, const SlowTensor& tensor, std::int64_t offset, std::int64_t stride);

  // Computing, on buffers alone.
  float get(FastWords words, std::int64_t i) const;
  void set(FastWords words, std::int64_t i, float value) const;
  float dot(FastWords a, FastWords b) const;
  void scale(FastWords words, float factor) const;
  void add(FastWords to, float factor, FastWords from) const;  // to += factor from

  std::int64_t words() const { return words_; }
  std::int64_t resident() const { return resident_; }
  std::int64_t peak() const { return peak_; }
  MovedWords traffic() const { return traffic_; }
  const std::deque<SlowTensor>& tensors() const { return tensors_; }

 private:
  void touch(FastWords words, bool write) const;
  std::int64_t words_, resident_ = 0, peak_ = 0, slow_words_ = 0;
  MovedWords traffic_;
  std::deque<SlowTensor> tensors_;
  AccessListener* listener_;
};

}  // namespace laconic
