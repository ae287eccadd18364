#include "methods/gradients/training/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <exception>
#include <memory>
#include <thread>

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
#include "methods/gradients/training/shared_training.h"
#include "methods/gradients/training/training_checkpoint.h"
#include "methods/gradients/training/training_group.h"
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
  if (!settings.examples_of.empty() && settings.examples_of.size() != static_cast<std::size_t>(ranks)) {
    refuse(ranks == 0 ? "members that come and go draw from all examples"
                      : "the partition has another number of workers",
           "--partition");
  }
  if (settings.resume && settings.checkpoint.empty()) refuse("there is no checkpoint to resume", "--resume");
}

// Thrown inside an elastic run to where its loop begins: a member was lost, and what all were doing is done
// again by the next group.
struct GroupChanged {};

class RankTraining {
 public:
  RankTraining(const TrainingTask& task, const TrainingSettings& settings, TrainingGroup& group,
               const TrainingListener& listener)
      : task_(task),
        settings_(settings),
        group_(group),
        listener_(listener),
        tensors_(task.parameters()),
        replica_(task.replica()),
        progress_(listener.progress) {
    state_.parameters = task.initial(settings.seed);
    if (!group.elastic()) make_exchange();
  }

  TrainingResult run() {
    if (group_.elastic()) {
      if (settings_.resume) resume_shared();
      regroup();
      while (group_.size() < settings_.least_members) wait_for_members();
    } else {
      together("handshake", [&](Communicator& communicator) {
        // Steps differ between ranks by their slowest; only what is dead stays silent for so long.
        communicator.set_timeout(std::max(communicator.timeout(), 1800.0));
        require_equal_everywhere(communicator, text_, "the settings of the run");
      });
      if (settings_.resume) resume();
    }
    if (leads() && listener_.on_begin) listener_.on_begin(state_.step);
    progress_.begin();
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
    return finish();
  }

 private:
  bool leads() const { return group_.rank() == 0; }
  CommunicationThread& thread() { return group_.thread(); }

  // All that depends on the group.
  void make_exchange() {
    order_.emplace(example_order());
    ExchangeRequest request;
    request.tensors = tensors_;
    request.parameters = settings_.parameters;
    request.optimizer = settings_.optimizer;
    request.ranks = group_.size();
    request.rank = group_.rank();
    request.seed = settings_.seed;
    request.steps = static_cast<std::uint64_t>(settings_.steps);
    request.steps_per_epoch = static_cast<std::uint64_t>(order_->steps_per_epoch());
    request.bucket_bytes = settings_.bucket_bytes;
    if (leads()) request.message = listener_.message;
    request.smoothness = [this] { return smoothness_of_ranks(); };
    TrainingExchange made = settings_.exchange(request);
    exchange_ = std::move(made.exchange);
    own_clip_ = settings_.clip * made.clip_share;
    optimizer_ = made.optimizer ? std::move(made.optimizer) : make_optimizer(settings_.optimizer, tensors_);
    text_ = settings_text();
    require(state_.parameters.size() == exchange_->size(), "the initial point has the length of the model");
    overlapped_ = std::make_unique<OverlappedExchange>(*exchange_, thread());
    own_.assign(exchange_->size(), 0.0f);
    agreed_.assign(exchange_->size(), 0.0f);
  }

  // What follows a step, each part again where a group was lost in the middle of it: a newcomer, who knows
  // the step and the evaluations, then does the same as the others.
  void after_step() {
    const std::int64_t step = state_.step;
    const bool last = step >= settings_.steps;
    if (step > 0 && step != resumed_at_) {
      if (last || is_due(settings_.compare_every)) compare_replicas();
      if ((last || is_due(settings_.evaluate_every)) && !is_evaluated()) evaluate();
    }
    // A run that is complete may be resumed with fewer steps than it has.
    if (last && !is_evaluated()) evaluate();
    const bool asked = step > 0 && step != resumed_at_;
    const bool stop = asked && stop_is_wanted(step);
    if (asked && !settings_.checkpoint.empty() && (last || stop || is_due(settings_.checkpoint_every)))
      save();
    if (stop && !last) fail_stopped(fmt::format("step {}", step), settings_.checkpoint);
    if (!last && asked && newcomers_) throw GroupChanged();
  }
  bool is_due(std::int64_t every) const { return every > 0 && state_.step % every == 0; }
  bool is_evaluated() const {
    return !state_.evaluations.empty() && state_.evaluations.back().step == state_.step;
  }

