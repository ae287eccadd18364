#include "methods/cache/matryoshkakv/rotation_base.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/base/error.h"
#include "engine/math/cayley.h"
#include "methods/cache/base_run.h"
#include "methods/cache/matryoshkakv/rank_search.h"
#include "methods/cache/matryoshkakv/rotation.h"
#include "methods/lab_plugin.h"
#include "runtime/calibration/attention_statistics.h"

namespace laconic::matryoshkakv {
namespace {

constexpr std::size_t held_out_windows = 4;  // of the calibration windows, never trained on

class RotationBaseMaker {
 public:
  explicit RotationBaseMaker(const CacheBaseRequest& request)
      : request_(request),
        parameters_(request.parameters),
        run_(request, "matryoshkakv", base_version),
        shape_(run_.shape()),
        order_(shape_, shape_.head_dim),
        step_(std::max<std::int64_t>(1, shape_.head_dim / 8)) {
    if (const std::int64_t own = parameters_.integer("rank-step"); own > 0) step_ = own;
    if (step_ > shape_.head_dim)
      fail(ErrorKind::usage, fmt::format("a step of {} in heads of {} numbers", step_, shape_.head_dim),
           "rank-step");
    rank_space(shape_, step_, parameters_.number("search-to"));  // refuses what the search could not reach
  }

  CacheBaseResult make() {
    if (auto kept = run_.finished("start")) {
      take(*kept);
    } else {
      start();
      run_.finish("start", stored());
    }
    if (auto kept = run_.finished("trained")) {
      take(*kept);
    } else if (parameters_.integer("steps") > 0) {
      train();
      run_.finish("trained", stored());
    }
    store();
    if (parameters_.boolean("search")) search();
    CacheBaseResult result;
    result.file = run_.file();
    result.bytes =
        writer_.write(run_.file(), "matryoshkakv", run_.fingerprint(), run_.made(), request_.replace);
    run_.done();
    notes_.emplace_back("calibration",
                        fmt::format("{} tokens in {} windows", run_.tokens(), run_.windows().size()));
    result.notes = notes_;
    return result;
  }

 private:
  BaseRun::Arrays stored() const {
    BaseRun::Arrays arrays = free_;
    arrays.insert(arrays.end(), means_.begin(), means_.end());
    return arrays;
  }
  void take(const BaseRun::Arrays& arrays) {
    const std::size_t count = order_.all().size();
    if (arrays.size() != 2 * count)
      fail(ErrorKind::input, "unfinished work does not fit the model", run_.folder().string(),
           "--force starts anew");
    free_.assign(arrays.begin(), arrays.begin() + static_cast<std::ptrdiff_t>(count));
    means_.assign(arrays.begin() + static_cast<std::ptrdiff_t>(count), arrays.end());
  }

  // Bases and means from statistics of the dense model.
  void start() {
    const std::int64_t d = shape_.head_dim;
    free_.assign(order_.all().size(), std::vector<float>(static_cast<std::size_t>(d * (d - 1) / 2)));
    means_.assign(order_.all().size(), std::vector<float>(static_cast<std::size_t>(d)));
    if (run_.tokens() < d && request_.message) {
      request_.message(
          fmt::format("only {} tokens for bases of {} numbers: a ridge is added", run_.tokens(), d));
    }
    const bool query = parameters_.text("init") == "query";
    CalibrationWalk walk(run_.model(), run_.windows());
    Progress progress(request_.progress, "statistics of keys and values", shape_.layers);
    for (std::int64_t layer = 0; layer < shape_.layers; ++layer) {
      AttentionStatistics statistics(shape_.hidden, shape_.kv_heads, d);
      visit_attention(run_.model(), walk, layer,
                      [&](std::int64_t, const LayerRows& rows) { add_attention(statistics, shape_, rows); });
      progress.advance();
      if (run_.model().block(layer).attention_dropped) continue;
      for (std::int64_t head = 0; head < shape_.kv_heads; ++head) {
        const HeadStatistics& own = statistics.heads[static_cast<std::size_t>(head)];
        const auto keep = [&](KvSide side, const std::vector<double>& u, const std::vector<double>& mean) {
          const std::size_t index = order_.index(layer, side, head);
          free_[index] = packed_free(u, d);
          means_[index].assign(mean.begin(), mean.end());
        };
        const std::vector<double> keys =
            covariance_of(own.keys, own.key_mean, linear_name(layer, LinearSlot::k));
        const std::vector<double> values =
            covariance_of(own.values, own.value_mean, linear_name(layer, LinearSlot::v));
        keep(KvSide::keys, query ? score_basis(keys, own.queries) : principal_basis(keys, d), own.key_mean);
        keep(KvSide::values, principal_basis(values, d), own.value_mean);
      }
    }
  }

