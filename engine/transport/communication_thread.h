// Exchanges beside computation: one thread per rank owns its communicator (as Open MPI wants it) and runs
// what it is given in order. All ranks submit the same exchanges in the same order. The timeline shows what
// ran when, so that overlap with computation can be seen and not only hoped for.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/transport/communicator.h"

namespace laconic {

// Seconds on the steady clock, from the same zero for all threads of a process.
double steady_seconds();

struct TimelineSpan {
  std::string name;
  double begin = 0, end = 0;  // steady_seconds()
};

class CommunicationThread {
 public:
  using MakeCommunicator = std::function<std::unique_ptr<Communicator>()>;
  // The communicator is made, used and destroyed on the thread. What making it throws comes out here.
  explicit CommunicationThread(MakeCommunicator make);
  // Runs what was submitted, then ends. Failures nobody waited for are dropped.
  ~CommunicationThread();
  CommunicationThread(const CommunicationThread&) = delete;
  CommunicationThread& operator=(const CommunicationThread&) = delete;

  int rank() const;
  int size() const;

  // A submitted exchange. After one has failed, those behind it fail with the same error unrun: ranks would
  // no longer agree on what comes next.
  class Handle {
   public:
    Handle() = default;
    bool done() const;
    // Returns when it has run; rethrows what it threw. The time spent here is exposed communication.
    void wait();

   private:
    friend class CommunicationThread;
    struct Task;
    explicit Handle(std::shared_ptr<Task> task) : task_(std::move(task)) {}
    std::shared_ptr<Task> task_;
  };
  // What the exchange touches must stay as it is until wait() has returned.
  Handle submit(std::string name, std::function<void(Communicator&)> exchange);
  // submit and wait.
  void run(std::string name, std::function<void(Communicator&)> exchange);

  // Of finished exchanges, since the last call.
  std::vector<TimelineSpan> take_timeline();
  // Seconds spent in wait() and run() since the thread began.
  double waited_seconds() const;
  // Of finished exchanges.
  Traffic traffic() const;
  Traffic traffic(Exchange kind) const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace laconic
