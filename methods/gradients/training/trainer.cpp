#include "methods/gradients/training/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <memory>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/exchange/overlapped_exchange.h"
#include "engine/transport/collectives.h"
#include "engine/transport/thread_world.h"
#include "methods/gradients/training/local_training.h"
#include "methods/gradients/training/measured_smoothness.h"
#include "methods/gradients/training/rank_run.h"
#include "methods/gradients/training/resumable_run.h"
#include "methods/gradients/training/shared_training.h"
#include "methods/gradients/training/training_group.h"

namespace laconic {
namespace {

void check_settings(const TrainingSettings& settings, int ranks) {
  const auto refuse = [](std::string_view what, std::string_view where) {
    fail(ErrorKind::usage, what, where);
  };
  if (!settings.exchange && !settings.local) refuse("no exchange was chosen", "--exchange");
  if (settings.steps < 1) refuse("a run has at least one step", "--steps");
  if (settings.batch < 1) refuse("a batch has at least one example", "--batch");
  if (settings.accumulate < 1) refuse("a step has at least one backward pass", "--accumulate");
  if (!(settings.rate.rate > 0) || !std::isfinite(settings.rate.rate))
    refuse("the learning rate is positive", "--rate");
  if (!(settings.clip >= 0)) refuse("a norm is not negative", "--clip");
  if (!settings.examples_of.empty() && settings.examples_of.size() != static_cast<std::size_t>(ranks)) {
    refuse(ranks == 0 ? "members that come and go draw from all examples"
                      : "the partition has another number of workers",
           "--partition");
  }
  if (settings.resume && settings.checkpoint.empty()) refuse("there is no checkpoint to resume", "--resume");
}

class RankTraining : private RankRun {
 public:
  RankTraining(const TrainingTask& task, const TrainingSettings& settings, TrainingGroup& group,
               const TrainingListener& listener)
      : RankRun(task, settings, group, listener) {
    if (!group.elastic()) make_exchange();
  }

  TrainingResult run() {
    begin(
        text_, [this] { regroup(); }, [this] { resume(); });
    for (;;) {
      try {
        after_step();
        if (state_.step >= settings_.steps) {
          count_bytes();
          break;
        }
        one_step(state_.step + 1);
      } catch (const GroupChanged&) {
        regroup();
      }
    }
    if (group_.elastic()) group_.finish();
    return finish(state_.parameters, exchange_->text());
  }

 private:
  // All that depends on the group.
  void make_exchange() {
    ExchangeRequest request = exchange_request();
    request.smoothness = [this] { return smoothness_of_ranks(); };
    TrainingExchange made = settings_.exchange(request);
    exchange_ = std::move(made.exchange);
    own_clip_ = settings_.clip * made.clip_share;
    optimizer_ = made.optimizer ? std::move(made.optimizer) : make_optimizer(settings_.optimizer, tensors_);
    text_ = settings_text(fmt::format("exchange {}\noptimizer {}", exchange_->text(), optimizer_->text()));
    require(state_.parameters.size() == exchange_->size(), "the initial point has the length of the model");
    overlapped_ = std::make_unique<OverlappedExchange>(*exchange_, thread());
    own_.assign(exchange_->size(), 0.0f);
    agreed_.assign(exchange_->size(), 0.0f);
  }

  // What follows a step, each part again where a group was lost in the middle of it: a newcomer, who knows
  // the step and the evaluations, then does the same as the others.
  void after_step() {
    const bool last = state_.step >= settings_.steps;
    const bool stepped = state_.step > 0 && state_.step != resumed_at_;
    if (stepped && (last || is_due(settings_.compare_every))) compare_replicas(state_.parameters);
    // A run that is complete may be resumed with fewer steps than it has.
    if ((last || (stepped && is_due(settings_.evaluate_every))) && !is_evaluated()) {
      gather_losses();
      evaluate(state_.parameters);
      share_evaluation();
    }
    if (!stepped) return;
    const bool stop = stop_is_wanted(state_.step);
    if (!settings_.checkpoint.empty() && (last || stop || is_due(settings_.checkpoint_every))) save();
    if (last) return;
    if (stop) fail_stopped(fmt::format("step {}", state_.step), settings_.checkpoint);
    if (newcomers_) throw GroupChanged();
  }

  // The next group, the same state on all its members, and an exchange for it.
  void regroup() {
    for (;;) {
      overlapped_.reset();
      if (exchange_) before_ = std::move(exchange_);
      if (optimizer_) state_.optimizer = optimizer_->save();
      optimizer_.reset();
      renew_group();
      Bytes shared = before_ ? before_->save_shared() : shared_at_start_;
      synchronise(shared);
      try {
        make_exchange();
      } catch (const GroupChanged&) {
        continue;
      }
      if (!state_.optimizer.empty()) optimizer_->restore(state_.optimizer, "state of the run");
      if (!shared.empty()) exchange_->restore_shared(shared, "state of the run");
      if (before_) exchange_->inherit(*before_);
      before_.reset();
      return;
    }
  }

