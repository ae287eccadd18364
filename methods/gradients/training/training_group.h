// The ranks of a run as its loop sees them: fixed ones (threads, MPI), or members that come and go
// (engine/transport/elastic_world.h). With fixed ranks a failure ends the run; in an elastic run it undoes
// what was being exchanged, and the survivors go on as a new group.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/transport/communication_thread.h"
#include "engine/transport/elastic_world.h"

namespace laconic {

class TrainingGroup {
 public:
  // Borrow it. An elastic group begins with renew().
  explicit TrainingGroup(CommunicationThread& thread) : thread_(&thread) {}
  explicit TrainingGroup(ElasticWorld& world) : world_(&world) {}

  bool elastic() const { return world_ != nullptr; }
  int rank() const { return thread_->rank(); }
  int size() const { return thread_->size(); }
  CommunicationThread& thread() { return *thread_; }

  // Runs exchanges that count on all ranks or on none. True: they count. False: somebody failed or was lost,
  // and what they did here is to be undone before renew(); never so with fixed ranks, where it throws.
  bool attempt(const std::function<void()>& exchanges);
  // One exchange on the communication thread.
  bool attempt(const std::string& name, const std::function<void(Communicator&)>& exchange);

  // The same in two parts, for exchanges that run beside other work. begin() may be called on the
  // communication thread, as the first thing of what is exchanged.
  void begin();
  bool end(bool succeeded);

  // Elastic only: the next group, with a communication thread of its own. Nothing of the old one may be used.
  void renew();
  bool newcomers_wait() { return world_ != nullptr && world_->newcomers_wait(); }
  SharedStateReport synchronise(std::uint64_t revision, std::vector<SharedPart>& state) {
    return world_->synchronise(revision, state);
  }

  void finish() { world_->finish(); }

  // Of all groups so far.
  Traffic traffic() const;

 private:
  ElasticWorld* world_ = nullptr;
  CommunicationThread* thread_ = nullptr;
  std::unique_ptr<CommunicationThread> own_thread_;
  Traffic traffic_before_;
};

}  // namespace laconic
