#include "methods/gradients/fedzip/reproduce.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/codec/composition.h"
#include "engine/codec/label_stream.h"
#include "methods/gradients/federated/federated_trial.h"
#include "methods/gradients/gradient_method.h"
#include "methods/gradients/small_tasks.h"
#include "methods/gradients/training/training_trial.h"
#include "methods/gradients/training/worker_examples.h"

namespace laconic::fedzip {
namespace {

using Scale = ReproduceRequest::Scale;
using Arms = std::vector<ArmNumbers>;  // one per seed

std::vector<float> drawn_layer(const std::string& law, std::size_t count, std::uint64_t seed) {
  const RandomStream random(seed, "fedzip layer", law);
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (law == "Gaussian") {
      values[i] = random.gaussian_at(i);
      continue;
    }
    const double u = static_cast<double>(random.uniform_at(i)) + 0x1p-25 - 0.5;
    values[i] = static_cast<float>((u < 0 ? 1 : -1) * std::log(1 - 2 * std::abs(u)));
  }
  return values;
}

// Labels of a decoded layer: its distinct values in ascending order.
std::vector<std::uint8_t> labels_of(std::span<const float> decoded) {
  std::vector<float> centres;
  for (const float value : decoded) {
    if (std::find(centres.begin(), centres.end(), value) == centres.end()) centres.push_back(value);
  }
  std::sort(centres.begin(), centres.end());
  std::vector<std::uint8_t> labels;
  for (const float value : decoded) {
    labels.push_back(
        static_cast<std::uint8_t>(std::lower_bound(centres.begin(), centres.end(), value) - centres.begin()));
  }
  return labels;
}

struct Layer {
  std::vector<float> values;
  double prune = 0;
};

// f32 bytes over bytes of all layers together: of real frames by form, of what the paper's accounting gives,
// and of the entropy of the labels; three centres a layer in each.
ArmNumbers measured_layers(const std::vector<Layer>& layers, const std::string& settings,
                           std::uint64_t seed) {
  std::map<std::string, double> bits;
  double dense = 0, error = 0, energy = 0;
  for (std::size_t l = 0; l < layers.size(); ++l) {
    const std::vector<float>& values = layers[l].values;
    const std::size_t count = values.size();
    dense += 32.0 * static_cast<double>(count);
    const Tensor tensor = Tensor::from_f32({static_cast<std::int64_t>(count)}, values);
    EncodeContext context;
    context.seed = seed;
    std::vector<std::uint8_t> labels;
    for (const std::string form : {"huffman", "positions", "gaps", "rice", "rans", "smallest"}) {
      const auto codec =
          parse_codec(fmt::format("kmeans(prune={}{},form={})", layers[l].prune, settings, form));
      const Bytes frame = to_frame(codec->encode(tensor.view(), context));
      const Tensor decoded = decode_payload(parse_frame(frame, "layer"));
      bits["ratio." + form] += 8 * static_cast<double>(frame.size());
      if (form != "smallest") continue;
      for (std::size_t i = 0; i < count; ++i) {
        const double difference = static_cast<double>(values[i]) - decoded.f32()[i];
        error += difference * difference;
        energy += static_cast<double>(values[i]) * values[i];
      }
      labels = labels_of(decoded.f32());
    }
    const PaperLabelBits paper = paper_label_bits(labels, 3);
    bits["paper.huffman"] += static_cast<double>(paper.huffman + 96);
    bits["paper.positions"] += static_cast<double>(paper.positions + 96);
    bits["paper.gaps"] += static_cast<double>(paper.gaps + 96);
    bits["entropy"] += 96;
    for (std::uint8_t label = 0; label < 3; ++label) {
      const auto times = static_cast<double>(std::count(labels.begin(), labels.end(), label));
      if (times > 0) bits["entropy"] -= times * std::log2(times / static_cast<double>(count));
    }
  }
  ArmNumbers numbers = {{"error", error / energy}};
  for (const auto& [name, of_all] : bits) numbers[name] = dense / of_all;
  return numbers;
}

ArmNumbers measured_layer(const std::string& law, double prune, std::size_t count, std::uint64_t seed) {
  return measured_layers({{drawn_layer(law, count, seed), prune}}, "", seed);
}

// The update of a client after an epoch of plain SGD from the initial point, layer by layer; biases are not
// pruned.
std::vector<Layer> first_update(const TrainingTask& task, const std::vector<std::int64_t>& examples,
                                std::int64_t batch, double rate, double prune, std::uint64_t seed) {
  const std::unique_ptr<TrainingReplica> replica = task.replica();
  const std::vector<float> initial = task.initial(seed);
  std::vector<float> point = initial, gradient(point.size());
  const auto step = static_cast<std::size_t>(batch);
  for (std::size_t i = 0; i + step <= examples.size(); i += step) {
    replica->gradient(point, std::span(examples).subspan(i, step), gradient);
    for (std::size_t j = 0; j < point.size(); ++j) point[j] -= static_cast<float>(rate) * gradient[j];
  }
  for (std::size_t j = 0; j < point.size(); ++j) point[j] -= initial[j];
  std::vector<Layer> layers;
  for (const TensorSlice& tensor : task.parameters()) {
    const auto values = slice_of(std::span<const float>(point), tensor);
    const bool bias = tensor.name.find("bias") != std::string::npos;
    layers.push_back({std::vector<float>(values.begin(), values.end()), bias ? 0 : prune});
  }
  return layers;
}

class FedzipReproduction {
 public:
  explicit FedzipReproduction(const ReproduceRequest& request)
      : request_(request), cache_(request.cache, request.on_arm), seeds_(training_seeds(request)) {
    result_.slug = "fedzip";
    result_.seed = request.seed;
  }

