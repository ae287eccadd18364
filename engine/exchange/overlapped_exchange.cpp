#include "engine/exchange/overlapped_exchange.h"

#include <algorithm>
#include <string>

#include "engine/base/error.h"

namespace laconic {

OverlappedExchange::OverlappedExchange(GradientExchange& exchange, CommunicationThread& thread)
    : exchange_(exchange), thread_(thread), bucket_of_(exchange.tensors().size()) {
  for (std::size_t b = 0; b < exchange.buckets().size(); ++b) {
    const Bucket& bucket = exchange.buckets()[b];
    std::fill(bucket_of_.begin() + static_cast<std::ptrdiff_t>(bucket.first),
              bucket_of_.begin() + static_cast<std::ptrdiff_t>(bucket.last), b);
  }
}

OverlappedExchange::~OverlappedExchange() { wait_for_all(); }

// Every exchange is waited for, also after one has failed: they touch this object.
std::exception_ptr OverlappedExchange::wait_for_all() {
  std::exception_ptr failure;
  for (CommunicationThread::Handle& handle : handles_) {
    try {
      handle.wait();
    } catch (...) {
      if (!failure) failure = std::current_exception();
    }
  }
  handles_.clear();
  return failure;
}

void OverlappedExchange::begin(std::uint64_t step, std::span<const float> own, std::span<float> agreed) {
  require(handles_.empty(), "the step before has ended");
  require(own.size() == exchange_.size() && agreed.size() == exchange_.size(),
          "vectors have the length of the exchange");
  step_ = step;
  own_ = own;
  agreed_ = agreed;
  next_ = 0;
  is_ready_.assign(bucket_of_.size(), 0);
  missing_.clear();
  for (const Bucket& bucket : exchange_.buckets()) missing_.push_back(bucket.last - bucket.first);
  accepted_.assign(exchange_.buckets().size(), 0);
  handles_.push_back(thread_.submit(
      "begin", [this](Communicator& communicator) { exchange_.begin_step(communicator, step_); }));
}

void OverlappedExchange::ready(std::size_t tensor) {
  require(tensor < is_ready_.size() && is_ready_[tensor] == 0, "a tensor gets ready once a step");
  is_ready_[tensor] = 1;
  --missing_[bucket_of_[tensor]];
  submit_full_buckets();
}

void OverlappedExchange::submit_full_buckets() {
  for (; next_ < missing_.size() && missing_[next_] == 0; ++next_) {
    handles_.push_back(
        thread_.submit("bucket " + std::to_string(next_), [this, bucket = next_](Communicator& communicator) {
          accepted_[bucket] = exchange_.exchange(communicator, step_, bucket, own_, agreed_);
        }));
  }
}

bool OverlappedExchange::finish() {
  std::fill(missing_.begin(), missing_.end(), 0);
  submit_full_buckets();
  const double begin = steady_seconds();
  const std::exception_ptr failure = wait_for_all();
  waited_ += steady_seconds() - begin;
  if (failure) std::rethrow_exception(failure);
  return std::all_of(accepted_.begin(), accepted_.end(), [](char yes) { return yes != 0; });
}

// Exchanges that still run after a failure are waited for: they touch what is settled.
void OverlappedExchange::settle(bool accepted) {
  const bool failed = wait_for_all() != nullptr;
  require(!accepted || !failed, "a step that failed is not accepted");
  exchange_.end_step(accepted);
}

bool OverlappedExchange::end() {
  const bool accepted = finish();
  settle(accepted);
  return accepted;
}

}  // namespace laconic
