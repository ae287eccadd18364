#include "apps/cli/training_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/cli/run_report.h"
#include "apps/cli/verb.h"
#include "apps/report/report.h"

namespace laconic::cli {
namespace {

Chart curve_chart(const std::string& title, const std::string& x_label, const std::string& unit) {
  Chart chart;
  chart.title = title;
  chart.x_label = x_label;
  chart.y_label = loss_label(unit);
  return chart;
}

}  // namespace

std::string accuracy_text(const Evaluation& held_out) {
  std::string text = fmt::format("{:.2f} %", 100 * held_out.accuracy.value());
  if (held_out.clean_accuracy)
    text += fmt::format(" under attack, {:.2f} % without", 100 * *held_out.clean_accuracy);
  return text;
}

std::string training_html(const std::vector<std::pair<std::string, std::string>>& settings,
                          const std::string& unit, const std::vector<StepRecord>& steps,
                          const TrainingResult& result) {
  HtmlReport report("laconic train");
  report.table(settings_table(settings));

  const EvaluationRecord& last = result.evaluations.back();
  report.heading("Result");
  std::vector<std::vector<std::string>> outcome = {
      {"quantity", "value"}, {"held-out loss", fmt::format("{:.5f} nats", last.held_out.loss)}};
  if (last.held_out.accuracy) outcome.push_back({"held-out accuracy", accuracy_text(last.held_out)});
  outcome.push_back({"sent by worker 0", human_bytes(result.sent_bytes)});
  outcome.push_back({"sent by all workers", human_bytes(result.all_sent_bytes)});
  outcome.push_back({"a ring all-reduce in f32 would have sent", human_bytes(result.dense_bytes)});
  if (result.sent_bytes > 0) {
    outcome.push_back({"ratio", fmt::format("{:.2f}", static_cast<double>(result.dense_bytes) /
                                                          static_cast<double>(result.sent_bytes))});
  }
  outcome.push_back({"seconds of steps", human_seconds(result.seconds)});
  outcome.push_back({"refused steps", std::to_string(result.refused)});
  report.table(outcome);

  std::vector<std::pair<double, double>> bytes_points, time_points;
  double bytes = 0, elapsed = 0;
  for (const StepRecord& step : steps) {
    bytes += static_cast<double>(step.sent_bytes);
    elapsed += step.total;
    bytes_points.emplace_back(bytes, step.loss);
    time_points.emplace_back(elapsed, step.loss);
  }
  const ChartSeries by_bytes{"training", thinned(bytes_points)}, by_time{"training", thinned(time_points)};
  ChartSeries held_bytes{"held out", {}}, held_time{"held out", {}};
  for (const EvaluationRecord& record : result.evaluations) {
    held_bytes.points.emplace_back(static_cast<double>(record.sent_bytes), record.held_out.loss);
    held_time.points.emplace_back(record.seconds, record.held_out.loss);
  }
  report.heading("Loss");
  Chart bytes_chart = curve_chart("loss against bytes", "bytes sent by worker 0", unit);
  bytes_chart.series = {by_bytes, held_bytes};
  report.chart(bytes_chart);
  Chart time_chart = curve_chart("loss against time", "seconds", unit);
  time_chart.series = {by_time, held_time};
  report.chart(time_chart);

  report.heading("Where the time went");
  const double total = std::max(result.seconds, 1e-9);
  const auto share = [&](double seconds) {
    return fmt::format("{:.2f} s ({:.1f} %)", seconds, 100 * seconds / total);
  };
  report.table({{"part", "time"},
                {"backward passes", share(result.compute)},
                {"encoding (beside the backward pass where they overlap)", share(result.encode)},
                {"decoding", share(result.decode)},
                {"waiting for the exchange", share(result.wait)}});

  if (!result.timeline.empty()) {
    report.heading("Timeline of the last step");
    double begin = result.timeline.front().begin;
    for (const TimelineSpan& span : result.timeline) begin = std::min(begin, span.begin);
    std::vector<std::vector<std::string>> spans = {{"what", "begins, ms", "ends, ms"}};
    for (const TimelineSpan& span : result.timeline) {
      spans.push_back({span.name, fmt::format("{:.3f}", 1e3 * (span.begin - begin)),
                       fmt::format("{:.3f}", 1e3 * (span.end - begin))});
    }
    report.table(spans);
    report.paragraph("Exchanges that begin before the backward pass ends run beside it.");
  }
  return report.html();
}

}  // namespace laconic::cli