  void train() {
    const std::int64_t d = shape_.head_dim;
    ProjectionTrainingRequest training;
    training.model = request_.model;
    training.windows = run_.windows();
    while (training.windows.size() > 2 * held_out_windows && training.held_out.size() < held_out_windows) {
      training.held_out.push_back(std::move(training.windows.back()));
      training.windows.pop_back();
    }
    for (std::size_t i = 0; i < free_.size(); ++i) {
      for (const double x : unpacked_free(free_[i], d)) training.x.push_back(static_cast<float>(x));
      training.mean.insert(training.mean.end(), means_[i].begin(), means_[i].end());
    }
    if (const std::int64_t fixed = parameters_.integer("fixed-rank"); fixed > 0) training.ranks = {fixed};
    training.kl_weight = parameters_.number("kl-weight");
    training.cross_entropy_weight = 1 - training.kl_weight;
    training.prompt_share = parameters_.number("prompt-share");
    training.steps = parameters_.integer("steps");
    training.sequences = parameters_.integer("batch");
    training.warmup_steps = parameters_.integer("warmup");
    training.learning_rate = parameters_.number("learning-rate");
    training.gradient_clip = parameters_.number("clip");
    training.seed = request_.seed;
    training.threads = request_.threads;
    training.checkpoint = run_.folder() / "checkpoint.safetensors";
    training.progress = request_.progress;
    const ProjectionTrainingResult result = load_lab().projection_training(training);
    for (std::size_t i = 0; i < free_.size(); ++i) {
      const auto at = static_cast<std::ptrdiff_t>(i);
      std::size_t below = 0;
      for (std::int64_t row = 0; row < d; ++row) {
        for (std::int64_t column = 0; column < row; ++column)
          free_[i][below++] = result.x[static_cast<std::size_t>((at * d + row) * d + column)];
      }
      means_[i].assign(result.mean.begin() + at * d, result.mean.begin() + (at + 1) * d);
    }
    if (!training.held_out.empty()) {
      notes_.emplace_back("training",
                          fmt::format("KL with half of the columns on {} held-out windows, before {:.5f}, "
                                      "after {:.5f} nats per token",
                                      training.held_out.size(), result.kl_before, result.kl_after));
    }
  }

  void store() {
    const std::int64_t d = shape_.head_dim;
    for (std::int64_t layer = 0; layer < shape_.layers; ++layer) {
      for (const KvSide side : {KvSide::keys, KvSide::values}) {
        std::vector<float> free, mean;
        for (std::int64_t head = 0; head < shape_.kv_heads; ++head) {
          const std::size_t index = order_.index(layer, side, head);
          free.insert(free.end(), free_[index].begin(), free_[index].end());
          mean.insert(mean.end(), means_[index].begin(), means_[index].end());
        }
        writer_.add(rotation_name(layer, side, "free"), {shape_.kv_heads, d * (d - 1) / 2}, free);
        writer_.add(rotation_name(layer, side, "mean"), {shape_.kv_heads, d}, mean);
      }
    }
  }