  // On examples of the first steps, as many as tell the curvature of a rank's data.
  std::vector<double> smoothness_of_ranks() {
    constexpr std::size_t enough = 256;
    std::vector<std::int64_t> examples;
    for (std::int64_t step = 1; examples.size() < enough && step <= order_->steps_per_epoch(); ++step) {
      const std::vector<std::int64_t> more = order_->of_step(step);
      examples.insert(examples.end(), more.begin(), more.end());
    }
    ByteWriter writer;
    writer.f64(measured_smoothness(*replica_, state_.parameters, examples));
    std::vector<double> all;
    together("smoothness", [&](Communicator& communicator) {
      for (const Bytes& bytes : all_gather(communicator, writer.span()))
        all.push_back(ByteReader(bytes, "smoothness of a rank").f64());
    });
    return all;
  }

  void resume() {
    state_ = load_training(settings_.checkpoint, text_, exchange_->size(), thread());
    resumed_at_ = state_.step;
    const std::string where = settings_.checkpoint.string();
    optimizer_->restore(state_.optimizer, where);
    exchange_->restore(state_.exchange, where);
    result_.resumed_from = state_.step;
    tell(fmt::format("goes on after step {}", state_.step));
  }

  void one_step(std::int64_t step) {
    StepRecord record;
    record.step = step;
    record.rate = settings_.rate.at(step);
    const double begin = steady_seconds();
    const Traffic before = thread().traffic();
    const CodecSeconds codec_before = exchange_->codec_seconds();
    const double waited_before = overlapped_->waited_seconds();
    if (step == settings_.steps) thread().take_timeline();
    double computed = begin;
    const bool counts = group_.attempt([&] {
      overlapped_->begin(static_cast<std::uint64_t>(step), own_, agreed_);
      record.loss = backward(step);
      computed = steady_seconds();
      record.accepted = overlapped_->finish();
    });
    record.compute = computed - begin;
    overlapped_->settle(counts && record.accepted);
    if (!counts) throw GroupChanged();
    state_.step = step;
    if (record.accepted) {
      if (settings_.clip > 0 && settings_.clip_where == TrainingSettings::Clip::after)
        clip_to(agreed_, settings_.clip);
      optimizer_->apply(agreed_, state_.parameters, record.rate);
    }
    record.wait = overlapped_->waited_seconds() - waited_before;
    record.total = steady_seconds() - begin;
    const Traffic moved = thread().traffic() - before;
    record.sent_bytes = moved.sent_bytes;
    record.received_bytes = moved.received_bytes;
    record.encode = exchange_->codec_seconds().encode - codec_before.encode;
    record.decode = exchange_->codec_seconds().decode - codec_before.decode;
    if (step == settings_.steps) {
      result_.timeline = thread().take_timeline();
      result_.timeline.push_back({"backward", begin, computed});
    }
    state_.sent_bytes += record.sent_bytes;
    state_.seconds += record.total;
    result_.compute += record.compute;
    result_.encode += record.encode;
    result_.decode += record.decode;
    result_.wait += record.wait;
    state_.loss_sum += record.loss;
    ++state_.losses;
    if (!record.accepted) name_refused(step);
    refused_in_a_row_ = record.accepted ? 0 : refused_in_a_row_ + 1;
    if (leads() && listener_.on_step) listener_.on_step(record);
    if (leads()) report(record);
    if (refused_in_a_row_ >= settings_.refused_in_a_row) {
      fail(ErrorKind::input,
           fmt::format("{} steps in a row had gradients that are not finite", refused_in_a_row_),
           fmt::format("step {}", step), "use a smaller learning rate, or clip gradients");
    }
  }

  void report(const StepRecord& record) {
    progress_.report(record.step, settings_.steps, [&] {
      const double ratio =
          record.sent_bytes > 0 ? dense_bytes(1) / static_cast<double>(record.sent_bytes) : 1;
      return fmt::format("loss {:.4f}  {:.4g} MB sent, 1/{:.4g} of dense", record.loss,
                         static_cast<double>(state_.sent_bytes) / 1e6, ratio);
    });
  }

  // The mean gradient of this step's examples in own_, whose tensors are handed to the exchange when final.
  double backward(std::int64_t step) {
    // Clipping needs the whole vector's norm first.
    if (!clips_before())
      return mean_gradient(step, state_.parameters, own_, [&](std::size_t tensor) { hand_over(tensor); });
    const double loss = mean_gradient(step, state_.parameters, own_, {});
    clip_to(own_, own_clip_);
    for (std::size_t tensor = tensors_.size(); tensor-- > 0;) hand_over(tensor);
    return loss;
  }
  void hand_over(std::size_t tensor) {
    const auto gradient = slice_of(std::span(own_), tensors_[tensor]);
    if (settings_.bf16_gradients) round_to_bf16(gradient);
    optimizer_->prepare(tensor, gradient);
    overlapped_->ready(tensor);
  }

