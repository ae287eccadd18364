// A step's exchange beside the backward pass: buckets leave as soon as their gradients are final, while the
// ones before them in the model are still being computed.
//
//   overlapped.begin(own, agreed);           per step
//   overlapped.ready(tensor);                from the backward pass, each tensor once, in any order
//   const bool accepted = overlapped.end();  waits, settles; the same answer on every rank
//
// end() is finish() and settle() in one; between the two a run may ask whether the step counts at all.
//
// Buckets are submitted in the order of GradientExchange::buckets() whatever order tensors get ready in, so
// that all ranks exchange the same thing.
#pragma once

#include <cstdint>
#include <exception>
#include <span>
#include <vector>

#include "engine/exchange/gradient_exchange.h"
#include "engine/transport/communication_thread.h"

namespace laconic {

class OverlappedExchange {
 public:
  // Borrows both. The exchange belongs to the thread's side until end() has returned.
  OverlappedExchange(GradientExchange& exchange, CommunicationThread& thread);
  // Waits for what was submitted in a step that never ended.
  ~OverlappedExchange();
  OverlappedExchange(const OverlappedExchange&) = delete;
  OverlappedExchange& operator=(const OverlappedExchange&) = delete;

  // `own` and `agreed` stay as they are until end() has returned, but for the tensors not yet ready.
  void begin(std::uint64_t step, std::span<const float> own, std::span<float> agreed);
  void ready(std::size_t tensor);
  // Waits for all exchanges. Tensors that were never ready count as ready now. Throws what an exchange threw;
  // the step can then only be settled as not accepted.
  bool finish();
  void settle(bool accepted);
  bool end();

  // Seconds finish() has waited since it was made: exposed communication.
  double waited_seconds() const { return waited_; }

 private:
  void submit_full_buckets();
  std::exception_ptr wait_for_all();

  GradientExchange& exchange_;
  CommunicationThread& thread_;
  std::uint64_t step_ = 0;
  std::span<const float> own_;
  std::span<float> agreed_;
  std::vector<std::size_t> bucket_of_;  // by tensor
  std::vector<std::size_t> missing_;    // tensors not yet ready, by bucket
  std::vector<char> is_ready_;          // by tensor
  std::vector<char> accepted_;          // by bucket, written by the thread
  std::size_t next_ = 0;                // first bucket not submitted
  std::vector<CommunicationThread::Handle> handles_;
  double waited_ = 0;
};

}  // namespace laconic
