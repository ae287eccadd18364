#include "methods/gradients/federated/controlled_convex.h"

#include <fmt/format.h>

#include <algorithm>

#include "methods/gradients/federated/comparison_rows.h"
#include "methods/gradients/federated/convex_clients.h"
#include "methods/gradients/problems/convex_set.h"

namespace laconic {
namespace {

using Scale = ReproduceRequest::Scale;

constexpr int convex_clients = 80, convex_participants = 10;
constexpr std::int64_t whole_client = std::int64_t{1} << 40;  // a batch of all that it has

}  // namespace

void controlled_convex(const ReproduceRequest& request, ArmCache& cache,
                       const std::vector<std::uint64_t>& seeds, bool scallion, Reproduction& result) {
  const bool quick = request.scale == Scale::quick;
  const std::vector<std::string> sets =
      quick ? std::vector<std::string>{"a9a"} : std::vector<std::string>{"a9a", "w8a"};
  for (const std::string& set : sets) {
    std::optional<ConvexSet> read = read_convex_set(request.data, set);
    if (!read) {
      result.notes.push_back(set + " is left out: it is not in the data directory");
      continue;
    }
    const ConvexClients task(std::move(read->examples), set, convex_clients, 1e-3);
    for (const std::int64_t batch : {whole_client, std::int64_t{20}}) {
      const bool exact = batch == whole_client;
      if (exact && (quick || (set != "a9a" && request.scale != Scale::full))) continue;
      FederatedSettings settings;
      settings.examples_of = task.examples_of();
      settings.participants = convex_participants;
      settings.rounds = quick ? 100 : request.scale == Scale::full ? 3000 : exact ? 300 : 1500;
      settings.local_steps = 10;
      settings.batch = batch;
      settings.evaluate_every = std::max<std::int64_t>(1, settings.rounds / 20);
      FederatedTrial trial(cache, task, settings);
      FederatedGrid plain = {{1, 0.3, 0.1, 0.03}, {0.1, 0.3, 1}, {{}}}, own = plain;
      if (quick) plain = own = {{0.3, 0.03}, {1}, {{}}};
      const std::string suffix =
          fmt::format(", {}{}", set, exact ? ", full gradients" : fmt::format(", batch {}", batch));
      const FederatedParameters equal = {{"weights", "equal"}};
      std::vector<ComparisonRow> rows;
      const auto add = [&](const std::string& name, const std::string& method,
                           const FederatedParameters& parameters, const FederatedGrid& grid) {
        rows.push_back(tuned_row(trial, {name + suffix, method, parameters}, grid, seeds));
      };
      add("SCAFFOLD fp32", "scaffold", {}, plain);
      std::string what;
      if (scallion) {
        own.variants = variants_of(
            "alpha", quick ? std::vector<std::string>{"0.1"} : std::vector<std::string>{"0.1", "0.3"});
        add("FedAvg + 1-level QSGD", "fedavg", {equal[0], {"codec", "qsgd(bits=2)"}}, plain);
        add("SCALLION 1-level QSGD", "scallion", {{"codec", "qsgd(bits=2)"}}, own);
        what = "SCALLION 1-level against FedAvg with 1-level QSGD";
      } else {
        const std::string largest = "outliers(fraction=0.05,dtype=f32)";
        own.variants = variants_of(
            "beta", quick ? std::vector<std::string>{"0.2"} : std::vector<std::string>{"0.2", "1"});
        add("Fed-EF Top-5%", "fedavg", {equal[0], {"codec", largest}, {"ef", "true"}}, plain);
        add("SCAFCOM Top-5%", "scafcom", {{"codec", largest}}, own);
        what = "SCAFCOM Top-5% against Fed-EF Top-5%";
      }
      Claim claim = gap_claim(
          rows[2], rows[1],
          fmt::format("{}{}, {} clients by label, {} rounds", what, suffix, convex_clients, settings.rounds),
          "converges where the baseline stalls (convex, curves only)");
      const double full = mean_of(rows[0], "tail");
      claim.note += fmt::format("; SCAFFOLD fp32 is at {} after as many rounds", gap_text(full));
      if (!claim.met && full > 0.1 * claim.baseline_value)
        claim.note += ": nothing is left to separate the methods by a factor of ten";
      result.claims.push_back(std::move(claim));
      result.tables.push_back(gap_table(
          fmt::format("training gap (f - f*) / (f(0) - f*) of logistic regression{} ({} clients sorted by "
                      "label, {} a round, {} rounds of 10 local steps)",
                      suffix, convex_clients, convex_participants, settings.rounds),
          rows));
      for (ReproductionCurve& curve : curves_of("logistic regression" + suffix, rows, "loss", "relative gap"))
        result.curves.push_back(std::move(curve));
    }
  }
}

}  // namespace laconic