  // Every rank learns which tensor of which rank it was; nothing of the step remains.
  void name_refused(std::int64_t step) {
    ++state_.refused;
    std::uint64_t bad = tensors_.size();
    for (std::size_t tensor = 0; tensor < tensors_.size() && bad == tensors_.size(); ++tensor) {
      if (!all_finite(slice_of(std::span<const float>(own_), tensors_[tensor]))) bad = tensor;
    }
    together("refusal", [&](Communicator& communicator) {
      const Agreement agreement = agree(communicator, bad);
      const std::string name = agreement.least < tensors_.size()
                                   ? tensors_[static_cast<std::size_t>(agreement.least)].name
                                   : std::string("the sum of the ranks");
      refusal_ = fmt::format("step {} is left out on all ranks: {} of rank {} is not finite", step, name,
                             agreement.least_rank);
    });
    tell(refusal_);
  }

  void save() {
    state_.optimizer = optimizer_->save();
    if (group_.elastic()) {
      if (leads()) {
        save_shared_training(settings_.checkpoint, elastic_settings_text(task_, settings_), state_,
                             exchange_->save_shared());
      }
      return;
    }
    state_.exchange = exchange_->save();
    save_training(settings_.checkpoint, text_, state_, thread());
  }

  std::unique_ptr<GradientExchange> exchange_;
  std::unique_ptr<GradientExchange> before_;  // of the group before, until its memories are inherited
  double own_clip_ = 0;                       // largest norm of this rank's own gradient
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<OverlappedExchange> overlapped_;
  std::string text_, refusal_;
  std::vector<float> own_, agreed_;
  int refused_in_a_row_ = 0;
  std::int64_t resumed_at_ = -1;
};

// What the others are told when this rank fails outside an exchange.
void abandon_run(CommunicationThread& thread, const std::string& reason) {
  try {
    thread.run("failure", [&](Communicator&) { fail(ErrorKind::io, reason); });
  } catch (...) {  // as it must: the thread now abandons its communicator when it ends
  }
}

}  // namespace

TrainingResult train_rank(const TrainingTask& task, const TrainingSettings& settings,
                          CommunicationThread& thread, const TrainingListener& listener) {
  try {
    check_settings(settings, thread.size());
    TrainingGroup group(thread);
    if (settings.local) return train_rank_locally(task, settings, group, listener);
    return RankTraining(task, settings, group, listener).run();
  } catch (const std::exception& error) {
    abandon_run(thread, error.what());
    throw;
  }
}

std::string elastic_settings_text(const TrainingTask& task, const TrainingSettings& settings) {
  return fmt::format(
      "task {}\nexchange {}\noptimizer {}\n{}\nbatch {} times {}\nclip {} {}\nbf16 {}\nseed {}\nsteps {}\n"
      "buckets {}\n{}",
      task.text(), settings.exchange_name, settings.optimizer.text(), settings.rate.text(), settings.batch,
      settings.accumulate, settings.clip,
      settings.clip_where == TrainingSettings::Clip::before ? "before" : "after", settings.bf16_gradients,
      settings.seed, settings.steps, settings.bucket_bytes, layout_text(task.parameters()));
}

TrainingResult train_member(const TrainingTask& task, const TrainingSettings& settings, ElasticWorld& world,
                            const TrainingListener& listener) {
  check_settings(settings, 0);
  TrainingGroup group(world);
  if (settings.local) return train_rank_locally(task, settings, group, listener);
  return RankTraining(task, settings, group, listener).run();
}

void run_training_ranks(int ranks, const std::function<void(CommunicationThread&)>& body) {
  if (ranks < 1 || ranks > 1024) fail(ErrorKind::usage, "there are 1 to 1024 workers", "--workers");
  ThreadWorld world(ranks);
  run_rank_threads(ranks, [&](int rank) {
    CommunicationThread thread([&] { return world.communicator(rank); });
    try {
      body(thread);
    } catch (const std::exception& error) {
      abandon_run(thread, error.what());
      throw;
    }
  });
}

TrainingResult train_on_threads(const TrainingTask& task, const TrainingSettings& settings, int ranks,
                                const TrainingListener& listener) {
  TrainingResult result;
  run_training_ranks(ranks, [&](CommunicationThread& thread) {
    TrainingResult own = train_rank(task, settings, thread, listener);
    if (thread.rank() == 0) result = std::move(own);
  });
  return result;
}

}  // namespace laconic
