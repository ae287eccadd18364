#include "methods/gradients/training/local_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/exchange/dense_exchange.h"
#include "engine/exchange/round_reduction.h"
#include "engine/transport/collectives.h"
#include "methods/gradients/local/round_length.h"
#include "methods/gradients/training/local_state.h"
#include "methods/gradients/training/rank_run.h"
#include "methods/gradients/training/resumable_run.h"
#include "methods/gradients/training/shared_training.h"

namespace laconic {
namespace {

constexpr double high_pressure = 0.95;

class LocalRankTraining : private RankRun {
 public:
  LocalRankTraining(const TrainingTask& task, const TrainingSettings& settings, TrainingGroup& group,
                    const TrainingListener& listener)
      : RankRun(task, settings, group, listener),
        optimizer_(make_optimizer(settings.optimizer, tensors_)),
        gradient_(layout_size(tensors_), 0.0f) {
    if (!group.elastic()) make_rounds();
  }

  TrainingResult run() {
    begin(
        text_, [this] { regroup(); }, [this] { resume(); });
    take_start();
    for (;;) {
      try {
        while (state_.step < settings_.steps) one_round();
        if (!settings_.checkpoint.empty()) save();
        end_rounds();
        compare_replicas(rule_->shared());
        evaluate(rule_->shared());
        share_evaluation();
        count_bytes();
        break;
      } catch (const GroupChanged&) {
        regroup();
      }
    }
    result_.rounds = rounds_;
    result_.tau = length_->tau();
    if (group_.elastic()) group_.finish();
    return finish(rule_->shared(), fmt::format("{} over {}", rule_->text(), carrier_->text()));
  }

 private:
  // All that depends on the group.
  void make_rounds() {
    carrier_ = make_carrier();
    LocalRequest request;
    request.tensors = tensors_;
    request.buckets = carrier_->buckets();
    request.parameters = settings_.local_parameters;
    request.start = state_.parameters;
    request.ranks = group_.size();
    request.rank = group_.rank();
    request.coded = settings_.exchange != nullptr;
    request.unit_steps = settings_.optimizer.kind == OptimizerSettings::Kind::adam;
    LocalRounds made = settings_.local(request);
    rule_ = std::move(made.rule);
    if (!length_) length_ = std::make_unique<RoundLength>(made.length);
    RoundReduction::Reduce reduce = rule_->own_reduce();
    if (reduce && group_.elastic()) {
      fail(ErrorKind::usage, "keeps parts of the outer state on single members, which may be lost", "sharded",
           "leave it out where members come and go");
    }
    if (!reduce) reduce = reduce_by(*carrier_);
    reduction_ = std::make_unique<RoundReduction>(
        layout_size(tensors_), thread(),
        [this, reduce = std::move(reduce)](Communicator& communicator, std::uint64_t round,
                                           std::span<const float> own, std::span<float> result) {
          group_.begin();
          return reduce(communicator, round, own, result);
        });
    text_ = settings_text(fmt::format("local {}, {}\nexchange {}\noptimizer {}", rule_->text(),
                                      made.length.tau > 0 ? fmt::format("tau {}", made.length.tau)
                                                          : fmt::format("tau up to {}", made.length.most),
                                      carrier_->text(), optimizer_->text()));
    codec_ = {};
  }

  // The next group goes on from the common point: rounds whose mean is not in it yet are taken again.
  void regroup() {
    reduction_.reset();  // what still runs fails with its group
    Bytes shared = shared_at_start_;
    if (rule_) {
      shared = shared_state();
      state_.step = safe_step_;
    }
    if (carrier_) before_ = std::move(carrier_);
    broken_ = broken_before_ = false;
    renew_group();
    synchronise(shared);
    safe_step_ = state_.step;
    make_rounds();
    if (!shared.empty()) take_shared(shared);
    if (before_) carrier_->inherit(*before_);
    before_.reset();
    take_start();
  }

