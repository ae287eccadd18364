#include "methods/gradients/training/rank_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "engine/base/hash.h"
#include "engine/tensor/dtype.h"
#include "engine/transport/collectives.h"
#include "methods/gradients/training/resumable_run.h"
#include "methods/gradients/training/shared_training.h"
#include "methods/gradients/training/worker_examples.h"

namespace laconic {
namespace {

std::string hash_of(std::span<const float> numbers) { return to_hex(xxh3_128(std::as_bytes(numbers))); }

double norm_of(std::span<const float> numbers) {
  double sum = 0;
  for (const float value : numbers) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

}  // namespace

void clip_to(std::span<float> numbers, double largest) {
  const double norm = norm_of(numbers);
  if (!(norm > largest) || !std::isfinite(norm)) return;
  const auto factor = static_cast<float>(largest / norm);
  for (float& value : numbers) value *= factor;
}

void round_to_bf16(std::span<float> numbers) {
  for (float& value : numbers) value = bf16_to_f32(f32_to_bf16(value));
}

RankRun::RankRun(const TrainingTask& task, const TrainingSettings& settings, TrainingGroup& group,
                 const TrainingListener& listener)
    : task_(task),
      settings_(settings),
      group_(group),
      listener_(listener),
      tensors_(task.parameters()),
      replica_(task.replica()),
      progress_(listener.progress) {
  state_.parameters = task.initial(settings.seed);
  if (!group.elastic()) order_examples();
}

void RankRun::together(const std::string& name, const std::function<void(Communicator&)>& exchange) {
  if (!group_.attempt(name, exchange)) throw GroupChanged();
}

void RankRun::order_examples() {
  const std::int64_t per_step = settings_.batch * settings_.accumulate;
  if (settings_.examples_of.empty()) {
    order_.emplace(task_.examples(), group_.size(), group_.rank(), per_step, settings_.seed);
  } else {
    order_.emplace(settings_.examples_of[static_cast<std::size_t>(group_.rank())], group_.rank(), per_step,
                   settings_.seed);
  }
}

void RankRun::begin(const std::string& text, const std::function<void()>& regroup,
                    const std::function<void()>& resume) {
  if (group_.elastic()) {
    if (settings_.resume) resume_shared();
    regroup();
    wait_for_members(regroup);
  } else {
    handshake(text);
    if (settings_.resume) resume();
  }
  if (leads() && listener_.on_begin) listener_.on_begin(state_.step);
  progress_.begin();
}

void RankRun::resume_shared() {
  shared_at_start_ =
      load_shared_training(settings_.checkpoint, elastic_settings_text(task_, settings_), state_);
  result_.resumed_from = state_.step;
  if (listener_.message) listener_.message(fmt::format("goes on after step {}", state_.step));
}

void RankRun::renew_group() {
  const int before = members_;
  group_.renew();
  members_ = group_.size();
  next_question_ = 0;
  newcomers_ = unshared_ = false;
  ++result_.groups;
  if (members_ != before) {
    tell(fmt::format("step {}: the run has {} {} now", state_.step, members_,
                     members_ == 1 ? "member" : "members"));
  }
  order_examples();
}

bool RankRun::synchronise(Bytes& exchange) {
  std::vector<SharedPart> parts = write_shared_training(state_, exchange);
  const SharedStateReport report = group_.synchronise(static_cast<std::uint64_t>(state_.step), parts);
  result_.state_bytes += report.received_bytes;
  if (!report.received) return false;
  exchange = read_shared_training(parts, state_);
  state_.loss_sum = 0;
  state_.losses = 0;
  return true;
}

void RankRun::wait_for_members(const std::function<void()>& regroup) {
  if (group_.size() >= settings_.least_members) return;
  if (listener_.message) listener_.message(fmt::format("waiting for {} members", settings_.least_members));
  while (group_.size() < settings_.least_members) {
    if (interrupt_requested()) fail_stopped("waiting for members", {});
    if (group_.newcomers_wait()) {
      regroup();
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
}

ExchangeRequest RankRun::exchange_request() const {
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
  if (leads() && result_.groups <= 1) request.message = listener_.message;
  return request;
}

std::string RankRun::settings_text(const std::string& lines) const {
  return fmt::format(
      "task {}\n{}\n{}\nworkers {}\nbatch {} times {}\nclip {} {}\nbf16 {}\nseed {}\npartition {}\nbuckets "
      "{}\n{}",
      task_.text(), lines, settings_.rate.text(), group_.size(), settings_.batch, settings_.accumulate,
      settings_.clip, settings_.clip_where == TrainingSettings::Clip::before ? "before" : "after",
      settings_.bf16_gradients, settings_.seed,
      settings_.examples_of.empty() ? std::string("none") : partition_hash(settings_.examples_of),
      settings_.bucket_bytes, layout_text(tensors_));
}

void RankRun::handshake(const std::string& text) {
  together("handshake", [&](Communicator& communicator) {
    // Steps differ between ranks by their slowest; only what is dead stays silent for so long.
    communicator.set_timeout(std::max(communicator.timeout(), 1800.0));
    require_equal_everywhere(communicator, text, "the settings of the run");
  });
}

double RankRun::mean_gradient(std::int64_t step, std::span<const float> point, std::span<float> gradient,
                              const std::function<void(std::size_t tensor)>& on_final) {
  const std::vector<std::int64_t> examples = order_->of_step(step);
  const auto batch = static_cast<std::size_t>(settings_.batch);
  const std::int64_t passes = settings_.accumulate;
  if (passes > 1 && sum_.empty()) sum_.assign(gradient.size(), 0.0f);
  double loss = 0;
  for (std::int64_t pass = 0; pass < passes; ++pass) {
    const auto part = std::span(examples).subspan(static_cast<std::size_t>(pass) * batch, batch);
    const bool last = pass + 1 == passes;
    const auto on_ready = [&](std::size_t tensor) {
      const auto of_tensor = slice_of(gradient, tensors_[tensor]);
      if (passes > 1) {
        const auto sum = slice_of(std::span(sum_), tensors_[tensor]);
        for (std::size_t j = 0; j < of_tensor.size(); ++j)
          of_tensor[j] = (sum[j] + of_tensor[j]) / static_cast<float>(passes);
      }
      if (on_final) on_final(tensor);
    };
    loss += last ? replica_->gradient(point, part, gradient, on_ready)
                 : replica_->gradient(point, part, gradient);
    if (!last) {
      for (std::size_t j = 0; j < gradient.size(); ++j)
        sum_[j] = pass == 0 ? gradient[j] : sum_[j] + gradient[j];
    }
  }
  return loss / static_cast<double>(passes);
}

void RankRun::compare_replicas(std::span<const float> point) {
  const std::string own = fmt::format("step {} parameters {}", state_.step, hash_of(point));
  together("comparison", [&](Communicator& communicator) {
    require_equal_everywhere(communicator, own, "the parameters after a step");
  });
}

void RankRun::gather_losses() {
  double loss = 0, count = 0;
  together("loss", [&](Communicator& communicator) {
    ByteWriter writer;
    writer.f64(state_.loss_sum);
    writer.f64(static_cast<double>(state_.losses));
    for (const Bytes& bytes : all_gather(communicator, writer.span())) {
      ByteReader reader(bytes, "losses of a rank");
      loss += reader.f64();
      count += reader.f64();
    }
  });
  training_loss_ = count > 0 ? loss / count : 0;
  state_.loss_sum = 0;
  state_.losses = 0;
}

void RankRun::evaluate(std::span<const float> point) {
  EvaluationRecord record;
  record.step = state_.step;
  if (leads()) record.held_out = replica_->evaluate(point, settings_.evaluate_limit);
  record.training_loss = training_loss_;
  record.sent_bytes = state_.sent_bytes;
  record.seconds = state_.seconds;
  // Steps that are taken again are measured again.
  while (!state_.evaluations.empty() && state_.evaluations.back().step >= state_.step)
    state_.evaluations.pop_back();
  state_.evaluations.push_back(record);
  unshared_ = true;
  if (leads() && listener_.on_evaluation) listener_.on_evaluation(record);
}

void RankRun::share_evaluation() {
  EvaluationRecord shared;
  together("evaluation", [&](Communicator& communicator) {
    ByteWriter writer;
    write_evaluations(writer, {state_.evaluations.back()});
    const Bytes bytes = broadcast(communicator, 0, writer.take());
    ByteReader reader(bytes, "evaluation of rank 0");
    const std::vector<EvaluationRecord> read = read_evaluations(reader);
    if (read.size() != 1) reader.corrupt("not one evaluation");
    shared = read.front();
  });
  state_.evaluations.back() = shared;
  unshared_ = false;
}

bool RankRun::stop_is_wanted(std::int64_t step) {
  if (step < next_question_) return false;
  bool wanted = false;
  std::uint64_t steps = 1;
  const double a_step = std::max(state_.seconds, 1e-9) / static_cast<double>(std::max<std::int64_t>(step, 1));
  const auto own_steps =
      static_cast<std::uint64_t>(std::clamp(1.0 / a_step, 1.0, group_.elastic() ? 10.0 : 100.0));
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

void RankRun::count_bytes() {
  together("bytes", [&](Communicator& communicator) {
    ByteWriter writer;
    writer.u64(state_.sent_bytes);
    result_.all_sent_bytes = 0;
    for (const Bytes& bytes : all_gather(communicator, writer.span()))
      result_.all_sent_bytes += ByteReader(bytes, "bytes of a rank").u64();
  });
}

TrainingResult RankRun::finish(std::span<const float> point, const std::string& exchange) {
  result_.ranks = group_.size();
  result_.steps = state_.step;
  result_.refused = state_.refused;
  result_.parameters = point.size();
  result_.exchange = exchange;
  result_.sent_bytes = state_.sent_bytes;
  result_.dense_bytes = static_cast<std::uint64_t>(dense_bytes(state_.step));
  result_.traffic = group_.traffic();
  result_.seconds = state_.seconds;
  result_.hash = hash_of(point);
  result_.evaluations = std::move(state_.evaluations);
  result_.final_parameters.assign(point.begin(), point.end());
  return std::move(result_);
}

double RankRun::dense_bytes(std::int64_t steps) const {
  const auto ranks = static_cast<double>(group_.size());
  return static_cast<double>(steps) * 2 * (ranks - 1) / ranks * 4 *
         static_cast<double>(layout_size(tensors_));
}

}  // namespace laconic