  // On the bases as they are stored.
  void search() {
    std::vector<std::vector<float>> free = free_, means = means_;
    for (auto* arrays : {&free, &means}) {
      for (std::vector<float>& array : *arrays) {
        for (float& value : array) value = rounded_to(DType::f16, value);
      }
    }
    RankSearch options;
    options.step = step_;
    options.share = parameters_.number("search-to");
    options.lowered = parameters_.number("search-share");
    options.forced = parameters_.integer("search-tokens");
    options.progress = request_.progress;
    std::vector<std::vector<std::int32_t>> windows = run_.windows();
    windows.resize(std::min(windows.size(), static_cast<std::size_t>(parameters_.integer("search-windows"))));
    const Descent found = search_ranks(run_.model(), make_bases(shape_, free, means), windows, options);
    std::vector<std::int32_t> order = {static_cast<std::int32_t>(step_)};
    for (const std::size_t unit : found.lowered) order.push_back(static_cast<std::int32_t>(unit));
    writer_.add_integers("rank_order", order);
    notes_.emplace_back(
        "ranks",
        fmt::format("{} steps of {} down to a mean of {} of {} columns, KL {:.5f} nats per token there",
                    found.lowered.size(), step_,
                    static_cast<double>(
                        ranks_of(shape_, rank_space(shape_, step_, options.share), found.levels).total()) /
                        static_cast<double>(order_.all().size()),
                    shape_.head_dim, found.harm.empty() ? 0 : found.harm.back()));
  }

  const CacheBaseRequest& request_;
  const Parameters& parameters_;
  BaseRun run_;
  KvShape shape_;
  RankTable order_;  // for its order of heads
  std::int64_t step_;
  std::vector<std::vector<float>> free_, means_;  // by RankTable::index
  BaseWriter writer_;
  std::vector<std::pair<std::string, std::string>> notes_;
};

}  // namespace

std::vector<ParameterSpec> rotation_base_parameters() {
  using Type = ParameterSpec::Type;
  std::vector<ParameterSpec> specs = {
      {"init",
       Type::choice,
       "pca",
       0,
       0,
       {"pca", "query"},
       "where the bases start; query weighs keys by what queries ask"},
      {"steps",
       Type::integer,
       "500",
       0,
       10'000'000,
       {},
       "of training through the frozen model; 0: none, without the lab"},
      {"batch", Type::integer, "4", 1, 4096, {}, "windows per step"},
      {"learning-rate", Type::number, "1e-3", 1e-9, 1, {}, "of training; cosine"},
      {"warmup", Type::integer, "100", 0, 1'000'000, {}, "steps of linear warm-up, at most half of all"},
      {"clip", Type::number, "1", 0, 1e6, {}, "largest l2 norm of the gradient; 0: any"},
      {"kl-weight",
       Type::number,
       "0.25",
       0,
       1,
       {},
       "of the divergence from the model; the rest weighs the text"},
      {"prompt-share",
       Type::number,
       "0.75",
       0,
       0.99,
       {},
       "of each training window: read exactly, then projected, and what follows, exact itself, is predicted; "
       "0: everything is projected and predicted, as published"},
      {"fixed-rank",
       Type::integer,
       "0",
       0,
       4096,
       {},
       "train for this rank only; 0: for the eighths of a head, at random"},
      {"search", Type::boolean, "true", 0, 0, {}, "look for ranks of each head"},
      {"rank-step",
       Type::integer,
       "0",
       0,
       4096,
       {},
       "columns that the search takes at a time; 0: an eighth of a head"},
      {"search-to",
       Type::number,
       "0.25",
       0.001,
       1,
       {},
       "mean rank where the search ends, as a share of a head"},
      {"search-share", Type::number, "0.05", 0.0001, 1, {}, "share of the heads' sides that a round lowers"},
      {"search-windows", Type::integer, "8", 1, 1 << 20, {}, "calibration windows that judge"},
      {"search-tokens", Type::integer, "64", 1, 1 << 20, {}, "predicted tokens of each of them"}};
  for (ParameterSpec& spec : base_run_parameters()) specs.push_back(std::move(spec));
  return specs;
}

CacheBaseResult make_rotation_base(const CacheBaseRequest& request) {
  return RotationBaseMaker(request).make();
}

}  // namespace laconic::matryoshkakv