  Reproduction run() {
    sizes();
    pictures();
    result_.arms = cache_.records();
    return std::move(result_);
  }

 private:
  bool quick() const { return request_.scale == Scale::quick; }

  static std::vector<std::string> size_header(const std::string& first) {
    return {first,     "huffman",       "positions",       "gaps",       "rice",         "rans",
            "entropy", "paper huffman", "paper positions", "paper gaps", "squared error"};
  }
  static std::vector<std::string> size_row(const std::string& name, const ArmNumbers& numbers) {
    std::vector<std::string> row = {name};
    for (const char* number : {"ratio.huffman", "ratio.positions", "ratio.gaps", "ratio.rice", "ratio.rans",
                               "entropy", "paper.huffman", "paper.positions", "paper.gaps"})
      row.push_back(fmt::format("{:.1f}", numbers.at(number)));
    row.push_back(fmt::format("{:.2f}", numbers.at("error")));
    return row;
  }

  void sizes() {
    constexpr std::size_t count = 1'000'000;
    ReproductionTable table;
    table.title = fmt::format("one layer of {} numbers: f32 bytes over bytes, frames decoded", count);
    table.rows.push_back(size_header("layer, kept"));
    table.rows.front().push_back("card: gaps as published, gamma, rice, error");
    double worst_rice = 0, worst_huffman = 0;
    const std::vector<std::tuple<std::string, double, std::string>> rows = {
        {"Gaussian", 0.8, "47.7, 28.0, 34.1, .38"},
        {"Laplace", 0.8, "49.4, 29.0, 35.5, .33"},
        {"Gaussian", 0.99, "435, 234, 351, .92"},
        {"Laplace", 0.99, "434, 233, 351, .84"}};
    double published = 0, decodable = 0;
    for (const auto& [law, prune, card] : rows) {
      const ArmNumbers n = cache_.arm(
          fmt::format("{} layer, {}% kept", law, std::round(100 * (1 - prune))),
          fmt::format("fedzip layer 2\n{} {} of {}, seed {}", law, prune, count, request_.seed),
          [&, law = law, prune = prune] { return measured_layer(law, prune, count, request_.seed); });
      table.rows.push_back(size_row(fmt::format("{}, {:.0f}%", law, 100 * (1 - prune)), n));
      table.rows.back().push_back(card);
      worst_rice = std::max(worst_rice, n.at("entropy") / n.at("ratio.rice") - 1);
      worst_huffman = std::max(worst_huffman, n.at("ratio.huffman"));
      published = std::max(published, n.at("paper.gaps"));
      decodable = std::max(decodable, n.at("ratio.smallest"));
    }
    result_.tables.push_back(std::move(table));
    Claim rice;
    rice.claim = "a stream that decodes comes close to the entropy of the labels";
    rice.paper = "1085x, by adding bit lengths that cannot be parted again";
    rice.baseline_name = "entropy of the labels";
    rice.measured_value = worst_rice;
    rice.threshold = "Rice within 2 % of the entropy for Gaussian and Laplace layers, 20 % and 1 % kept";
    rice.met = worst_rice <= 0.02;
    rice.note = fmt::format("worst of four; largest ratio as published {:.0f}x, decodable {:.0f}x", published,
                            decodable);
    result_.claims.push_back(std::move(rice));
    Claim huffman;
    huffman.claim = "Huffman codes of the labels alone";
    huffman.paper = "part of up to 1085x";
    huffman.baseline_name = "one bit an element";
    huffman.baseline_value = 32;
    huffman.measured_value = worst_huffman;
    huffman.threshold = "never over 32x";
    huffman.met = worst_huffman <= 32;
    result_.claims.push_back(std::move(huffman));
  }

