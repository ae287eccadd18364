#include "methods/gradients/training/rank_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/base/hash.h"
#include "engine/tensor/dtype.h"
#include "engine/transport/collectives.h"
#include "methods/gradients/training/worker_examples.h"

namespace laconic {
namespace {

std::string hash_of(std::span<const float> numbers) { return to_hex(xxh3_128(std::as_bytes(numbers))); }

double norm_of(std::span<const float> numbers) {
  double sum = 0;
  for (const float value : numbers) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

ExampleOrder order_of(const TrainingTask& task, const TrainingSettings& settings,
                      const CommunicationThread& thread) {
  const std::int64_t per_step = settings.batch * settings.accumulate;
  if (settings.examples_of.empty())
    return ExampleOrder(task.examples(), thread.size(), thread.rank(), per_step, settings.seed);
  return ExampleOrder(settings.examples_of[static_cast<std::size_t>(thread.rank())], thread.rank(), per_step,
                      settings.seed);
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

RankRun::RankRun(const TrainingTask& task, const TrainingSettings& settings, CommunicationThread& thread,
                 const TrainingListener& listener)
    : task_(task),
      settings_(settings),
      thread_(thread),
      listener_(listener),
      leads_(thread.rank() == 0),
      tensors_(task.parameters()),
      order_(order_of(task, settings, thread)),
      replica_(task.replica()),
      progress_(leads_ ? listener.progress : ProgressListener()) {
  state_.parameters = task.initial(settings.seed);
}

ExchangeRequest RankRun::exchange_request() const {
  ExchangeRequest request;
  request.tensors = tensors_;
  request.parameters = settings_.parameters;
  request.optimizer = settings_.optimizer;
  request.ranks = thread_.size();
  request.rank = thread_.rank();
  request.seed = settings_.seed;
  request.steps = static_cast<std::uint64_t>(settings_.steps);
  request.steps_per_epoch = static_cast<std::uint64_t>(order_.steps_per_epoch());
  request.bucket_bytes = settings_.bucket_bytes;
  if (leads_) request.message = listener_.message;
  return request;
}

std::string RankRun::settings_text(const std::string& lines) const {
  return fmt::format(
      "task {}\n{}\n{}\nworkers {}\nbatch {} times {}\nclip {} {}\nbf16 {}\nseed {}\npartition {}\nbuckets "
      "{}\n{}",
      task_.text(), lines, settings_.rate.text(), thread_.size(), settings_.batch, settings_.accumulate,
      settings_.clip, settings_.clip_where == TrainingSettings::Clip::before ? "before" : "after",
      settings_.bf16_gradients, settings_.seed,
      settings_.examples_of.empty() ? std::string("none") : partition_hash(settings_.examples_of),
      settings_.bucket_bytes, layout_text(tensors_));
}

void RankRun::handshake(const std::string& text) {
  thread_.run("handshake", [&](Communicator& communicator) {
    // Steps differ between ranks by their slowest; only what is dead stays silent for so long.
    communicator.set_timeout(std::max(communicator.timeout(), 1800.0));
    require_equal_everywhere(communicator, text, "the settings of the run");
  });
}

double RankRun::mean_gradient(std::int64_t step, std::span<const float> point, std::span<float> gradient,
                              const std::function<void(std::size_t tensor)>& on_final) {
  const std::vector<std::int64_t> examples = order_.of_step(step);
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
  thread_.run("comparison", [&](Communicator& communicator) {
    require_equal_everywhere(communicator, own, "the parameters after a step");
  });
}

void RankRun::gather_losses() {
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
  training_loss_ = count > 0 ? loss / count : 0;
  state_.loss_sum = 0;
  state_.losses = 0;
}

void RankRun::evaluate(std::span<const float> point) {
  EvaluationRecord record;
  record.step = state_.step;
  if (leads_) record.held_out = replica_->evaluate(point, settings_.evaluate_limit);
  record.training_loss = training_loss_;
  record.sent_bytes = state_.sent_bytes;
  record.seconds = state_.seconds;
  state_.evaluations.push_back(record);
  if (leads_ && listener_.on_evaluation) listener_.on_evaluation(record);
}

bool RankRun::stop_is_wanted(std::int64_t step) {
  if (step < next_question_) return false;
  bool wanted = false;
  std::uint64_t steps = 1;
  const double a_step = std::max(state_.seconds, 1e-9) / static_cast<double>(std::max<std::int64_t>(step, 1));
  const auto own_steps = static_cast<std::uint64_t>(std::clamp(1.0 / a_step, 1.0, 100.0));
  thread_.run("question", [&](Communicator& communicator) {
    const Agreement agreement = agree(communicator, interrupt_requested() ? 0 : own_steps);
    wanted = agreement.least == 0;
    steps = std::max<std::uint64_t>(agreement.least, 1);
  });
  next_question_ = step + static_cast<std::int64_t>(steps);
  return wanted;
}

TrainingResult RankRun::finish(std::span<const float> point, const std::string& exchange) {
  result_.ranks = thread_.size();
  result_.steps = state_.step;
  result_.refused = state_.refused;
  result_.parameters = point.size();
  result_.exchange = exchange;
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
  result_.hash = hash_of(point);
  result_.evaluations = std::move(state_.evaluations);
  result_.final_parameters.assign(point.begin(), point.end());
  return std::move(result_);
}

double RankRun::dense_bytes(std::int64_t steps) const {
  const auto ranks = static_cast<double>(thread_.size());
  return static_cast<double>(steps) * 2 * (ranks - 1) / ranks * 4 *
         static_cast<double>(layout_size(tensors_));
}

}  // namespace laconic
