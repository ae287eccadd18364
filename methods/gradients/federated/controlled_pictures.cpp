#include "methods/gradients/federated/controlled_pictures.h"

#include <fmt/format.h>

#include <algorithm>

#include "methods/gradients/federated/comparison_rows.h"
#include "methods/gradients/small_tasks.h"
#include "methods/gradients/training/worker_examples.h"

namespace laconic {
namespace {

using Scale = ReproduceRequest::Scale;

constexpr const char* largest_percent = "outliers(fraction=0.01,dtype=f32)";
constexpr const char* near_full = "at most 1.0 points below SCAFFOLD fp32 after as many rounds";
constexpr const char* above_baseline = "above the baseline's at equal uplink (1 %)";
const std::pair<std::string, std::string> equal_weights = {"weights", "equal"};

class ControlledPictures {
 public:
  ControlledPictures(const ReproduceRequest& request, ArmCache& cache,
                     const std::vector<std::uint64_t>& seeds, Reproduction& result)
      : request_(request), cache_(cache), seeds_(seeds), result_(result) {}

  // As the card has it: 10k examples, 100 clients of two classes, ten a round, a small network.
  void two_classes() {
    const bool quick = request_.scale == Scale::quick;
    const SmallTask small = picture_task(request_, "cnn", quick ? 2000 : 10000, quick ? 1000 : 0, 1,
                                         {{"width", 4}, {"dense", 64}});
    FederatedSettings settings;
    settings.examples_of = worker_examples("labels:2", *small.task, quick ? 20 : 100, request_.seed);
    settings.participants = quick ? 2 : 10;
    settings.rounds = quick ? 10 : 300;
    settings.local_steps = 10;
    settings.batch = 20;
    settings.evaluate_every = settings.rounds / 10;
    settings.evaluate_limit = 2000;
    FederatedTrial trial(cache_, *small.task, settings);
    // The search is over all rounds: what is best in a quarter of them may end in infinities.
    FederatedGrid rates = {{0.01, 0.03, 0.1, 0.2}, {1, 3}, {{}}}, betas = {{0.01, 0.03}, {1, 3}, {{}}};
    if (quick) rates = betas = {{0.03}, {1}, {{}}};
    betas.variants =
        variants_of("beta", quick ? std::vector<std::string>{"0.2"} : std::vector<std::string>{"0.2", "1"});
    const std::string where = fmt::format("{} ({} examples, {} clients of 2 classes, {} a round, {} rounds)",
                                          small.name, small.task->examples(), settings.examples_of.size(),
                                          settings.participants, settings.rounds);
    std::vector<ComparisonRow> rows;
    add(rows, trial, "2 classes, SCAFFOLD fp32", "scaffold", {}, rates);
    add(rows, trial, "2 classes, Fed-EF Top-1%", "fedavg",
        {equal_weights, {"codec", largest_percent}, {"ef", "true"}}, rates);
    add(rows, trial, "2 classes, SCAFCOM Top-1%", "scafcom", {{"codec", largest_percent}}, betas);
    claim(settings, rows[2], rows[0], where + ": SCAFCOM Top-1% against SCAFFOLD fp32", -0.01, near_full);
    claim(settings, rows[2], rows[1], where + ": SCAFCOM Top-1% against Fed-EF Top-1%", 0, above_baseline);
    show(where, rows);
    result_.notes.push_back(
        fmt::format("2 classes a client: {}{}eight combinations of rates and parameters each, tuned on the "
                    "first seed over all rounds",
                    small.note, small.note.empty() ? "" : "; "));
  }

