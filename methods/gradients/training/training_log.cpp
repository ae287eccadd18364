#include "methods/gradients/training/training_log.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/files.h"

namespace laconic {
namespace {

// JSON has no number for what is not finite.
nlohmann::json number_or_null(double value) {
  return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(nullptr);
}

}  // namespace

struct TrainingLog::State {
  std::filesystem::path path;
  std::FILE* file = nullptr;

  [[noreturn]] void refused(int error) const {
    fail(ErrorKind::io, std::string("cannot be written: ") + std::strerror(error), path.string());
  }
  void line(const nlohmann::json& value) const {
    const std::string text = value.dump() + "\n";
    if (std::fwrite(text.data(), 1, text.size(), file) != text.size() || std::fflush(file) != 0)
      refused(errno);
  }
};

TrainingLog::TrainingLog(std::filesystem::path path) : state_(std::make_unique<State>()) {
  state_->path = std::move(path);
}

TrainingLog::~TrainingLog() {
  if (state_->file != nullptr) std::fclose(state_->file);
}

void TrainingLog::begin(std::int64_t after_step,
                        const std::vector<std::pair<std::string, std::string>>& settings) {
  std::string kept;
  if (after_step > 0 && std::filesystem::exists(state_->path)) {
    const std::string text = read_text_file(state_->path);
    for (std::size_t begin = 0; begin < text.size();) {
      const std::size_t end = text.find('\n', begin);
      if (end == std::string::npos) break;  // a line that a kill cut short
      const auto json = nlohmann::json::parse(text.substr(begin, end - begin), nullptr, false);
      const bool ends = json.is_object() && json.value("event", "") == "end";
      const bool later = json.is_object() && json.contains("step") && json["step"].is_number_integer() &&
                         json["step"].get<std::int64_t>() > after_step;
      if (json.is_object() && !ends && !later) kept += text.substr(begin, end - begin + 1);
      begin = end + 1;
    }
  }
  write_file(state_->path, std::string_view(kept));
  state_->file = std::fopen(state_->path.c_str(), "ab");
  if (state_->file == nullptr) state_->refused(errno);
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

void TrainingLog::evaluation(const EvaluationRecord& record) {
  nlohmann::json line = {{"event", "evaluation"},
                         {"step", record.step},
                         {"loss", number_or_null(record.held_out.loss)},
                         {"training_loss", number_or_null(record.training_loss)},
                         {"bytes_up", record.sent_bytes},
                         {"seconds", record.seconds}};
  if (record.held_out.accuracy) line["accuracy"] = *record.held_out.accuracy;
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