  // The next group, the same state on all its members, and an exchange for it.
  void regroup() {
    for (;;) {
      overlapped_.reset();
      if (exchange_) before_ = std::move(exchange_);
      if (optimizer_) state_.optimizer = optimizer_->save();
      optimizer_.reset();
      const int size_before = members_;
      group_.renew();
      members_ = group_.size();
      if (members_ != size_before && leads() && listener_.message) {
        listener_.message(fmt::format("step {}: the run has {} {} now", state_.step, members_,
                                      members_ == 1 ? "member" : "members"));
      }
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
      next_question_ = 0;
      newcomers_ = false;
      ++result_.groups;
      return;
    }
  }

  void synchronise(Bytes& shared) {
    std::vector<SharedPart> parts = write_shared_training(state_, shared);
    const SharedStateReport report = group_.synchronise(static_cast<std::uint64_t>(state_.step), parts);
    result_.state_bytes += report.received_bytes;
    if (!report.received) return;
    shared = read_shared_training(parts, state_);
    state_.loss_sum = 0;
    state_.losses = 0;
  }

  // Before the first step, until there are enough.
  void wait_for_members() {
    if (!waiting_told_ && listener_.message) {
      listener_.message(fmt::format("waiting for {} members", settings_.least_members));
    }
    waiting_told_ = true;
    if (interrupt_requested()) fail_stopped("waiting for members", {});
    if (group_.newcomers_wait()) {
      regroup();
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }

  void resume_shared() {
    shared_at_start_ =
        load_shared_training(settings_.checkpoint, elastic_settings_text(task_, settings_), state_);
    result_.resumed_from = state_.step;
    if (listener_.message) listener_.message(fmt::format("goes on after step {}", state_.step));
  }

  // With fixed ranks a failure is thrown; in an elastic run the group changes.
  void together(const std::string& name, const std::function<void(Communicator&)>& exchange) {
    if (!group_.attempt(name, exchange)) throw GroupChanged();
  }

  ExampleOrder example_order() const {
    const std::int64_t per_step = settings_.batch * settings_.accumulate;
    if (settings_.examples_of.empty())
      return ExampleOrder(task_.examples(), group_.size(), group_.rank(), per_step, settings_.seed);
    return ExampleOrder(settings_.examples_of[static_cast<std::size_t>(group_.rank())], group_.rank(),
                        per_step, settings_.seed);
  }

  // Everything that decides the numbers, one thing a line: what ranks compare and checkpoints carry.
  std::string settings_text() const {
    return fmt::format(
        "task {}\nexchange {}\noptimizer {}\n{}\nworkers {}\nbatch {} times {}\nclip {} {}\nbf16 {}\nseed "
        "{}\n"
        "partition {}\nbuckets {}\n{}",
        task_.text(), exchange_->text(), optimizer_->text(), settings_.rate.text(), group_.size(),
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
    if (leads() && listener_.message) listener_.message(fmt::format("goes on after step {}", state_.step));
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
  double dense_bytes(std::int64_t steps) const {
    const auto ranks = static_cast<double>(group_.size());
    return static_cast<double>(steps) * 2 * (ranks - 1) / ranks * 4 * static_cast<double>(own_.size());
  }

  // The mean gradient of this step's examples in own_, whose tensors are handed to the exchange when final.
  double backward(std::int64_t step) {
    const std::vector<std::int64_t> examples = order_->of_step(step);
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
    together("refusal", [&](Communicator& communicator) {
      const Agreement agreement = agree(communicator, bad);
      const std::string name = agreement.least < tensors_.size()
                                   ? tensors_[static_cast<std::size_t>(agreement.least)].name
                                   : std::string("the sum of the ranks");
      refusal_ = fmt::format("step {} is left out on all ranks: {} of rank {} is not finite", step, name,
                             agreement.least_rank);
    });
    if (leads() && listener_.message) listener_.message(refusal_);
  }

  void compare_replicas() {
    const std::string own = fmt::format("step {} parameters {}", state_.step, hash_of(state_.parameters));
    together("comparison", [&](Communicator& communicator) {
      require_equal_everywhere(communicator, own, "the parameters after a step");
    });
  }

  void evaluate() {
    // Rank 0 measures; its record is everybody's, so that any rank may lead later on.
    EvaluationRecord record;
    if (leads()) record.held_out = replica_->evaluate(state_.parameters, settings_.evaluate_limit);
    together("loss", [&](Communicator& communicator) {
      ByteWriter writer;
      writer.f64(state_.loss_sum);
      writer.f64(static_cast<double>(state_.losses));
      double loss = 0, count = 0;
      for (const Bytes& bytes : all_gather(communicator, writer.span())) {
        ByteReader reader(bytes, "losses of a rank");
        loss += reader.f64();
        count += reader.f64();
      }
      EvaluationRecord measured = record;
      measured.step = state_.step;
      measured.training_loss = count > 0 ? loss / count : 0;
      measured.sent_bytes = state_.sent_bytes;
      measured.seconds = state_.seconds;
      ByteWriter records;
      write_evaluations(records, {measured});
      const Bytes bytes = broadcast(communicator, 0, records.take());
      ByteReader reader(bytes, "evaluation of rank 0");
      const std::vector<EvaluationRecord> read = read_evaluations(reader);
      if (read.size() != 1) reader.corrupt("not one evaluation");
      record = read.front();
    });
    state_.loss_sum = 0;
    state_.losses = 0;
    state_.evaluations.push_back(record);
    if (leads() && listener_.on_evaluation) listener_.on_evaluation(record);
  }

  // Ranks hear of an interrupt at different moments: they ask each other about once a second, after the same
  // step, and all stop there. In an elastic run only the one that hears of it leaves; what all ask is whether
  // there are newcomers.
  bool stop_is_wanted(std::int64_t step) {
    if (step < next_question_) return false;
    bool wanted = false;
    std::uint64_t steps = 1;
    const double a_step =
        std::max(state_.seconds, 1e-9) / static_cast<double>(std::max<std::int64_t>(step, 1));
    const auto own_steps = static_cast<std::uint64_t>(std::clamp(1.0 / a_step, 1.0, 100.0));
    const bool interrupted = interrupt_requested();
    together("question", [&](Communicator& communicator) {
      const Agreement agreement = agree(communicator, interrupted && !group_.elastic() ? 0 : own_steps);
      wanted = agreement.least == 0;
      steps = std::max<std::uint64_t>(agreement.least, 1);
    });
    next_question_ = step + static_cast<std::int64_t>(steps);
    if (!group_.elastic()) return wanted;
    newcomers_ = group_.newcomers_wait();
    return interrupted;
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

  void count_bytes() {
    together("bytes", [&](Communicator& communicator) {
      ByteWriter writer;
      writer.u64(state_.sent_bytes);
      result_.all_sent_bytes = 0;
      for (const Bytes& bytes : all_gather(communicator, writer.span()))
        result_.all_sent_bytes += ByteReader(bytes, "bytes of a rank").u64();
    });
  }

  TrainingResult finish() {
    result_.ranks = group_.size();
    result_.steps = state_.step;
    result_.refused = state_.refused;
    result_.parameters = exchange_->size();
    result_.exchange = exchange_->text();
    result_.sent_bytes = state_.sent_bytes;
    result_.dense_bytes = static_cast<std::uint64_t>(dense_bytes(state_.step));
    result_.traffic = group_.traffic();
    result_.seconds = state_.seconds;
    result_.hash = hash_of(state_.parameters);
    result_.evaluations = std::move(state_.evaluations);
    result_.final_parameters = std::move(state_.parameters);
    return std::move(result_);
  }

  const TrainingTask& task_;
  const TrainingSettings& settings_;
  TrainingGroup& group_;
  const TrainingListener& listener_;
  std::vector<TensorSlice> tensors_;
  std::optional<ExampleOrder> order_;
  std::unique_ptr<TrainingReplica> replica_;
  std::unique_ptr<GradientExchange> exchange_;
  std::unique_ptr<GradientExchange> before_;  // of the group before, until its memories are inherited
  Bytes shared_at_start_;                     // of the exchange, from a checkpoint
  double own_clip_ = 0;                       // largest norm of this rank's own gradient
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<OverlappedExchange> overlapped_;
  std::string text_, refusal_;
  TrainingState state_;
  std::vector<float> own_, agreed_, sum_;
  int refused_in_a_row_ = 0;
  std::int64_t next_question_ = 0, resumed_at_ = -1;
  int members_ = 0;
  bool newcomers_ = false, waiting_told_ = false;
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
    TrainingGroup group(thread);
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