  // What all members hold alike: rounds, the rule's state, and the carrier's.
  Bytes shared_state() {
    const std::span<const float> point = rule_->shared();
    state_.parameters.assign(point.begin(), point.end());
    LocalState local;
    local.rounds = safe_rounds_;
    local.tau = length_->tau();
    local.path = last_path_;
    local.rule = rule_->state();
    local.carrier = carrier_->save_shared();
    return write_local_state(local);
  }
  void take_shared(ByteSpan shared) {
    constexpr std::string_view where = "state of the run";
    const LocalState local = read_local_state(shared, where);
    rule_->set_state(local.rule, where);
    if (!local.carrier.empty()) carrier_->restore_shared(local.carrier, where);
    rounds_ = safe_rounds_ = local.rounds;
    if (length_->found()) length_->set_tau(std::max<std::int64_t>(local.tau, 1));
    last_path_ = local.path;
  }
  std::unique_ptr<GradientExchange> make_carrier() {
    if (!settings_.exchange) return dense_exchange(tensors_, DenseForm::f32, settings_.bucket_bytes);
    TrainingExchange made = settings_.exchange(exchange_request());
    if (made.optimizer) {
      fail(ErrorKind::usage, "brings an optimizer of its own, and local steps have theirs", "--exchange",
           "carry the mean by another exchange");
    }
    return std::move(made.exchange);
  }

  void take_start() {
    const std::span<const float> start = rule_->start();
    local_.assign(start.begin(), start.end());
  }

  // Sum of the rates of a round's steps.
  double path_of(std::int64_t after, std::int64_t steps) const {
    double sum = 0;
    for (std::int64_t k = 1; k <= steps; ++k) sum += settings_.rate.at(after + k);
    return sum;
  }

  void one_round() {
    LocalRoundRecord record;
    const std::int64_t steps = std::min(length_->tau(), settings_.steps - state_.step);
    const std::int64_t before = state_.step;
    const double path = path_of(before, steps);
    record.rate = path / static_cast<double>(steps);
    record.tau = steps;
    StepRecord last = local_phase(steps);
    const bool is_last = state_.step == settings_.steps;

    const double waiting = steady_seconds();
    std::optional<ArrivedMean> arrived;
    if (reduction_->pending()) arrived = arrive(record, last);
    last.total += steady_seconds() - waiting;

    // While nothing is in flight: messages of the run wait for no reduction.
    if (arrived && !arrived->accepted) leave_out(rounds_, broken_before_);
    const bool compares = crossed(before, settings_.compare_every);
    if (compares) compare_replicas(rule_->shared());
    const bool evaluates = !is_last && crossed(before, settings_.evaluate_every);
    if (evaluates || is_last) gather_losses();
    const bool stop = stop_is_wanted(state_.step) && !is_last;
    if (newcomers_ && !is_last && !stop) throw GroupChanged();
    if (unshared_) share_evaluation();
    bool changed = false;
    if (!group_.attempt([&] { changed = length_->measure(rounds_ + 1, thread()); })) throw GroupChanged();
    if (changed) tell(fmt::format("rounds of {} steps hide the reduction", length_->tau()));

    const double launching = steady_seconds();
    RoundPlace place{rounds_, path, path};
    if (!is_last)
      place.next_path = path_of(state_.step, std::min(length_->tau(), settings_.steps - state_.step));
    rule_->contribute(local_, arrived ? &*arrived : nullptr, place, reduction_->contribution());
    broken_ = broken_ || !all_finite(std::span<const float>(local_));
    if (broken_) reduction_->contribution()[0] = std::numeric_limits<float>::quiet_NaN();
    reduction_->launch(static_cast<std::uint64_t>(rounds_) + 1);
    if (rule_->delay() == 0) arrived = arrive(record, last, path);
    const OuterStep outer = rule_->advance(arrived ? &*arrived : nullptr, place);
    ++rounds_;
    last_path_ = path;
    broken_before_ = broken_;
    broken_ = false;
    // Until its mean is in the point, a round may have to be taken again.
    safe_step_ = rule_->delay() == 0 ? state_.step : before;
    safe_rounds_ = rule_->delay() == 0 ? rounds_ : rounds_ - 1;
    take_start();
    last.total += steady_seconds() - launching;
    if (rule_->delay() == 0 && !arrived->accepted) leave_out(rounds_, broken_before_);

    record.round = rounds_;
    record.step = state_.step;
    record.accepted = !arrived || arrived->accepted;
    record.gap = outer.gap;
    record.largest = outer.largest;
    record.pressure = outer.pressure;
    tell_round(record, last, outer);
    refused_in_a_row_ = record.accepted ? 0 : refused_in_a_row_ + 1;
    if (refused_in_a_row_ >= settings_.refused_in_a_row) {
      fail(ErrorKind::input,
           fmt::format("{} rounds in a row had numbers that are not finite", refused_in_a_row_),
           fmt::format("round {}", rounds_),
           "use a smaller learning rate, fewer local steps, or clip gradients");
    }
    if (evaluates) evaluate(rule_->shared());
    if (is_last) return;
    if (!settings_.checkpoint.empty() && (stop || crossed(before, settings_.checkpoint_every))) save();
    if (stop) fail_stopped(fmt::format("step {}", state_.step), settings_.checkpoint);
  }