  struct Row {
    std::string name;
    Arms arms;
  };
  static double mean(const Row& row, const std::string& name) { return spread_of(row.arms, name).mean; }

  void pictures() {
    if (request_.data.empty()) {
      result_.notes.push_back("MNIST is left out: there is no data directory");
      return;
    }
    TaskRequest wanted;
    wanted.dataset = "mnist";
    wanted.model = "mlp";
    wanted.data = request_.data;
    wanted.options = {{"examples", quick() ? 2000 : 10000}, {"test-examples", quick() ? 1000 : 10000}};
    const std::unique_ptr<TrainingTask> task = make_training_task(wanted);
    FederatedSettings settings;
    settings.examples_of = worker_examples("iid", *task, 10, request_.seed);
    settings.participants = 10;
    settings.rounds = quick() ? 9 : 30;
    settings.batch = 10;
    settings.local_steps = std::max<std::int64_t>(1, task->examples() / 10 / settings.batch);  // one epoch
    settings.evaluate_every = settings.rounds / 3 / (quick() ? 3 : 10);
    FederatedTrial trial(cache_, *task, settings);
    const FederatedGrid rates =
        quick() ? FederatedGrid{{0.1}, {1}, {{}}} : FederatedGrid{{0.03, 0.1, 0.3}, {1}, {{}}};
    std::vector<Row> rows;
    const auto add = [&](const std::string& name, const std::string& method,
                         const FederatedParameters& parameters) {
      rows.push_back({name, trial.tuned({"MNIST, " + name, method, parameters}, rates, seeds_)});
    };
    const std::string top1 = "outliers(fraction=0.01,dtype=f32)";
    add("FedAvg fp32", "fedavg", {});
    add("FedZip 20%", "fedzip", {});
    add("FedZip 1%", "fedzip", {{"prune", "0.99"}});
    add("FedZip 1%, error feedback", "fedzip", {{"prune", "0.99"}, {"ef", "true"}});
    add("Top-1% f32", "fedavg", {{"codec", top1}, {"scope", "tensor"}});
    add("Top-1% f32, error feedback", "fedavg", {{"codec", top1}, {"scope", "tensor"}, {"ef", "true"}});
    add("QSGD 8 bits", "fedavg", {{"codec", "qsgd(bits=8)"}, {"scope", "tensor"}});
    const Row& dense = rows[0];
    // Of the fp32 messages, which carry the same headers.
    const auto ratio = [&](const Row& row) { return mean(dense, "bytes_up") / mean(row, "bytes_up"); };
    const auto loss = [&](const Row& row) { return 100 * (mean(dense, "accuracy") - mean(row, "accuracy")); };
    const std::size_t early_index = dense.arms.front().count("curve.9.accuracy") > 0 ? 9 : 2;
    const std::string early = fmt::format("curve.{}.accuracy", early_index);
    const auto early_loss = [&](const Row& row) { return 100 * (mean(dense, early) - mean(row, early)); };
    const std::string where = fmt::format("MNIST ({} examples, 10 clients, {} rounds, perceptron)",
                                          task->examples(), settings.rounds);
    const auto claim_of = [&](const Row& row, const std::string& threshold, bool met,
                              const std::string& note) {
      Claim claim;
      claim.claim = where + ": " + row.name + " against FedAvg, accuracy at real uplink bytes";
      claim.paper = "up to 1085x with accuracy close to FedAvg";
      claim.baseline_name = dense.name;
      claim.baseline_value = mean(dense, "accuracy");
      claim.baseline_bytes = static_cast<std::uint64_t>(std::llround(mean(dense, "bytes_up")));
      claim.measured_value = mean(row, "accuracy");
      claim.measured_bytes = static_cast<std::uint64_t>(std::llround(mean(row, "bytes_up")));
      claim.threshold = threshold;
      claim.met = met;
      claim.note = fmt::format("{:.1f}x, {:.2f} points below, {:.2f} after a third of the rounds; {} seeds{}",
                               ratio(row), loss(row), early_loss(row), seeds_.size(), note);
      result_.claims.push_back(std::move(claim));
    };
    claim_of(rows[1], "at least 30x at a loss of at most 1.0 points",
             ratio(rows[1]) >= 30 && loss(rows[1]) <= 1, "");
    claim_of(rows[2], "at least 300x, with a loss of at least 2 points early",
             ratio(rows[2]) >= 300 && early_loss(rows[2]) >= 2, "; early is a third of the rounds");
    claim_of(rows[3], "at least 300x at a loss of at most 1.0 points in the end",
             ratio(rows[3]) >= 300 && loss(rows[3]) <= 1, "");
    ReproductionTable table;
    table.title = where + ": accuracy against real uplink";
    table.rows.push_back({"method", "accuracy", "early", "loss", "MB up", "ratio", "local rate"});
    for (const Row& row : rows) {
      table.rows.push_back({row.name, spread_text(spread_of(row.arms, "accuracy"), row.arms.size(), 4),
                            fmt::format("{:.4f}", mean(row, early)), fmt::format("{:.4f}", mean(row, "loss")),
                            fmt::format("{:.4g}", mean(row, "bytes_up") / 1e6),
                            fmt::format("{:.1f}", ratio(row)),
                            fmt::format("{}", row.arms.front().at("local_rate"))});
      ReproductionCurve curve;
      curve.chart = "MNIST: accuracy against uplink";
      curve.name = row.name;
      curve.x_label = "bytes up";
      curve.y_label = "accuracy";
      curve.points = curve_of(row.arms, "accuracy");
      result_.curves.push_back(std::move(curve));
    }
    result_.tables.push_back(std::move(table));
    update_sizes(*task, settings);
    as_published(trial, where);
    ablations(trial);
    result_.notes.push_back(
        "MNIST: the library's perceptron in place of the card's convolutional network, an epoch of plain SGD "
        "in "
        "batches of 10 a round, local rates tuned over 0.03, 0.1, 0.3 on the first seed, server rate 1");
  }