  // 200 uneven clients, a tenth of them a round, by the library's perceptron.
  void uneven(bool scallion) {
    const bool quick = request_.scale == Scale::quick;
    TaskRequest wanted;
    wanted.dataset = "mnist";
    wanted.model = "mlp";
    wanted.data = request_.data;
    wanted.options = {{"width", request_.scale == Scale::full ? 128 : 64}};
    if (quick) wanted.options = {{"width", 64}, {"examples", 4000}, {"test-examples", 2000}};
    const std::unique_ptr<TrainingTask> task = make_training_task(wanted);
    FederatedSettings settings;
    settings.examples_of = worker_examples("dirichlet:0.3", *task, quick ? 50 : 200, request_.seed);
    settings.participants = quick ? 5 : 20;
    settings.rounds = quick ? 20 : request_.scale == Scale::full ? 600 : 200;
    settings.local_steps = 10;
    settings.batch = 20;
    settings.evaluate_every = settings.rounds / 10;
    FederatedTrial trial(cache_, *task, settings);
    const std::string where =
        fmt::format("MNIST ({} examples, {} clients, Dirichlet 0.3, {} a round, {} rounds, perceptron)",
                    task->examples(), settings.examples_of.size(), settings.participants, settings.rounds);
    if (scallion) {
      quantised(trial, settings, where);
    } else {
      largest(trial, settings, where);
    }
  }

 private:
  void largest(FederatedTrial& trial, const FederatedSettings& settings, const std::string& where) {
    // As many combinations for those that have a parameter of their own.
    FederatedGrid rates = {{0.01, 0.03, 0.05, 0.1, 0.2, 0.3}, {1, 3}, {{}}};
    FederatedGrid betas = {{0.05, 0.1}, {1, 3}, {{}}};
    if (request_.scale == Scale::quick) rates = betas = {{0.1}, {1}, {{}}};
    betas.variants =
        variants_of("beta", request_.scale == Scale::quick ? std::vector<std::string>{"0.2"}
                                                           : std::vector<std::string>{"0.2", "0.5", "1"});
    std::vector<ComparisonRow> rows;
    add(rows, trial, "SCAFFOLD fp32", "scaffold", {}, rates);
    add(rows, trial, "FedAvg fp32", "fedavg", {equal_weights}, rates);
    add(rows, trial, "Fed-EF Top-1%", "fedavg", {equal_weights, {"codec", largest_percent}, {"ef", "true"}},
        rates);
    add(rows, trial, "SCAFCOM Top-1%", "scafcom", {{"codec", largest_percent}}, betas);
    add(rows, trial, "FedAvg + Top-1%", "fedavg", {equal_weights, {"codec", largest_percent}}, rates);
    claim(settings, rows[3], rows[0], where + ": SCAFCOM Top-1% against SCAFFOLD fp32", -0.01, near_full);
    claim(settings, rows[3], rows[2], where + ": SCAFCOM Top-1% against Fed-EF Top-1%", 0, above_baseline);
    show(where, rows);
    result_.notes.push_back(
        "200 clients of Dirichlet(0.3): the library's perceptron, a tenth of the clients a round; twelve "
        "combinations of rates and parameters each, tuned on the first seed over all rounds");
  }

