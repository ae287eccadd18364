#include "engine/transport/thread_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/base/error.h"

namespace laconic {

struct ThreadWorld::State {
  using Clock = std::chrono::steady_clock;
  struct Message {
    Clock::time_point due;  // nothing of it can be seen before
    Bytes bytes;
  };
  struct Mailbox {
    std::mutex mutex;
    std::condition_variable arrived;
    std::map<std::pair<int, std::uint32_t>, std::deque<Message>> messages;  // by sender and tag
    std::map<int, std::string> gone;                                        // senders, and why
    bool woken = false;
  };
  State(int size, const LinkLimit& link) : mailboxes(static_cast<std::size_t>(size)), limit(link) {}
  std::vector<Mailbox> mailboxes;
  LinkLimit limit;
};

namespace {

class ThreadCommunicator : public Communicator {
 public:
  ThreadCommunicator(int rank, int size, std::shared_ptr<ThreadWorld::State> state)
      : Communicator(rank, size), state_(std::move(state)) {}

  // Whoever waits for this rank gets Error(io).
  void abandon(std::string_view reason) override {
    for (auto& box : state_->mailboxes) {
      {
        const std::lock_guard lock(box.mutex);
        box.gone.emplace(rank(), reason);
        box.woken = true;
      }
      box.arrived.notify_all();
    }
  }

  bool notifies() const override { return true; }

  void wake() override {
    auto& box = state_->mailboxes[static_cast<std::size_t>(rank())];
    {
      const std::lock_guard lock(box.mutex);
      box.woken = true;
    }
    box.arrived.notify_all();
  }

  void wait(double seconds) override {
    auto& box = state_->mailboxes[static_cast<std::size_t>(rank())];
    std::unique_lock lock(box.mutex);
    const Clock::time_point end = Clock::now() + whole(seconds);
    for (;;) {
      // The next message that the thread could not see when its last wait ended.
      Clock::time_point until = end;
      for (const auto& [key, queue] : box.messages) {
        for (const State::Message& message : queue) {
          if (message.due > looked_at_) {
            until = std::min(until, message.due);
            break;
          }
        }
      }
      if (box.woken || Clock::now() >= until) break;
      box.arrived.wait_until(lock, until);
    }
    box.woken = false;
    looked_at_ = Clock::now();
  }

  bool ready(int from, std::uint32_t tag) override {
    auto& box = state_->mailboxes[static_cast<std::size_t>(rank())];
    const std::lock_guard lock(box.mutex);
    const auto found = box.messages.find({from, tag});
    if (found != box.messages.end()) return found->second.front().due <= Clock::now();
    if (const auto gone = box.gone.find(from); gone != box.gone.end()) fail_gone(from, gone->second);
    return false;
  }

 protected:
  void deliver(int to, std::uint32_t tag, Bytes message) override {
    auto& box = state_->mailboxes[static_cast<std::size_t>(to)];
    const auto due = to == rank() ? Clock::now() : passes_link(message.size());
    {
      const std::lock_guard lock(box.mutex);
      box.messages[{rank(), tag}].push_back({due, std::move(message)});
      if (due <= Clock::now()) box.woken = true;
    }
    box.arrived.notify_all();
  }

  Bytes take(int from, std::uint32_t tag) override {
    auto& box = state_->mailboxes[static_cast<std::size_t>(rank())];
    std::unique_lock lock(box.mutex);
    const std::pair key{from, tag};
    const auto known = [&] { return box.messages.count(key) > 0 || box.gone.count(from) > 0; };
    if (timeout() > 0) {
      if (!box.arrived.wait_for(lock, std::chrono::duration<double>(timeout()), known)) {
        fail(ErrorKind::io, fmt::format("rank {} sent nothing for {:g} s", from, timeout()),
             fmt::format("rank {}", rank()), "is it still running, and does it run the same exchanges?");
      }
    } else {
      box.arrived.wait(lock, known);
    }
    const auto found = box.messages.find(key);
    if (found == box.messages.end()) fail_gone(from, box.gone.at(from));
    // This rank alone takes from the queue, so its front stays where it is.
    const Clock::time_point due = found->second.front().due;
    if (due > Clock::now()) {
      lock.unlock();
      std::this_thread::sleep_until(due);
      lock.lock();
    }
    Bytes message = std::move(found->second.front().bytes);
    found->second.pop_front();
    if (found->second.empty()) box.messages.erase(found);
    return message;
  }

 private:
  using State = ThreadWorld::State;
  using Clock = State::Clock;

  static Clock::duration whole(double seconds) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  }

  [[noreturn]] void fail_gone(int peer, const std::string& why) const {
    fail(ErrorKind::io, fmt::format("rank {} is gone: {}", peer, why), fmt::format("rank {}", rank()));
  }

  // When the last of so many bytes has passed this rank's link.
  Clock::time_point passes_link(std::size_t bytes) {
    const LinkLimit& limit = state_->limit;
    if (limit.bytes_per_second <= 0 && limit.latency <= 0) return Clock::now();
    link_free_ = std::max(link_free_, Clock::now());
    if (limit.bytes_per_second > 0) link_free_ += whole(static_cast<double>(bytes) / limit.bytes_per_second);
    return link_free_ + whole(limit.latency);
  }

  Clock::time_point link_free_, looked_at_;
  std::shared_ptr<ThreadWorld::State> state_;
};

}  // namespace

ThreadWorld::ThreadWorld(int size, const LinkLimit& limit) : state_(std::make_shared<State>(size, limit)) {}
ThreadWorld::~ThreadWorld() = default;

std::unique_ptr<Communicator> ThreadWorld::communicator(int rank) {
  return std::make_unique<ThreadCommunicator>(rank, static_cast<int>(state_->mailboxes.size()), state_);
}

void run_rank_threads(int size, const std::function<void(int rank)>& body) {
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(size));
  std::vector<char> lost_peer(static_cast<std::size_t>(size), 0);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      const auto index = static_cast<std::size_t>(rank);
      try {
        body(rank);
      } catch (const Error& error) {
        failures[index] = std::current_exception();
        lost_peer[index] = error.kind() == ErrorKind::io;
      } catch (...) {
        failures[index] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const char merely_lost : {0, 1}) {
    for (std::size_t i = 0; i < failures.size(); ++i) {
      if (failures[i] && lost_peer[i] == merely_lost) std::rethrow_exception(failures[i]);
    }
  }
}

void run_ranks(int size, const std::function<void(Communicator&)>& body, const LinkLimit& limit) {
  ThreadWorld world(size, limit);
  run_rank_threads(size, [&](int rank) {
    const auto communicator = world.communicator(rank);
    try {
      body(*communicator);
    } catch (const std::exception& error) {
      communicator->abandon(error.what());
      throw;
    }
    communicator->abandon("it has ended");
  });
}

}  // namespace laconic