  // What the three encodings are said to cost, beside real bytes, for an update that training made.
  void update_sizes(const TrainingTask& task, const FederatedSettings& settings) {
    ReproductionTable table;
    table.title = "the first update of a client: f32 bytes over bytes, frames decoded, all layers";
    table.rows.push_back(size_header("kept"));
    for (const auto& [kept, prune] : {std::pair{"20%", 0.8}, std::pair{"1%", 0.99}}) {
      for (const auto& [form, parameters] :
           {std::pair{"", ""}, std::pair{", as the public code", ",pin=false,keep-ties=true"}}) {
        const ArmNumbers numbers = cache_.arm(
            fmt::format("sizes of an update, {}{}", kept, form),
            fmt::format("fedzip update 1\n{}\n{} {}{}\nbatch {}, rate 0.1, seed {}", task.text(),
                        partition_hash(settings.examples_of), prune, parameters, settings.batch,
                        request_.seed),
            [&, prune = prune, parameters = parameters] {
              return measured_layers(
                  first_update(task, settings.examples_of.front(), settings.batch, 0.1, prune, request_.seed),
                  parameters, request_.seed);
            });
        table.rows.push_back(size_row(std::string(kept) + form, numbers));
      }
    }
    result_.tables.push_back(std::move(table));
  }

