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
  if (!settings.examples_of.empty() && settings.examples_of.size() != static_cast<std::size_t>(ranks))
    refuse("the partition has another number of workers", "--partition");
  if (settings.resume && settings.checkpoint.empty()) refuse("there is no checkpoint to resume", "--resume");
}

class RankTraining : private RankRun {
 public:
  RankTraining(const TrainingTask& task, const TrainingSettings& settings, CommunicationThread& thread,
               const TrainingListener& listener)
      : RankRun(task, settings, thread, listener) {
    ExchangeRequest request = exchange_request();
    request.smoothness = [this] { return smoothness_of_ranks(); };
    TrainingExchange made = settings.exchange(request);
    exchange_ = std::move(made.exchange);
    own_clip_ = settings.clip * made.clip_share;
    optimizer_ = made.optimizer ? std::move(made.optimizer) : make_optimizer(settings.optimizer, tensors_);
    text_ = settings_text(fmt::format("exchange {}\noptimizer {}", exchange_->text(), optimizer_->text()));
    require(state_.parameters.size() == exchange_->size(), "the initial point has the length of the model");
  }

  TrainingResult run() {
    handshake(text_);
    if (settings_.resume) resume();
    if (leads_ && listener_.on_begin) listener_.on_begin(state_.step);
    overlapped_ = std::make_unique<OverlappedExchange>(*exchange_, thread_);
    own_.assign(exchange_->size(), 0.0f);
    agreed_.assign(exchange_->size(), 0.0f);
    progress_.begin();
    for (std::int64_t step = state_.step + 1; step <= settings_.steps; ++step) {
      one_step(step);
      state_.step = step;
      const bool last = step == settings_.steps;
      if (last || (settings_.compare_every > 0 && step % settings_.compare_every == 0))
        compare_replicas(state_.parameters);
      if (last || (settings_.evaluate_every > 0 && step % settings_.evaluate_every == 0)) evaluate_now();
      const bool stop = stop_is_wanted(step);
      if (!settings_.checkpoint.empty() &&
          (last || stop || (settings_.checkpoint_every > 0 && step % settings_.checkpoint_every == 0))) {
        save();
      }
      if (stop && !last) fail_stopped(fmt::format("step {}", step), settings_.checkpoint);
    }
    // A run that is complete may be resumed with fewer steps than it has.
    if (state_.evaluations.empty() || state_.evaluations.back().step != state_.step) evaluate_now();
    return finish(state_.parameters, exchange_->text());
  }

 private:
  // On examples of the first steps, as many as tell the curvature of a rank's data.
  std::vector<double> smoothness_of_ranks() {
    constexpr std::size_t enough = 256;
    std::vector<std::int64_t> examples;
    for (std::int64_t step = 1; examples.size() < enough && step <= order_.steps_per_epoch(); ++step) {
      const std::vector<std::int64_t> more = order_.of_step(step);
      examples.insert(examples.end(), more.begin(), more.end());
    }
    ByteWriter writer;
    writer.f64(measured_smoothness(*replica_, state_.parameters, examples));
    std::vector<double> all;
    thread_.run("smoothness", [&](Communicator& communicator) {
      for (const Bytes& bytes : all_gather(communicator, writer.span()))
        all.push_back(ByteReader(bytes, "smoothness of a rank").f64());
    });
    return all;
  }

  void resume() {
    state_ = load_training(settings_.checkpoint, text_, exchange_->size(), thread_);
    const std::string where = settings_.checkpoint.string();
    optimizer_->restore(state_.optimizer, where);
    exchange_->restore(state_.exchange, where);
    result_.resumed_from = state_.step;
    if (leads_ && listener_.message) listener_.message(fmt::format("goes on after step {}", state_.step));
  }

  void one_step(std::int64_t step) {
    StepRecord record;
    record.step = step;
    record.rate = settings_.rate.at(step);
    const double begin = steady_seconds();
    const Traffic before = thread_.traffic();
    const CodecSeconds codec_before = exchange_->codec_seconds();
    const double waited_before = overlapped_->waited_seconds();
    if (step == settings_.steps) thread_.take_timeline();
    overlapped_->begin(static_cast<std::uint64_t>(step), own_, agreed_);
    record.loss = backward(step);
    const double computed = steady_seconds();
    record.compute = computed - begin;
    record.accepted = overlapped_->end();
    if (record.accepted) {
      if (settings_.clip > 0 && settings_.clip_where == TrainingSettings::Clip::after)
        clip_to(agreed_, settings_.clip);
      optimizer_->apply(agreed_, state_.parameters, record.rate);
    }
    record.wait = overlapped_->waited_seconds() - waited_before;
    record.total = steady_seconds() - begin;
    const Traffic moved = thread_.traffic() - before;
    record.sent_bytes = moved.sent_bytes;
    record.received_bytes = moved.received_bytes;
    record.encode = exchange_->codec_seconds().encode - codec_before.encode;
    record.decode = exchange_->codec_seconds().decode - codec_before.decode;
    if (step == settings_.steps) {
      result_.timeline = thread_.take_timeline();
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
    if (leads_ && listener_.on_step) listener_.on_step(record);
    report(record);
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
    thread_.run("refusal", [&](Communicator& communicator) {
      const Agreement agreement = agree(communicator, bad);
      const std::string name = agreement.least < tensors_.size()
                                   ? tensors_[static_cast<std::size_t>(agreement.least)].name
                                   : std::string("the sum of the ranks");
      refusal_ = fmt::format("step {} is left out on all ranks: {} of rank {} is not finite", step, name,
                             agreement.least_rank);
    });
    if (leads_ && listener_.message) listener_.message(refusal_);
  }

  void evaluate_now() {
    gather_losses();
    evaluate(state_.parameters);
  }

  void save() {
    state_.optimizer = optimizer_->save();
    state_.exchange = exchange_->save();
    save_training(settings_.checkpoint, text_, state_, thread_);
  }

  std::unique_ptr<GradientExchange> exchange_;
  double own_clip_ = 0;  // largest norm of this rank's own gradient
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<OverlappedExchange> overlapped_;
  std::string text_, refusal_;
  std::vector<float> own_, agreed_;
  int refused_in_a_row_ = 0;
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
    if (settings.local) return train_rank_locally(task, settings, thread, listener);
    return RankTraining(task, settings, thread, listener).run();
  } catch (const std::exception& error) {
    abandon_run(thread, error.what());
    throw;
  }
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
