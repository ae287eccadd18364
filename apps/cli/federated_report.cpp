#include "apps/cli/federated_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "apps/cli/run_report.h"
#include "apps/cli/verb.h"
#include "apps/report/report.h"

namespace laconic::cli {
namespace {

// A round that nobody is left of has no loss.
ChartSeries mean_round_losses(const std::vector<RoundRecord>& rounds) {
  std::vector<std::pair<double, double>> points;
  for (const RoundRecord& round : rounds) {
    if (round.clients > 0) points.emplace_back(static_cast<double>(round.round), round.loss);
  }
  return {"local minibatches", thinned(points)};
}

Chart chart_named(const std::string& title, const std::string& x_label, const std::string& y_label) {
  Chart chart;
  chart.title = title;
  chart.x_label = x_label;
  chart.y_label = y_label;
  return chart;
}

}  // namespace

std::string federated_html(const std::vector<std::pair<std::string, std::string>>& settings,
                           const std::string& unit, int participants, const std::vector<RoundRecord>& rounds,
                           const FederatedResult& result) {
  HtmlReport report("laconic train");
  report.table(settings_table(settings));

  const Evaluation& last = *result.evaluations.back().held_out;
  report.heading("Result");
  std::vector<std::vector<std::string>> outcome = {{"quantity", "value"},
                                                   {"held-out loss", fmt::format("{:.5f} nats", last.loss)}};
  if (last.accuracy) outcome.push_back({"held-out accuracy", fmt::format("{:.2f} %", 100 * *last.accuracy)});
  outcome.push_back({"rounds", std::to_string(result.rounds)});
  outcome.push_back({"refused rounds", std::to_string(result.refused)});
  if (result.resumed_from > 0)
    outcome.push_back({"resumed after round", std::to_string(result.resumed_from)});
  outcome.push_back(
      {"clients, and those with examples", fmt::format("{}, {}", result.clients, result.population)});
  outcome.push_back({"parameters", std::to_string(result.parameters)});
  outcome.push_back({"seconds of rounds", human_seconds(result.seconds)});
  report.table(outcome);

  ChartSeries loss_by_bytes{"held out", {}}, loss_by_round{"held out", {}}, accuracy{"held out", {}};
  for (const RoundRecord& record : result.evaluations) {
    const auto bytes = static_cast<double>(record.total_bytes_up);
    loss_by_bytes.points.emplace_back(bytes, record.held_out->loss);
    loss_by_round.points.emplace_back(static_cast<double>(record.round), record.held_out->loss);
    if (record.held_out->accuracy) accuracy.points.emplace_back(bytes, *record.held_out->accuracy);
  }
  if (!accuracy.points.empty()) {
    report.heading("Accuracy");
    Chart chart = chart_named("accuracy against uplink", "bytes up of all clients", "accuracy");
    chart.series = {accuracy};
    report.chart(chart);
  }
  report.heading("Loss");
  Chart bytes_chart = chart_named("loss against uplink", "bytes up of all clients", loss_label(unit));
  bytes_chart.series = {loss_by_bytes};
  report.chart(bytes_chart);
  Chart rounds_chart = chart_named("loss against rounds", "round", loss_label(unit));
  rounds_chart.series = {mean_round_losses(rounds), loss_by_round};
  report.chart(rounds_chart);

  report.heading("Messages");
  const double client_rounds = static_cast<double>(participants) * static_cast<double>(result.rounds);
  const double dense = 4.0 * static_cast<double>(result.parameters) * client_rounds;
  const auto direction = [&](const std::string& name, std::uint64_t bytes) {
    const auto total = static_cast<double>(bytes);
    return std::vector<std::string>{
        name, human_bytes(bytes),
        human_bytes(static_cast<std::uint64_t>(total / std::max(client_rounds, 1.0))),
        bytes == 0 ? std::string("-") : fmt::format("{:.2f}", dense / total)};
  };
  report.table({{"direction", "of the whole run", "per client and round", "f32 vectors of the model, ratio"},
                direction("up", result.bytes_up),
                direction("down", result.bytes_down)});
  std::int64_t missing = 0, short_rounds = 0;
  for (const RoundRecord& record : rounds) {
    missing += participants - record.clients;
    short_rounds += record.clients < participants;
  }
  if (missing > 0) {
    report.paragraph(
        fmt::format("{} messages of {} rounds did not count: their numbers were not finite, or "
                    "they arrived damaged.",
                    missing, short_rounds));
  }
  return report.html();
}

}  // namespace laconic::cli
