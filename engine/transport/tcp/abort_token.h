// How an operation is told from another thread that it is over.
#pragma once

#include <functional>
#include <mutex>
#include <string>

namespace laconic {

class AbortToken {
 public:
  // The first reason stays.
  void abort(const std::string& reason) {
    const std::lock_guard lock(mutex_);
    if (aborted_) return;
    aborted_ = true;
    reason_ = reason;
    if (listener_) listener_(reason_);
  }
  bool aborted() const {
    const std::lock_guard lock(mutex_);
    return aborted_;
  }
  // Called with the reason, at once if it is aborted already; one listener at a time. It calls no AbortToken.
  void listen(std::function<void(const std::string&)> listener) {
    const std::lock_guard lock(mutex_);
    listener_ = std::move(listener);
    if (aborted_ && listener_) listener_(reason_);
  }

 private:
  mutable std::mutex mutex_;
  bool aborted_ = false;
  std::string reason_;
  std::function<void(const std::string&)> listener_;
};

}  // namespace laconic
