#include "engine/transport/thread_world.h"

#include <fmt/format.h>

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
  struct Mailbox {
    std::mutex mutex;
    std::condition_variable arrived;
    std::map<std::pair<int, std::uint32_t>, std::deque<Bytes>> messages;  // by sender and tag
    std::map<int, std::string> gone;                                      // senders, and why
  };
  explicit State(int size) : mailboxes(static_cast<std::size_t>(size)) {}
  std::vector<Mailbox> mailboxes;
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
      }
      box.arrived.notify_all();
    }
  }

 protected:
  void deliver(int to, std::uint32_t tag, Bytes message) override {
    auto& box = state_->mailboxes[static_cast<std::size_t>(to)];
    {
      const std::lock_guard lock(box.mutex);
      box.messages[{rank(), tag}].push_back(std::move(message));
    }
    box.arrived.notify_all();
  }

  Bytes take(int from, std::uint32_t tag) override {
    auto& box = state_->mailboxes[static_cast<std::size_t>(rank())];
    std::unique_lock lock(box.mutex);
    const std::pair key{from, tag};
    const auto ready = [&] { return box.messages.count(key) > 0 || box.gone.count(from) > 0; };
    if (timeout() > 0) {
      if (!box.arrived.wait_for(lock, std::chrono::duration<double>(timeout()), ready)) {
        fail(ErrorKind::io, fmt::format("rank {} sent nothing for {:g} s", from, timeout()),
             fmt::format("rank {}", rank()), "is it still running, and does it run the same exchanges?");
      }
    } else {
      box.arrived.wait(lock, ready);
    }
    const auto found = box.messages.find(key);
    if (found == box.messages.end()) {
      fail(ErrorKind::io, fmt::format("rank {} is gone: {}", from, box.gone.at(from)),
           fmt::format("rank {}", rank()));
    }
    Bytes message = std::move(found->second.front());
    found->second.pop_front();
    if (found->second.empty()) box.messages.erase(found);
    return message;
  }

 private:
  std::shared_ptr<ThreadWorld::State> state_;
};

}  // namespace

ThreadWorld::ThreadWorld(int size) : state_(std::make_shared<State>(size)) {}
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

void run_ranks(int size, const std::function<void(Communicator&)>& body) {
  ThreadWorld world(size);
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
