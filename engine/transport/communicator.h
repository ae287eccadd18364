// One rank's end of a group of ranks that exchange messages. Code above never knows what carries them:
// threads of one process (thread_world.h), Open MPI (mpi/mpi_world.h), or what comes later.
//
// Every byte that leaves a rank or reaches it is counted here, by kind of exchange; what a rank sends to
// itself is not. Collectives (collectives.h, reductions.h) stand on send and receive alone, so that sums have
// the same order, and counts the same values, on every carrier.
//
// An object belongs to one thread at a time. For exchanges that run beside computation see
// communication_thread.h.
#pragma once

#include <array>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "engine/base/bytes.h"

namespace laconic {

enum class Exchange {
  point_to_point,
  all_reduce,
  reduce_scatter,
  all_gather,
  all_to_all,
  broadcast,
  barrier
};
constexpr int exchange_kinds = 7;
std::string_view name_of(Exchange kind);

struct Traffic {
  std::uint64_t sent_bytes = 0, received_bytes = 0;
  std::uint64_t sent_messages = 0, received_messages = 0;
};
Traffic operator+(const Traffic& a, const Traffic& b);
Traffic operator-(const Traffic& a, const Traffic& b);

class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  // Does not wait for the receiver. Messages of one tag between two ranks arrive in the order they were sent.
  void send(int to, std::uint32_t tag, Bytes message);
  // Waits. Throws Error(io) when the sender is known to be gone, or is silent for longer than the timeout.
  Bytes receive(int from, std::uint32_t tag);
  // Whether receive() would return at once. Throws Error(io) when it never will because the sender is known
  // to be gone; Error(unsupported) on carriers that cannot tell.
  virtual bool ready(int from, std::uint32_t tag);
  // Sleeps until wake() is called, so many seconds at most. Carriers that notify() end it, too, when a
  // message arrives or a sender goes that the thread could not have seen before it.
  virtual void wait(double seconds);
  virtual bool notifies() const { return false; }
  // Ends a wait, or the next one; the one call that other threads may make while the object lives.
  virtual void wake();

  // This rank will exchange no more, because it has failed. Ranks that wait for it are told where the carrier
  // can, and nothing that needs them is done when the object ends.
  virtual void abandon(std::string_view reason) = 0;

  // Tags below this are the caller's, the others belong to collectives.
  static constexpr std::uint32_t first_collective_tag = 1u << 16;
  // A tag for the next collective. All ranks run the same collectives in the same order.
  std::uint32_t next_collective_tag();

  const Traffic& traffic(Exchange kind) const { return traffic_[static_cast<std::size_t>(kind)]; }
  Traffic traffic() const;  // of all kinds

  // Seconds spent in receive() so far.
  double waited_seconds() const { return waited_; }

  // Seconds that receive() waits; 0: for ever.
  void set_timeout(double seconds) { timeout_ = seconds; }
  double timeout() const { return timeout_; }

  // What messages are counted as while it lives; the outermost one decides.
  class Counting {
   public:
    Counting(Communicator& communicator, Exchange kind);
    ~Counting();
    Counting(const Counting&) = delete;
    Counting& operator=(const Counting&) = delete;

   private:
    Communicator& communicator_;
    bool outermost_;
  };

 protected:
  Communicator(int rank, int size);

  virtual void deliver(int to, std::uint32_t tag, Bytes message) = 0;
  virtual Bytes take(int from, std::uint32_t tag) = 0;

 private:
  void check_peer(int peer) const;

  int rank_, size_;
  double timeout_ = 300, waited_ = 0;
  std::uint32_t collectives_ = 0;
  Exchange kind_ = Exchange::point_to_point;
  bool counting_ = false;
  std::array<Traffic, exchange_kinds> traffic_{};
  std::mutex wake_mutex_;
  std::condition_variable woken_up_;
  bool woken_ = false;
};

}  // namespace laconic
