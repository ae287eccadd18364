#include "methods/gradients/training/training_group.h"

#include "engine/base/error.h"

namespace laconic {

void TrainingGroup::begin() {
  if (world_ != nullptr) world_->begin_operation();
}

bool TrainingGroup::end(bool succeeded) { return world_ == nullptr || world_->end_operation(succeeded); }

bool TrainingGroup::attempt(const std::function<void()>& exchanges) {
  if (world_ == nullptr) {
    exchanges();
    return true;
  }
  begin();
  bool succeeded = true;
  try {
    exchanges();
  } catch (const Error& error) {
    // A lost member shows as an error of the carrier. Anything else is this rank's own fault, and its end.
    if (error.kind() != ErrorKind::io) throw;
    succeeded = false;
  }
  return end(succeeded);
}

bool TrainingGroup::attempt(const std::string& name, const std::function<void(Communicator&)>& exchange) {
  return attempt([&] { thread_->run(name, exchange); });
}

void TrainingGroup::renew() {
  require(world_ != nullptr, "only an elastic group is renewed");
  traffic_before_ = traffic();
  thread_ = nullptr;
  own_thread_.reset();
  world_->renew();
  own_thread_ = std::make_unique<CommunicationThread>([this] { return world_->communicator(); });
  thread_ = own_thread_.get();
}

Traffic TrainingGroup::traffic() const {
  return thread_ == nullptr ? traffic_before_ : traffic_before_ + thread_->traffic();
}

}  // namespace laconic
