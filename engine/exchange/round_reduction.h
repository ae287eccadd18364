// One reduction a round that runs beside the next round's computation: what a worker contributes is copied
// here, the communication thread turns the contributions of all workers into one result, and nobody sees the
// result before it is complete.
//
//   reduction.contribution() <- own numbers;  reduction.launch(round);   returns at once
//   ... local steps ...
//   const RoundReduction::Result result = reduction.wait();              exposed communication, if any
//
// From launch() until the reduction is done the contribution cannot be written (its pages are read-only: a
// write ends the program) and the result holds no number. Reductions that are done and not yet waited for may
// be saved; ones in flight may not.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/bytes.h"
#include "engine/exchange/gradient_exchange.h"
#include "engine/transport/communication_thread.h"

namespace laconic {

class RoundReduction {
 public:
  // On the communication thread: `own` of all workers becomes `result`, the same bits everywhere. False, on
  // all of them, when some worker's numbers were not finite.
  using Reduce = std::function<bool(Communicator& communicator, std::uint64_t round,
                                    std::span<const float> own, std::span<float> result)>;
  struct Result {
    std::uint64_t round = 0;
    std::span<const float> values;  // stays until the next one is waited for
    int participants = 0;           // workers whose numbers are in it
    bool accepted = false;          // else `values` means nothing
    double seconds = 0;             // that the reduction took on its thread
    std::uint64_t sent_bytes = 0, received_bytes = 0;
  };

  // `numbers`: of a contribution and of a result.
  RoundReduction(std::size_t numbers, CommunicationThread& thread, Reduce reduce);
  // Waits for one in flight.
  ~RoundReduction();
  RoundReduction(const RoundReduction&) = delete;
  RoundReduction& operator=(const RoundReduction&) = delete;

  // Not between launch() and wait().
  std::span<float> contribution();
  void launch(std::uint64_t round);
  // Launched and not yet waited for.
  bool pending() const;
  // Pending, and still running or not known to have ended.
  bool in_flight() const;
  // Of the pending one; rethrows what the reduction threw.
  Result wait();
  // Until the pending one is done; its result is kept for wait().
  void drain();
  // Seconds spent in wait(): exposed communication. drain() has its own reasons.
  double waited_seconds() const { return waited_; }

  // The result that is done and pending, or that there is none. Error(usage) while one is in flight.
  Bytes save() const;
  // In place of what is pending here. Error(corrupt) on damage.
  void restore(ByteSpan bytes, std::string_view where);

 private:
  class Pages;
  void finish();

  CommunicationThread& thread_;
  Reduce reduce_;
  std::size_t numbers_;
  std::unique_ptr<Pages> own_;
  std::vector<float> values_, waited_for_;  // of the pending reduction, and of the one before
  CommunicationThread::Handle handle_;
  bool pending_ = false, finished_ = true;
  Result result_;
  double waited_ = 0;
};

// The mean of the contributions by an exchange with its codec and memories; borrows it.
RoundReduction::Reduce reduce_by(GradientExchange& exchange);

}  // namespace laconic
