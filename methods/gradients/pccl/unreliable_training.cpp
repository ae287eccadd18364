#include "methods/gradients/pccl/unreliable_training.h"

#include <algorithm>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/base/error.h"
#include "engine/transport/elastic_threads.h"
#include "engine/transport/tcp/master.h"
#include "engine/transport/tcp/tcp_world.h"

namespace laconic::pccl {
namespace {

struct MemberDied : std::exception {};

class MortalReplica final : public TrainingReplica {
 public:
  MortalReplica(std::unique_ptr<TrainingReplica> replica, std::int64_t last)
      : replica_(std::move(replica)), left_(last) {}
  double gradient(std::span<const float> point, std::span<const std::int64_t> examples,
                  std::span<float> gradient,
                  const std::function<void(std::size_t tensor)>& on_ready) override {
    if (left_-- <= 0) throw MemberDied();
    return replica_->gradient(point, examples, gradient, on_ready);
  }
  Evaluation evaluate(std::span<const float> point, std::int64_t limit) override {
    return replica_->evaluate(point, limit);
  }

 private:
  std::unique_ptr<TrainingReplica> replica_;
  std::int64_t left_;
};

// The task of the member that dies: it computes so many gradients.
class MortalTask final : public TrainingTask {
 public:
  MortalTask(const TrainingTask& task, std::int64_t gradients) : task_(task), gradients_(gradients) {}
  std::string text() const override { return task_.text(); }
  const std::vector<TensorSlice>& parameters() const override { return task_.parameters(); }
  std::vector<float> initial(std::uint64_t seed) const override { return task_.initial(seed); }
  std::int64_t examples() const override { return task_.examples(); }
  const std::vector<std::int32_t>& labels() const override { return task_.labels(); }
  std::string unit() const override { return task_.unit(); }
  std::unique_ptr<TrainingReplica> replica() const override {
    return std::make_unique<MortalReplica>(task_.replica(), gradients_);
  }

 private:
  const TrainingTask& task_;
  std::int64_t gradients_;
};

class UnreliableRun {
 public:
  UnreliableRun(const TrainingTask& task, TrainingSettings settings, const UnreliablePlan& plan,
                const ProgressListener& progress)
      : task_(task),
        settings_(std::move(settings)),
        plan_(plan),
        mortal_(task, (plan.dies_at - 1) * settings_.accumulate) {
    if (plan.members < 1 || settings_.accumulate < 1)
      fail(ErrorKind::usage, "a run has members, and gradients in each step", "unreliable training");
    settings_.least_members = plan.members;
    listener_.progress = progress;
    listener_.on_round = [this](const LocalRoundRecord& round) { reached(round.step); };
    listener_.on_step = [this](const StepRecord& step) {
      if (!settings_.local) reached(step.step);
    };
    if (!plan.over_tcp) return;
    MasterOptions options;
    options.listen = {"127.0.0.1", 0};
    master_ = std::make_unique<Master>(options);
  }

  UnreliableResult run() {
    std::vector<std::thread> threads;
    for (int i = 0; i < plan_.members; ++i) {
      const bool dies = plan_.dies_at > 0 && i + 1 == plan_.members;
      threads.emplace_back(
          [this, dies] { live(dies ? static_cast<const TrainingTask&>(mortal_) : task_, false); });
    }
    std::thread newcomer;
    if (plan_.joins_at > 0) {
      newcomer = std::thread([this] {
        {
          std::unique_lock lock(mutex_);
          changed_.wait(lock, [&] { return step_ >= plan_.joins_at || over_; });
          if (over_) return;
        }
        live(task_, true);
      });
    }
    for (std::thread& thread : threads) thread.join();
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
      changed_.notify_all();
    }
    if (newcomer.joinable()) newcomer.join();
    if (fault_) std::rethrow_exception(fault_);
    return std::move(outcome_);
  }

 private:
  std::unique_ptr<ElasticWorld> join() {
    if (!master_) return threads_.join();
    PeerOptions options;
    options.masters = {{"127.0.0.1", master_->port()}};
    options.state_port = options.p2p_port = options.benchmark_port = 0;
    options.settings = elastic_settings_text(task_, settings_);
    return join_tcp_run(std::move(options));
  }

  void live(const TrainingTask& task, bool is_newcomer) {
    try {
      const std::unique_ptr<ElasticWorld> world = join();
      TrainingResult result = train_member(task, settings_, *world, listener_);
      const std::lock_guard lock(mutex_);
      outcome_.same_bits = outcome_.finished == 0 || (outcome_.same_bits && hash_ == result.hash);
      hash_ = result.hash;
      ++outcome_.finished;
      outcome_.joined = outcome_.joined || is_newcomer;
      if (!is_newcomer) outcome_.result = std::move(result);
    } catch (const MemberDied&) {
      const std::lock_guard lock(mutex_);
      outcome_.died = true;
    } catch (const Error& error) {
      // The run may be complete before it lets the newcomer in.
      if (is_newcomer && error.kind() == ErrorKind::io) return;
      keep(std::current_exception());
    } catch (...) {
      keep(std::current_exception());
    }
  }
  void keep(std::exception_ptr fault) {
    const std::lock_guard lock(mutex_);
    if (!fault_) fault_ = std::move(fault);
  }
  void reached(std::int64_t step) {
    const std::lock_guard lock(mutex_);
    step_ = std::max(step_, step);
    changed_.notify_all();
  }

  const TrainingTask& task_;
  TrainingSettings settings_;
  UnreliablePlan plan_;
  MortalTask mortal_;
  TrainingListener listener_;
  ElasticThreads threads_;
  std::unique_ptr<Master> master_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::int64_t step_ = 0;
  bool over_ = false;
  std::string hash_;
  std::exception_ptr fault_;
  UnreliableResult outcome_;
};

}  // namespace

UnreliableResult train_unreliably(const TrainingTask& task, TrainingSettings settings,
                                  const UnreliablePlan& plan, const ProgressListener& progress) {
  return UnreliableRun(task, std::move(settings), plan, progress).run();
}

}  // namespace laconic::pccl
