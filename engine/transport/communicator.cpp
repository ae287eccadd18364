#include "engine/transport/communicator.h"

#include <fmt/format.h>

#include <chrono>

#include "engine/base/error.h"

namespace laconic {

std::string_view name_of(Exchange kind) {
  static constexpr std::string_view names[exchange_kinds] = {
      "point to point", "all-reduce", "reduce-scatter", "all-gather", "all-to-all", "broadcast", "barrier"};
  return names[static_cast<std::size_t>(kind)];
}

Traffic operator+(const Traffic& a, const Traffic& b) {
  return {a.sent_bytes + b.sent_bytes, a.received_bytes + b.received_bytes, a.sent_messages + b.sent_messages,
          a.received_messages + b.received_messages};
}

Traffic operator-(const Traffic& a, const Traffic& b) {
  return {a.sent_bytes - b.sent_bytes, a.received_bytes - b.received_bytes, a.sent_messages - b.sent_messages,
          a.received_messages - b.received_messages};
}

Communicator::Communicator(int rank, int size) : rank_(rank), size_(size) {
  require(size >= 1 && rank >= 0 && rank < size, "a rank lies below the size of its group");
}

void Communicator::check_peer(int peer) const {
  require(peer >= 0 && peer < size_, "messages go to ranks of the group");
}

void Communicator::send(int to, std::uint32_t tag, Bytes message) {
  check_peer(to);
  if (to != rank_) {
    Traffic& count = traffic_[static_cast<std::size_t>(kind_)];
    count.sent_bytes += message.size();
    ++count.sent_messages;
  }
  deliver(to, tag, std::move(message));
}

Bytes Communicator::receive(int from, std::uint32_t tag) {
  check_peer(from);
  const auto begin = std::chrono::steady_clock::now();
  Bytes message = take(from, tag);
  waited_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (from != rank_) {
    Traffic& count = traffic_[static_cast<std::size_t>(kind_)];
    count.received_bytes += message.size();
    ++count.received_messages;
  }
  return message;
}

bool Communicator::ready(int, std::uint32_t) {
  fail(ErrorKind::unsupported, "this carrier cannot say whether a message has arrived");
}

void Communicator::wait(double seconds) {
  std::unique_lock lock(wake_mutex_);
  woken_up_.wait_for(lock, std::chrono::duration<double>(seconds), [&] { return woken_; });
  woken_ = false;
}

void Communicator::wake() {
  {
    const std::lock_guard lock(wake_mutex_);
    woken_ = true;
  }
  woken_up_.notify_one();
}

std::uint32_t Communicator::next_collective_tag() {
  // Tags of MPI have at least 15 bits more than the caller's 16 here; the count wraps long after a message
  // could still be under way.
  constexpr std::uint32_t span = 1u << 14;
  return first_collective_tag + collectives_++ % span;
}

Traffic Communicator::traffic() const {
  Traffic sum;
  for (const Traffic& kind : traffic_) sum = sum + kind;
  return sum;
}

Communicator::Counting::Counting(Communicator& communicator, Exchange kind)
    : communicator_(communicator), outermost_(!communicator.counting_) {
  if (!outermost_) return;
  communicator.counting_ = true;
  communicator.kind_ = kind;
}

Communicator::Counting::~Counting() {
  if (!outermost_) return;
  communicator_.counting_ = false;
  communicator_.kind_ = Exchange::point_to_point;
}

}  // namespace laconic