  // True once the steps since `before` reach a multiple of `every`.
  bool crossed(std::int64_t before, std::int64_t every) const {
    return every > 0 && state_.step / every != before / every;
  }

  // The last step's record is told once its round is.
  StepRecord local_phase(std::int64_t steps) {
    StepRecord record;
    for (std::int64_t k = 0; k < steps; ++k) {
      if (k > 0) tell_step(record);
      record = {};
      record.step = ++state_.step;
      record.rate = settings_.rate.at(record.step);
      const double begin = steady_seconds();
      // A rank whose gradients are not finite waits for the end of the round with what it has.
      if (!broken_) {
        record.loss = mean_gradient(record.step, local_, gradient_, {});
        state_.loss_sum += record.loss;
        ++state_.losses;
        if (all_finite(std::span<const float>(gradient_))) {
          if (settings_.clip > 0) clip_to(gradient_, settings_.clip);
          if (settings_.bf16_gradients) round_to_bf16(gradient_);
          optimizer_->apply(gradient_, local_, record.rate);
        } else {
          broken_ = true;
        }
      }
      record.accepted = !broken_;
      record.compute = record.total = steady_seconds() - begin;
      length_->add_step(record.compute);
    }
    return record;
  }

  // With fixed ranks a failure is thrown as it is.
  RoundReduction::Result wait_for_reduction() {
    RoundReduction::Result result;
    bool succeeded = true;
    try {
      result = reduction_->wait();
    } catch (const Error& error) {
      if (!group_.elastic() || error.kind() != ErrorKind::io) throw;
      succeeded = false;
    }
    if (!group_.end(succeeded)) throw GroupChanged();
    return result;
  }

  ArrivedMean arrive(LocalRoundRecord& round, StepRecord& step, std::optional<double> path = {}) {
    const double begin = steady_seconds();
    const RoundReduction::Result result = wait_for_reduction();
    round.wait = step.wait = steady_seconds() - begin;
    round.reduce = result.seconds;
    round.sent_bytes = step.sent_bytes = result.sent_bytes;
    step.received_bytes = result.received_bytes;
    const CodecSeconds codec = carrier_->codec_seconds();
    step.encode = codec.encode - codec_.encode;
    step.decode = codec.decode - codec_.decode;
    codec_ = codec;
    length_->add_reduction(result.seconds);
    return {result.values, result.participants, result.accepted, path.value_or(last_path_)};
  }

  void tell_step(const StepRecord& record) {
    state_.sent_bytes += record.sent_bytes;
    state_.seconds += record.total;
    result_.compute += record.compute;
    result_.encode += record.encode;
    result_.decode += record.decode;
    result_.wait += record.wait;
    if (leads() && listener_.on_step) listener_.on_step(record);
    if (!leads()) return;
    progress_.report(record.step, settings_.steps, [&] {
      return fmt::format("loss {:.4f}  round {} of {} steps  {:.4g} MB sent", record.loss, rounds_ + 1,
                         length_->tau(), static_cast<double>(state_.sent_bytes) / 1e6);
    });
  }