  // RMSprop on the clients at the published rate; the published server moves by a tenth, federated averaging
  // by the whole mean.
  void as_published(FederatedTrial& trial, const std::string& where) {
    ReproductionTable table;
    table.title = where + ", clients with RMSprop of rate 0.001";
    table.rows.push_back({"method", "server rate", "accuracy", "loss", "MB up", "ratio"});
    std::string text;
    for (const double server : {1.0, 0.1}) {
      const auto adapt = [server](FederatedSettings& settings) {
        settings.local_optimizer = rmsprop_settings();
        settings.local_rate = 0.001;
        settings.server_rate = server;
      };
      double dense = 0;
      for (const auto& [name, method, parameters] :
           {std::tuple<std::string, std::string, FederatedParameters>{"FedAvg fp32", "fedavg", {}},
            {"FedZip 20%", "fedzip", {}},
            {"FedZip 20%, as the public code", "fedzip", {{"fidelity", "official"}}}}) {
        const Row row{name, trial.run({"MNIST, RMSprop, " + name, method, parameters, adapt}, seeds_)};
        if (dense == 0) dense = mean(row, "bytes_up");
        table.rows.push_back({name, fmt::format("{}", server),
                              spread_text(spread_of(row.arms, "accuracy"), row.arms.size(), 4),
                              fmt::format("{:.4f}", mean(row, "loss")),
                              fmt::format("{:.4g}", mean(row, "bytes_up") / 1e6),
                              fmt::format("{:.1f}", dense / mean(row, "bytes_up"))});
        text += fmt::format("{}{} {:.4f}", text.empty() ? "" : ", ", name, mean(row, "accuracy"));
        if (name != "FedAvg fp32") text += fmt::format(" at {}x", table.rows.back().back());
      }
      text += fmt::format(" (server rate {})", server);
    }
    result_.tables.push_back(std::move(table));
    for (Claim& claim : result_.claims) {
      if (claim.claim.find(": FedZip 20% against") != std::string::npos)
        claim.note += "; clients with RMSprop of rate 0.001, as the published script has them: " + text;
    }
  }

  // First seed, local rate 0.1.
  void ablations(FederatedTrial& trial) {
    if (quick()) return;
    ReproductionTable table;
    table.title = "ablations of FedZip 20% (first seed, local rate 0.1)";
    table.rows.push_back({"change", "accuracy", "MB up"});
    const std::vector<std::pair<std::string, FederatedParameters>> changes = {
        {"none", {}},
        {"2 clusters", {{"clusters", "2"}}},
        {"5 clusters", {{"clusters", "5"}}},
        {"9 clusters", {{"clusters", "9"}}},
        {"1 iteration", {{"iterations", "1"}}},
        {"25 iterations", {{"iterations", "25"}}},
        {"start at quantiles", {{"start", "quantiles"}}},
        {"start by k-means++", {{"start", "spread"}}},
        {"middle centre free", {{"pin", "false"}}},
        {"ties kept, middle centre free: as the public code", {{"fidelity", "official"}}},
        {"huffman only", {{"form", "huffman"}}},
        {"positions only", {{"form", "positions"}}},
        {"gaps only", {{"form", "gaps"}}},
        {"rice only", {{"form", "rice"}}},
        {"rans only", {{"form", "rans"}}}};
    for (const auto& [name, parameters] : changes) {
      const ArmNumbers n = trial.run({"FedZip 20%, " + name, "fedzip", parameters}, seeds_.front());
      table.rows.push_back({name, fmt::format("{:.4f}", n.count("accuracy") > 0 ? n.at("accuracy") : 0.0),
                            fmt::format("{:.4g}", n.at("bytes_up") / 1e6)});
    }
    result_.tables.push_back(std::move(table));
  }

  const ReproduceRequest& request_;
  ArmCache cache_;
  std::vector<std::uint64_t> seeds_;
  Reproduction result_;
};

}  // namespace

Reproduction reproduce(const ReproduceRequest& request) { return FedzipReproduction(request).run(); }

}  // namespace laconic::fedzip