  // Numbers that share a norm are few or many: omega falls with the root of the block, and each norm is 32
  // bits more. Of the blocks of an entry the controlled method's is chosen on the first seed; the baseline
  // has it too.
  struct Quantiser {
    int bits = 2;
    std::vector<int> blocks;
    std::vector<std::string> alphas;  // about 1 / (1 + omega) of the blocks, and twice that
    std::vector<double> rates;        // of the baseline, as many as the alphas
  };
  void quantised(FederatedTrial& trial, const FederatedSettings& settings, const std::string& where) {
    const bool quick = request_.scale == Scale::quick;
    std::vector<Quantiser> quantisers = {{2, {64, 2048}, {"0.03", "0.1", "0.2"}, {0.1, 0.2, 0.3}},
                                         {2, {32}, {"0.1", "0.2", "0.3"}, {0.1, 0.2, 0.3}},
                                         {4, {64, 2048}, {"0.15", "0.5"}, {0.1, 0.2}}};
    FederatedGrid rates = {{0.1, 0.2, 0.3}, {1, 3}, {{}}}, alphas = {{0.1}, {1, 3}, {{}}};
    if (quick) {
      rates = alphas = {{0.1}, {1}, {{}}};
      for (Quantiser& quantiser : quantisers) {
        quantiser.alphas = {"0.1"};
        quantiser.rates = {0.1};
      }
    }
    std::vector<ComparisonRow> rows;
    add(rows, trial, "SCAFFOLD fp32", "scaffold", {}, rates);
    const std::vector<std::uint64_t> first = {seeds_.front()};
    for (const Quantiser& quantiser : quantisers) {
      alphas.variants = variants_of("alpha", quantiser.alphas);
      FederatedGrid baseline_rates = rates;
      baseline_rates.local_rates = quantiser.rates;
      struct Pair {
        FederatedArm baseline, own;
        double tail = 0;
      };
      std::vector<Pair> pairs;
      for (const int block : quantiser.blocks) {
        const std::string codec = fmt::format("qsgd(bits={},block={})", quantiser.bits, block);
        const std::string text = fmt::format("QSGD {} bits, block {}", quantiser.bits, block);
        Pair pair{{"MNIST, FedAvg + " + text, "fedavg", {equal_weights, {"codec", codec}}},
                  {"MNIST, SCALLION " + text, "scallion", {{"codec", codec}}}};
        pair.tail = trial.tuned(pair.own, alphas, first).front().at("tail");
        pairs.push_back(pair);
      }
      std::stable_sort(pairs.begin(), pairs.end(),
                       [](const Pair& a, const Pair& b) { return a.tail < b.tail; });
      const std::size_t at = rows.size();
      std::string beside;
      for (std::size_t i = 0; i < pairs.size(); ++i) {
        rows.push_back(tuned_row(trial, pairs[i].baseline, baseline_rates, i == 0 ? seeds_ : first));
        rows.push_back(tuned_row(trial, pairs[i].own, alphas, i == 0 ? seeds_ : first));
        if (i > 0) {
          beside +=
              fmt::format("; with the other block, first seed: {:.4f} against {:.4f}",
                          mean_of(rows[at + 2 * i + 1], "accuracy"), mean_of(rows[at + 2 * i], "accuracy"));
        }
      }
      const std::string own = pairs[0].own.name.substr(7), baseline = pairs[0].baseline.name.substr(7);
      claim(settings, rows[at + 1], rows[0], where + ": " + own + " against SCAFFOLD fp32", -0.01, near_full,
            beside);
      claim(settings, rows[at + 1], rows[at], where + ": " + own + " against " + baseline, 0, above_baseline,
            beside);
    }
    show(where, rows);
    result_.notes.push_back(
        "200 clients of Dirichlet(0.3): the library's perceptron, a tenth of the clients a round; rates and "
        "parameters for each method and block, six combinations (four with 4 bits), tuned on the first seed "
        "over all rounds");
  }

  void add(std::vector<ComparisonRow>& rows, FederatedTrial& trial, const std::string& name,
           const std::string& method, const FederatedParameters& parameters,
           const FederatedGrid& grid) const {
    rows.push_back(tuned_row(trial, {"MNIST, " + name, method, parameters}, grid, seeds_));
  }

  void claim(const FederatedSettings& settings, const ComparisonRow& own, const ComparisonRow& baseline,
             const std::string& what, double least, const std::string& threshold,
             const std::string& beside = {}) {
    const double heard = static_cast<double>(settings.rounds * settings.participants) /
                         static_cast<double>(settings.examples_of.size());
    Claim claim = accuracy_claim(own, baseline, what, least, threshold, heard);
    claim.note += beside;
    result_.claims.push_back(std::move(claim));
  }

  void show(const std::string& where, const std::vector<ComparisonRow>& rows) {
    result_.tables.push_back(accuracy_table(where, rows));
    for (ReproductionCurve& curve :
         curves_of(where + ": accuracy against uplink", rows, "accuracy", "accuracy"))
      result_.curves.push_back(std::move(curve));
  }

  const ReproduceRequest& request_;
  ArmCache& cache_;
  const std::vector<std::uint64_t>& seeds_;
  Reproduction& result_;
};

}  // namespace

void controlled_pictures(const ReproduceRequest& request, ArmCache& cache,
                         const std::vector<std::uint64_t>& seeds, bool scallion, Reproduction& result) {
  if (request.data.empty()) {
    result.notes.push_back("MNIST is left out: there is no data directory");
    return;
  }
  ControlledPictures pictures(request, cache, seeds, result);
  if (!scallion) pictures.two_classes();
  pictures.uneven(scallion);
}

}  // namespace laconic
