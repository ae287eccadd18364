#include "engine/transport/communication_thread.h"

#include <array>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "engine/base/error.h"

namespace laconic {

double steady_seconds() {
  static const auto zero = std::chrono::steady_clock::now();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - zero).count();
}

namespace {

std::string what_of(const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "an unknown fault";
  }
}

}  // namespace

struct CommunicationThread::Handle::Task {
  std::string name;
  std::function<void(Communicator&)> exchange;
  std::shared_ptr<State> state;
  bool done = false;
  std::exception_ptr failure;
};

struct CommunicationThread::State {
  mutable std::mutex mutex;
  std::condition_variable submitted, finished;
  std::deque<std::shared_ptr<Handle::Task>> queue;
  bool closing = false, started = false;
  std::exception_ptr failure;  // of the making, or of the first exchange that failed
  int rank = 0, size = 1;
  std::vector<TimelineSpan> timeline;
  double waited = 0;
  std::array<Traffic, exchange_kinds> traffic{};
  std::thread thread;

  void serve(const MakeCommunicator& make) {
    std::unique_ptr<Communicator> communicator;
    std::unique_lock lock(mutex, std::defer_lock);
    try {
      communicator = make();
      require(communicator != nullptr, "a communicator was made");
    } catch (...) {
      lock.lock();
      failure = std::current_exception();
      started = true;
      finished.notify_all();
      return;
    }
    lock.lock();
    rank = communicator->rank();
    size = communicator->size();
    started = true;
    finished.notify_all();
    for (;;) {
      submitted.wait(lock, [&] { return closing || !queue.empty(); });
      if (queue.empty()) break;
      const std::shared_ptr<Handle::Task> task = std::move(queue.front());
      queue.pop_front();
      std::exception_ptr thrown = failure;
      if (!thrown) {
        lock.unlock();
        TimelineSpan span{task->name, steady_seconds(), 0};
        try {
          task->exchange(*communicator);
        } catch (...) {
          thrown = std::current_exception();
        }
        task->exchange = nullptr;  // what it holds is released before anyone goes on
        span.end = steady_seconds();
        lock.lock();
        timeline.push_back(std::move(span));
        for (int kind = 0; kind < exchange_kinds; ++kind) {
          traffic[static_cast<std::size_t>(kind)] = communicator->traffic(static_cast<Exchange>(kind));
        }
        if (thrown) failure = thrown;
      }
      task->failure = thrown;
      task->done = true;
      finished.notify_all();
    }
    const std::exception_ptr failed = failure;
    lock.unlock();
    if (failed) communicator->abandon(what_of(failed));
    communicator.reset();
  }
};

CommunicationThread::CommunicationThread(MakeCommunicator make) : state_(std::make_shared<State>()) {
  steady_seconds();
  state_->thread = std::thread([state = state_.get(), make = std::move(make)] { state->serve(make); });
  std::unique_lock lock(state_->mutex);
  state_->finished.wait(lock, [&] { return state_->started; });
  if (state_->failure) {
    const std::exception_ptr failure = state_->failure;
    lock.unlock();
    state_->thread.join();
    std::rethrow_exception(failure);
  }
}

CommunicationThread::~CommunicationThread() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->closing = true;
  }
  state_->submitted.notify_all();
  if (state_->thread.joinable()) state_->thread.join();
}

int CommunicationThread::rank() const { return state_->rank; }
int CommunicationThread::size() const { return state_->size; }

bool CommunicationThread::Handle::done() const {
  if (!task_) return true;
  const std::lock_guard lock(task_->state->mutex);
  return task_->done;
}

void CommunicationThread::Handle::wait() {
  if (!task_) return;
  const double begin = steady_seconds();
  std::unique_lock lock(task_->state->mutex);
  task_->state->finished.wait(lock, [&] { return task_->done; });
  task_->state->waited += steady_seconds() - begin;
  const std::exception_ptr failure = task_->failure;
  lock.unlock();
  task_.reset();
  if (failure) std::rethrow_exception(failure);
}

CommunicationThread::Handle CommunicationThread::submit(std::string name,
                                                        std::function<void(Communicator&)> exchange) {
  auto task = std::make_shared<Handle::Task>();
  task->name = std::move(name);
  task->exchange = std::move(exchange);
  task->state = state_;
  {
    const std::lock_guard lock(state_->mutex);
    require(!state_->closing, "exchanges are submitted while the thread lives");
    state_->queue.push_back(task);
  }
  state_->submitted.notify_one();
  return Handle(std::move(task));
}

void CommunicationThread::run(std::string name, std::function<void(Communicator&)> exchange) {
  submit(std::move(name), std::move(exchange)).wait();
}

std::vector<TimelineSpan> CommunicationThread::take_timeline() {
  const std::lock_guard lock(state_->mutex);
  return std::exchange(state_->timeline, {});
}

double CommunicationThread::waited_seconds() const {
  const std::lock_guard lock(state_->mutex);
  return state_->waited;
}

Traffic CommunicationThread::traffic(Exchange kind) const {
  const std::lock_guard lock(state_->mutex);
  return state_->traffic[static_cast<std::size_t>(kind)];
}

Traffic CommunicationThread::traffic() const {
  const std::lock_guard lock(state_->mutex);
  Traffic sum;
  for (const Traffic& kind : state_->traffic) sum = sum + kind;
  return sum;
}

}  // namespace laconic
