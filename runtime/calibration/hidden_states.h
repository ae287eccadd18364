// Hidden states of many windows. Beyond a limit they lie in an unnamed temporary file that is mapped, so that
// they are page cache and not anonymous memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace laconic {

class HiddenStates {
 public:
  // Zeros: window i has sizes[i] floats.
  explicit HiddenStates(const std::vector<std::size_t>& sizes,
                        std::size_t memory_limit = std::size_t{64} << 20);
  ~HiddenStates();
  HiddenStates(HiddenStates&&) noexcept;
  HiddenStates& operator=(HiddenStates&&) noexcept;

  HiddenStates copy() const;

  std::size_t size() const { return begin_.size() - 1; }  // windows
  std::span<const float> operator[](std::size_t window) const {
    return {data_ + begin_[window], begin_[window + 1] - begin_[window]};
  }
  std::span<float> operator[](std::size_t window) {
    return {data_ + begin_[window], begin_[window + 1] - begin_[window]};
  }
  bool in_file() const { return mapped_ != 0; }

 private:
  void release() noexcept;
  std::vector<std::size_t> begin_;  // floats before each window
  std::vector<float> memory_;
  float* data_ = nullptr;
  std::size_t mapped_ = 0;  // bytes of the mapping
};

}  // namespace laconic
