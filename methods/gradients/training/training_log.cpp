#include "methods/gradients/training/training_log.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "methods/gradients/training/json_lines.h"

namespace laconic {
namespace {

// JSON has no number for what is not finite.
nlohmann::json number_or_null(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

}  // namespace

struct TrainingLog::State {
  JsonLines lines;
  void line(const nlohmann::json& value) { lines.line(value); }
};

TrainingLog::TrainingLog(std::filesystem::path path)
    : state_(std::make_unique<State>(State{JsonLines(std::move(path), "step")})) {}

TrainingLog::~TrainingLog() = default;

void TrainingLog::begin(std::int64_t after_step,
                        const std::vector<std::pair<std::string, std::string>>& settings) {
  state_->lines.begin(after_step);
  nlohmann::json run = {{"event", "run"}, {"after_step", after_step}};
  for (const auto& [name, value] : settings) run[name] = value;
  state_->line(run);
}

void TrainingLog::step(const StepRecord& record) {
  state_->line({{"event", "step"},
                {"step", record.step},
                {"loss", number_or_null(record.loss)},
                {"rate", record.rate},
                {"accepted", record.accepted},
                {"bytes_up", record.sent_bytes},
                {"bytes_down", record.received_bytes},
                {"seconds",
                 {{"compute", record.compute},
                  {"encode", record.encode},
                  {"decode", record.decode},
                  {"wait", record.wait},
                  {"total", record.total}}}});
}

void TrainingLog::round(const LocalRoundRecord& record) {
  state_->line({{"event", "round"},
                {"round", record.round},
                {"step", record.step},
                {"tau", record.tau},
                {"rate", record.rate},
                {"accepted", record.accepted},
                {"gap", record.gap},
                {"largest", record.largest},
                {"pressure", record.pressure > 0 ? nlohmann::json(record.pressure) : nlohmann::json(nullptr)},
                {"bytes_up", record.sent_bytes},
                {"seconds", {{"wait", record.wait}, {"reduce", record.reduce}}}});
}

void TrainingLog::evaluation(const EvaluationRecord& record) {
  nlohmann::json line = {{"event", "evaluation"},
                         {"step", record.step},
                         {"loss", number_or_null(record.held_out.loss)},
                         {"training_loss", number_or_null(record.training_loss)},
                         {"bytes_up", record.sent_bytes},
                         {"seconds", record.seconds}};
  if (record.held_out.accuracy) line["accuracy"] = *record.held_out.accuracy;
  if (record.held_out.clean_accuracy) line["clean_accuracy"] = *record.held_out.clean_accuracy;
  state_->line(line);
}

void TrainingLog::end(const TrainingResult& result) {
  state_->line({{"event", "end"},
                {"steps", result.steps},
                {"refused", result.refused},
                {"bytes_up", result.sent_bytes},
                {"bytes_up_all_workers", result.all_sent_bytes},
                {"dense_bytes", result.dense_bytes},
                {"seconds", result.seconds},
                {"hash", result.hash}});
}

}  // namespace laconic