  void tell_round(const LocalRoundRecord& record, const StepRecord& last, const OuterStep& outer) {
    tell_step(last);
    if (leads() && listener_.on_round) listener_.on_round(record);
    if (outer.pressure > high_pressure && !warned_) {
      warned_ = true;
      tell(fmt::format(
          "round {}: alpha q / gap + beta is about {:.2f}, and rounds grow from 1 on: take a smaller "
          "alpha, beta or tau",
          rounds_, outer.pressure));
    }
  }

  // Every rank learns whose numbers they were.
  void leave_out(std::int64_t round, bool own) {
    ++state_.refused;
    std::string line;
    together("refusal", [&](Communicator& communicator) {
      const Agreement agreement = agree(communicator, own ? 1 : 0);
      const std::string whose = agreement.most == 1
                                    ? fmt::format("the numbers of rank {} are", agreement.most_rank)
                                    : std::string("the mean of the ranks is");
      line = fmt::format("round {} is left out on all ranks: {} not finite", round, whose);
    });
    tell(line);
  }

  // The last reduction, and what it changes.
  void end_rounds() {
    if (!reduction_->pending()) return;
    LocalRoundRecord record;
    StepRecord step;
    step.step = state_.step;
    const ArrivedMean arrived = arrive(record, step);
    if (!arrived.accepted) leave_out(rounds_, broken_before_);
    rule_->advance(&arrived, {rounds_, last_path_, last_path_});
    safe_step_ = state_.step;
    safe_rounds_ = rounds_;
    state_.sent_bytes += step.sent_bytes;
    state_.seconds += step.wait;
    result_.encode += step.encode;
    result_.decode += step.decode;
    result_.wait += step.wait;
  }

  void save() {
    if (group_.elastic()) {
      if (!leads()) return;
      TrainingState shared = state_;
      const Bytes rounds = shared_state();
      shared.parameters = state_.parameters;
      shared.step = safe_step_;
      save_shared_training(settings_.checkpoint, elastic_settings_text(task_, settings_), shared, rounds);
      return;
    }
    reduction_->drain();
    LocalState local;
    local.rounds = rounds_;
    local.tau = length_->tau();
    local.path = last_path_;
    local.broken = broken_before_;
    local.rule = rule_->state();
    local.optimizer = optimizer_->save();
    local.reduction = reduction_->save();
    local.carrier = carrier_->save();
    const std::span<const float> shared = rule_->shared();
    state_.parameters.assign(shared.begin(), shared.end());
    state_.exchange = write_local_state(local);
    save_training(settings_.checkpoint, text_, state_, thread());
  }

  void resume() {
    state_ = load_training(settings_.checkpoint, text_, layout_size(tensors_), thread());
    const std::string where = settings_.checkpoint.string();
    const LocalState local = read_local_state(state_.exchange, where);
    optimizer_->restore(local.optimizer, where);
    rule_->set_state(local.rule, where);
    reduction_->restore(local.reduction, where);
    carrier_->restore(local.carrier, where);
    rounds_ = local.rounds;
    if (length_->found()) length_->set_tau(std::max<std::int64_t>(local.tau, 1));
    last_path_ = local.path;
    broken_before_ = local.broken;
    result_.resumed_from = state_.step;
    tell(fmt::format("goes on after step {}", state_.step));
  }

  std::unique_ptr<GradientExchange> carrier_;
  std::unique_ptr<GradientExchange> before_;  // of the group before, until its memories are inherited
  std::unique_ptr<RoundRule> rule_;
  std::unique_ptr<RoundLength> length_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<RoundReduction> reduction_;
  std::string text_;
  std::vector<float> local_, gradient_;
  CodecSeconds codec_;
  std::int64_t rounds_ = 0;
  // What an elastic run falls back to: the rounds whose means are in the common point.
  std::int64_t safe_step_ = 0, safe_rounds_ = 0;
  double last_path_ = 0;
  bool broken_ = false, broken_before_ = false, warned_ = false;
  int refused_in_a_row_ = 0;
};

}  // namespace

TrainingResult train_rank_locally(const TrainingTask& task, const TrainingSettings& settings,
                                  TrainingGroup& group, const TrainingListener& listener) {
  return LocalRankTraining(task, settings, group, listener).run();
}

}  // namespace laconic
