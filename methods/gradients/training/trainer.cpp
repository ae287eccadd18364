#include "methods/gradients/training/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <memory>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/hash.h"
#include "engine/exchange/overlapped_exchange.h"
#include "engine/tensor/dtype.h"
#include "engine/transport/collectives.h"
#include "engine/transport/thread_world.h"
#include "methods/gradients/training/example_order.h"
#include "methods/gradients/training/measured_smoothness.h"
#include "methods/gradients/training/paced_progress.h"
#include "methods/gradients/training/resumable_run.h"
#include "methods/gradients/training/training_checkpoint.h"
#include "methods/gradients/training/worker_examples.h"

namespace laconic {
namespace {

std::string hash_of(std::span<const float> numbers) { return to_hex(xxh3_128(std::as_bytes(numbers))); }

double norm_of(std::span<const float> numbers) {
  double sum = 0;
  for (const float value : numbers) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

void clip_to(std::span<float> numbers, double largest) {
  const double norm = norm_of(numbers);
  if (!(norm > largest) || !std::isfinite(norm)) return;
  const auto factor = static_cast<float>(largest / norm);
  for (float& value : numbers) value *= factor;
}

void round_to_bf16(std::span<float> numbers) {
  for (float& value : numbers) value = bf16_to_f32(f32_to_bf16(value));
}

void check_settings(const TrainingSettings& settings, int ranks) {
  const auto refuse = [](std::string_view what, std::string_view where) {
    fail(ErrorKind::usage, what, where);
  };
  if (!settings.exchange) refuse("no exchange was chosen", "--exchange");
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

class RankTraining {
 public:
  RankTraining(const TrainingTask& task, const TrainingSettings& settings, CommunicationThread& thread,
               const TrainingListener& listener)
      : settings_(settings),
        thread_(thread),
        listener_(listener),
        leads_(thread.rank() == 0),
        tensors_(task.parameters()),
        order_(order_of(task, settings, thread)),
        replica_(task.replica()),
        progress_(leads_ ? listener.progress : ProgressListener()) {
    ExchangeRequest request;
    request.tensors = tensors_;
    request.parameters = settings.parameters;
    request.optimizer = settings.optimizer;
    request.ranks = thread.size();
    request.rank = thread.rank();
    request.seed = settings.seed;
    request.steps = static_cast<std::uint64_t>(settings.steps);
    request.steps_per_epoch = static_cast<std::uint64_t>(order_.steps_per_epoch());
    request.bucket_bytes = settings.bucket_bytes;
    if (leads_) request.message = listener.message;
    state_.parameters = task.initial(settings.seed);
    request.smoothness = [this] { return smoothness_of_ranks(); };
    TrainingExchange made = settings.exchange(request);
    exchange_ = std::move(made.exchange);
    own_clip_ = settings.clip * made.clip_share;
    optimizer_ = made.optimizer ? std::move(made.optimizer) : make_optimizer(settings.optimizer, tensors_);
    text_ = settings_text(task);
    require(state_.parameters.size() == exchange_->size(), "the initial point has the length of the model");
  }

  TrainingResult run() {
    thread_.run("handshake", [&](Communicator& communicator) {
      // Steps differ between ranks by their slowest; only what is dead stays silent for so long.
      communicator.set_timeout(std::max(communicator.timeout(), 1800.0));
      require_equal_everywhere(communicator, text_, "the settings of the run");
    });
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
      if (last || (settings_.compare_every > 0 && step % settings_.compare_every == 0)) compare_replicas();
      if (last || (settings_.evaluate_every > 0 && step % settings_.evaluate_every == 0)) evaluate();
      const bool stop = stop_is_wanted(step);
      if (!settings_.checkpoint.empty() &&
          (last || stop || (settings_.checkpoint_every > 0 && step % settings_.checkpoint_every == 0))) {
        save();
      }
      if (stop && !last) fail_stopped(fmt::format("step {}", step), settings_.checkpoint);
    }
    // A run that is complete may be resumed with fewer steps than it has.
    if (state_.evaluations.empty() || state_.evaluations.back().step != state_.step) evaluate();
    return finish();
  }

 private:
  static ExampleOrder order_of(const TrainingTask& task, const TrainingSettings& settings,
                               const CommunicationThread& thread) {
    const std::int64_t per_step = settings.batch * settings.accumulate;
    if (settings.examples_of.empty())
      return ExampleOrder(task.examples(), thread.size(), thread.rank(), per_step, settings.seed);
    return ExampleOrder(settings.examples_of[static_cast<std::size_t>(thread.rank())], thread.rank(),
                        per_step, settings.seed);
  }

  // Everything that decides the numbers, one thing a line: what ranks compare and checkpoints carry.
  std::string settings_text(const TrainingTask& task) const {
    return fmt::format(
        "task {}\nexchange {}\noptimizer {}\n{}\nworkers {}\nbatch {} times {}\nclip {} {}\nbf16 {}\nseed "
        "{}\n"
        "partition {}\nbuckets {}\n{}",
        task.text(), exchange_->text(), optimizer_->text(), settings_.rate.text(), thread_.size(),
        settings_.batch, settings_.accumulate, settings_.clip,
        settings_.clip_where == TrainingSettings::Clip::before ? "before" : "after", settings_.bf16_gradients,
        settings_.seed,
        settings_.examples_of.empty() ? std::string("none") : partition_hash(settings_.examples_of),
        settings_.bucket_bytes, layout_text(tensors_));
  }

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
  double dense_bytes(std::int64_t steps) const {
    const auto ranks = static_cast<double>(thread_.size());
    return static_cast<double>(steps) * 2 * (ranks - 1) / ranks * 4 * static_cast<double>(own_.size());
  }

  // The mean gradient of this step's examples in own_, whose tensors are handed to the exchange when final.
  double backward(std::int64_t step) {
    const std::vector<std::int64_t> examples = order_.of_step(step);
    const auto batch = static_cast<std::size_t>(settings_.batch);
    const std::int64_t passes = settings_.accumulate;
    if (passes > 1 && sum_.empty()) sum_.assign(own_.size(), 0.0f);
    double loss = 0;
    for (std::int64_t pass = 0; pass < passes; ++pass) {
      const auto part = std::span(examples).subspan(static_cast<std::size_t>(pass) * batch, batch);
      const bool last = pass + 1 == passes;
      const auto on_ready = [&](std::size_t tensor) {
        const auto gradient = slice_of(std::span(own_), tensors_[tensor]);
        if (passes > 1) {
          const auto sum = slice_of(std::span(sum_), tensors_[tensor]);
          for (std::size_t j = 0; j < gradient.size(); ++j)
            gradient[j] = (sum[j] + gradient[j]) / static_cast<float>(passes);
        }
        if (clips_before()) return;  // needs the whole vector's norm first
        hand_over(tensor);
      };
      loss += last ? replica_->gradient(state_.parameters, part, own_, on_ready)
                   : replica_->gradient(state_.parameters, part, own_);
      if (!last) {
        for (std::size_t j = 0; j < own_.size(); ++j) sum_[j] = pass == 0 ? own_[j] : sum_[j] + own_[j];
      }
    }
    if (clips_before()) {
      clip_to(own_, own_clip_);
      for (std::size_t tensor = tensors_.size(); tensor-- > 0;) hand_over(tensor);
    }
    return loss / static_cast<double>(passes);
  }
  bool clips_before() const {
    return settings_.clip > 0 && settings_.clip_where == TrainingSettings::Clip::before;
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

  void compare_replicas() {
    const std::string own = fmt::format("step {} parameters {}", state_.step, hash_of(state_.parameters));
    thread_.run("comparison", [&](Communicator& communicator) {
      require_equal_everywhere(communicator, own, "the parameters after a step");
    });
  }

  void evaluate() {
    EvaluationRecord record;
    record.step = state_.step;
    if (leads_) record.held_out = replica_->evaluate(state_.parameters, settings_.evaluate_limit);
    double loss = 0, count = 0;
    thread_.run("loss", [&](Communicator& communicator) {
      ByteWriter writer;
      writer.f64(state_.loss_sum);
      writer.f64(static_cast<double>(state_.losses));
      for (const Bytes& bytes : all_gather(communicator, writer.span())) {
        ByteReader reader(bytes, "losses of a rank");
        loss += reader.f64();
        count += reader.f64();
      }
    });
    record.training_loss = count > 0 ? loss / count : 0;
    state_.loss_sum = 0;
    state_.losses = 0;
    record.sent_bytes = state_.sent_bytes;
    record.seconds = state_.seconds;
    state_.evaluations.push_back(record);
    if (leads_ && listener_.on_evaluation) listener_.on_evaluation(record);
  }

  // Ranks hear of an interrupt at different moments: they ask each other about once a second, after the same
  // step, and all stop there.
  bool stop_is_wanted(std::int64_t step) {
    if (step < next_question_) return false;
    bool wanted = false;
    std::uint64_t steps = 1;
    const double a_step =
        std::max(state_.seconds, 1e-9) / static_cast<double>(std::max<std::int64_t>(step, 1));
    const auto own_steps = static_cast<std::uint64_t>(std::clamp(1.0 / a_step, 1.0, 100.0));
    thread_.run("question", [&](Communicator& communicator) {
      const Agreement agreement = agree(communicator, interrupt_requested() ? 0 : own_steps);
      wanted = agreement.least == 0;
      steps = std::max<std::uint64_t>(agreement.least, 1);
    });
    next_question_ = step + static_cast<std::int64_t>(steps);
    return wanted;
  }

  void save() {
    state_.optimizer = optimizer_->save();
    state_.exchange = exchange_->save();
    save_training(settings_.checkpoint, text_, state_, thread_);
  }

  TrainingResult finish() {
    result_.ranks = thread_.size();
    result_.steps = state_.step;
    result_.refused = state_.refused;
    result_.parameters = exchange_->size();
    result_.exchange = exchange_->text();
    result_.sent_bytes = state_.sent_bytes;
    std::uint64_t all = 0;
    thread_.run("bytes", [&](Communicator& communicator) {
      ByteWriter writer;
      writer.u64(state_.sent_bytes);
      for (const Bytes& bytes : all_gather(communicator, writer.span()))
        all += ByteReader(bytes, "bytes of a rank").u64();
    });
    result_.all_sent_bytes = all;
    result_.dense_bytes = static_cast<std::uint64_t>(dense_bytes(state_.step));
    result_.traffic = thread_.traffic();
    result_.seconds = state_.seconds;
    result_.hash = hash_of(state_.parameters);
    result_.evaluations = std::move(state_.evaluations);
    result_.final_parameters = std::move(state_.parameters);
    return std::move(result_);
  }

  const TrainingSettings& settings_;
  CommunicationThread& thread_;
  const TrainingListener& listener_;
  bool leads_;
  std::vector<TensorSlice> tensors_;
  ExampleOrder order_;
  std::unique_ptr<TrainingReplica> replica_;
  std::unique_ptr<GradientExchange> exchange_;
  double own_clip_ = 0;  // largest norm of this rank's own gradient
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<OverlappedExchange> overlapped_;
  std::string text_, refusal_;
  TrainingState state_;
  std::vector<float> own_, agreed_, sum_;
  int refused_in_a_row_ = 0;
  std::int64_t next_question_ = 0;
  PacedProgress progress_;
  TrainingResult result_;
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
