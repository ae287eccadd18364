#include "runtime/calibration/hidden_states.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>

namespace laconic {
namespace {

// A mapping of an unnamed file with its blocks reserved, or null where the system gives none (a full disk,
// say).
float* map_temporary_file(std::size_t bytes) {
  std::error_code error;
  std::string name = (std::filesystem::temp_directory_path(error) / "laconic-hidden-XXXXXX").string();
  if (error) return nullptr;
  const int descriptor = mkstemp(name.data());
  if (descriptor < 0) return nullptr;
  unlink(name.c_str());
  void* memory = MAP_FAILED;
  if (posix_fallocate(descriptor, 0, static_cast<off_t>(bytes)) == 0) {
    memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  }
  close(descriptor);
  return memory == MAP_FAILED ? nullptr : static_cast<float*>(memory);
}

}  // namespace

HiddenStates::HiddenStates(const std::vector<std::size_t>& sizes, std::size_t memory_limit) : begin_(1, 0) {
  for (const std::size_t size : sizes) begin_.push_back(begin_.back() + size);
  const std::size_t bytes = begin_.back() * sizeof(float);
  if (bytes > memory_limit) {
    data_ = map_temporary_file(bytes);
    if (data_ != nullptr) mapped_ = bytes;
  }
  if (data_ == nullptr) {
    memory_.resize(begin_.back());
    data_ = memory_.data();
  }
}

HiddenStates HiddenStates::copy() const {
  std::vector<std::size_t> sizes(size());
  for (std::size_t i = 0; i < sizes.size(); ++i) sizes[i] = begin_[i + 1] - begin_[i];
  HiddenStates result(sizes, mapped_ != 0 ? 0 : begin_.back() * sizeof(float));
  std::copy_n(data_, begin_.back(), result.data_);
  return result;
}

void HiddenStates::release() noexcept {
  if (mapped_ != 0) munmap(data_, mapped_);
  mapped_ = 0;
}

HiddenStates::~HiddenStates() { release(); }

HiddenStates::HiddenStates(HiddenStates&& other) noexcept
    : begin_(std::exchange(other.begin_, std::vector<std::size_t>(1, 0))),
      memory_(std::move(other.memory_)),
      data_(std::exchange(other.data_, nullptr)),
      mapped_(std::exchange(other.mapped_, 0)) {}

HiddenStates& HiddenStates::operator=(HiddenStates&& other) noexcept {
  if (this != &other) {
    release();
    begin_ = std::exchange(other.begin_, std::vector<std::size_t>(1, 0));
    memory_ = std::move(other.memory_);
    data_ = std::exchange(other.data_, nullptr);
    mapped_ = std::exchange(other.mapped_, 0);
  }
  return *this;
}

}  // namespace laconic
