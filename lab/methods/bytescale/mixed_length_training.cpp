#include "lab/methods/bytescale/mixed_length_training.h"

#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <future>
#include <limits>
#include <memory>
#include <numeric>

#include "engine/base/bytes.h"
#include "engine/base/error.h"
#include "engine/transport/collectives.h"
#include "engine/transport/reductions.h"
#include "engine/transport/thread_world.h"
#include "lab/methods/bytescale/decoder_pass.h"
#include "lab/training/workers.h"
#include "methods/gradients/training/optimizer.h"

namespace laconic::lab {
namespace {

using bytescale::MixedLengthModel;
using bytescale::MixedLengthRequest;
using bytescale::MixedLengthResult;
using bytescale::Plan;
using Clock = std::chrono::steady_clock;

ModelConfig config_of(const MixedLengthModel& model, std::uint32_t longest) {
  if (model.layers < 1 || model.heads < 1 || model.kv_heads < 1 || model.heads % model.kv_heads != 0 ||
      model.hidden < 1 || model.hidden % (2 * model.heads) != 0 || model.mlp < 1 || model.vocabulary < 2)
    fail(ErrorKind::usage, "width is a multiple of twice the heads, and heads of KV heads", "model");
  ModelConfig config;
  config.layers = model.layers;
  config.hidden = model.hidden;
  config.heads = model.heads;
  config.kv_heads = model.kv_heads;
  config.head_dim = model.hidden / model.heads;
  config.intermediate = model.mlp;
  config.vocabulary = model.vocabulary;
  config.max_positions = longest;
  config.tied_embeddings = true;
  return config;
}

// One rank's copy of the model: all parameters in one flat vector, and their gradients in another.
class FlatModel {
 public:
  FlatModel(const ModelConfig& config, std::uint64_t seed) : model_(config, seed) {
    std::int64_t size = 0;
    for (const auto& [name, tensor] : model_.parameters()) size += tensor->numel();
    values_ = at::empty({size});
    gradients_ = at::zeros({size});
    std::vector<at::Tensor> views;
    std::int64_t at = 0;
    for (const auto& [name, tensor] : model_.parameters()) {
      const at::Tensor view = values_.narrow(0, at, tensor->numel()).view(tensor->sizes());
      view.copy_(*tensor);
      views.push_back(gradients_.narrow(0, at, tensor->numel()).view(tensor->sizes()));
      *tensor = view;
      at += view.numel();
    }
    pass_ = std::make_unique<DecoderPass>(model_, std::move(views));
  }
  FlatModel(const FlatModel&) = delete;

  DecoderPass& pass() { return *pass_; }
  std::span<float> values() { return {values_.data_ptr<float>(), static_cast<std::size_t>(values_.numel())}; }
  std::span<float> gradients() {
    return {gradients_.data_ptr<float>(), static_cast<std::size_t>(gradients_.numel())};
  }

 private:
  LanguageModel model_;
  at::Tensor values_, gradients_;
  std::unique_ptr<DecoderPass> pass_;
};

void check(const MixedLengthRequest& request) {
  if (request.ranks < 1 || request.ranks > 1024)
    fail(ErrorKind::usage, "1 to 1024 ranks, as threads", "ranks");
  if (request.batches.empty()) fail(ErrorKind::usage, "no steps", "batches");
  std::size_t longest = 0;
  for (const auto& batch : request.batches) {
    if (batch.empty()) fail(ErrorKind::usage, "a batch without sequences", "batches");
    longest = std::max<std::size_t>(longest, *std::max_element(batch.begin(), batch.end()));
  }
  if (longest > 1 << 20) fail(ErrorKind::unsupported, "sequences of over a million tokens", "batches");
  if (request.text.size() < longest + 1)
    fail(ErrorKind::input,
         fmt::format("{} tokens of text do not hold a sequence of {}", request.text.size(), longest), "text");
  for (const std::int32_t token : request.text) {
    if (token < 0 || token >= request.model.vocabulary)
      fail(ErrorKind::input, fmt::format("token {} is outside the vocabulary", token), "text");
  }
}

// Where each sequence of each batch begins in the text.
std::vector<std::vector<std::size_t>> places_of(const MixedLengthRequest& request) {
  std::vector<std::vector<std::size_t>> places;
  std::size_t at = 0;
  for (const auto& batch : request.batches) {
    places.emplace_back();
    for (const std::uint32_t length : batch) {
      if (at + length + 1 > request.text.size()) at = 0;
      places.back().push_back(at);
      at += length;
    }
  }
  return places;
}

class TrainingRank {
 public:
  TrainingRank(const MixedLengthRequest& request, const std::vector<std::vector<std::size_t>>& places,
               const ModelConfig& config, Communicator& communicator)
      : request_(request),
        places_(places),
        communicator_(communicator),
        model_(config, request.seed),
        store_(request.offload),
        bounds_(parts_of(model_.values().size(), communicator.size())),
        part_(static_cast<std::size_t>(ring_part_of(communicator.rank(), communicator.size()))) {
    OptimizerSettings adam;
    adam.kind = OptimizerSettings::Kind::adam;
    adam.beta2 = 0.95;
    const std::size_t size = bounds_[part_ + 1] - bounds_[part_];
    optimizer_ = make_optimizer(adam, {{"part", {static_cast<std::int64_t>(size)}, 0, size}});
  }

  MixedLengthResult run() {
    MixedLengthResult result;
    if (communicator_.rank() == 0) plan_ahead(0);
    for (std::size_t step = 0; step < request_.batches.size(); ++step) {
      barrier(communicator_);
      const auto begin = Clock::now();
      take_step(step, result);
      barrier(communicator_);
      result.seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
    }
    result.ranks = {model_.pass().seconds()};
    result.ring_bytes = communicator_.traffic(Exchange::point_to_point).sent_bytes;
    result.gradient_bytes = communicator_.traffic(Exchange::reduce_scatter).sent_bytes +
                            communicator_.traffic(Exchange::all_gather).sent_bytes;
    result.plan_bytes = communicator_.traffic(Exchange::broadcast).sent_bytes;
    result.peak_activations = store_.peak_bytes();
    result.offloaded_bytes = store_.offloaded_bytes();
    result.parameters.assign(model_.values().begin(), model_.values().end());
    return result;
  }

 private:
  // Made while the step before it runs: lengths are all that it takes.
  void plan_ahead(std::size_t step) {
    if (step >= request_.batches.size()) return;
    next_plan_ = std::async(std::launch::async,
                            [this, step] { return encode_plan(request_.plan(request_.batches[step])); });
  }

  void take_step(std::size_t step, MixedLengthResult& result) {
    const std::vector<std::uint32_t>& lengths = request_.batches[step];
    Bytes planned;
    if (communicator_.rank() == 0) {
      planned = next_plan_.get();
      plan_ahead(step + 1);
    }
    const Plan plan = bytescale::decode_plan(broadcast(communicator_, 0, std::move(planned)));
    check_plan(plan, lengths, request_.costs);
    if (plan.ranks != static_cast<std::uint32_t>(communicator_.size()))
      fail(ErrorKind::usage,
           fmt::format("a plan for {} ranks, there are {}", plan.ranks, communicator_.size()), "plan");
    const std::span<float> gradients = model_.gradients();
    std::fill(gradients.begin(), gradients.end(), 0.0f);
    double loss = 0;
    for (const bytescale::GroupWork& work : group_works(plan)) {
      const auto own = std::find(work.ranks.begin(), work.ranks.end(), communicator_.rank());
      if (own == work.ranks.end()) continue;
      SlotWork slot;
      for (const std::size_t item : work.items) {
        const std::uint32_t sequence = plan.items[item].sequence;
        slot.lengths.push_back(lengths[sequence]);
        slot.tokens.push_back(
            std::span(request_.text).subspan(places_[step][sequence], lengths[sequence] + std::size_t{1}));
        slot.ratio = plan.items[item].ratio();
      }
      slot.group = {&communicator_, work.ranks, static_cast<std::size_t>(own - work.ranks.begin()), 0};
      loss += model_.pass().run(slot, store_);
    }
    if (request_.poisoned_rank == communicator_.rank() && request_.poisoned_step == step)
      loss = std::numeric_limits<double>::quiet_NaN();
    double total = 0;
    {
      // Every rank hears every loss, so that all skip a step or none does.
      ByteWriter writer;
      writer.f64(loss);
      for (const Bytes& bytes : all_gather(communicator_, writer.span()))
        total += ByteReader(bytes, "loss").f64();
    }
    const auto tokens = std::accumulate(lengths.begin(), lengths.end(), std::uint64_t{0});
    result.tokens.push_back(tokens);
    result.losses.push_back(total / static_cast<double>(tokens));
    if (!std::isfinite(total)) {
      ++result.skipped;
      return;
    }
    apply(tokens, step, result);
  }

  void apply(std::uint64_t tokens, std::size_t step, MixedLengthResult& result) {
    const std::span<float> gradients = model_.gradients();
    reduce_scatter(communicator_, gradients, bounds_);
    const auto inverse = static_cast<float>(1.0 / static_cast<double>(tokens));
    const auto part_of = [&](std::span<float> whole, std::size_t part) {
      return whole.subspan(bounds_[part], bounds_[part + 1] - bounds_[part]);
    };
    const std::span<float> own = part_of(gradients, part_);
    for (float& value : own) value *= inverse;
    if (request_.keep_gradient && step == 0) {
      gather(gradients);
      result.gradient.assign(gradients.begin(), gradients.end());
    }
    optimizer_->apply(own, part_of(model_.values(), part_), request_.learning_rate);
    gather(model_.values());
  }

  // Each rank's own part to all.
  void gather(std::span<float> whole) {
    const auto bytes_of = [&](std::size_t part) {
      return std::as_writable_bytes(whole.subspan(bounds_[part], bounds_[part + 1] - bounds_[part]));
    };
    const std::vector<Bytes> all = all_gather(communicator_, bytes_of(part_));
    for (int rank = 0; rank < communicator_.size(); ++rank) {
      const Bytes& from = all[static_cast<std::size_t>(rank)];
      const auto to = bytes_of(static_cast<std::size_t>(ring_part_of(rank, communicator_.size())));
      if (from.size() != to.size()) fail(ErrorKind::corrupt, "a part of another size", "parameters");
      if (!from.empty()) std::memcpy(to.data(), from.data(), from.size());
    }
  }

  const MixedLengthRequest& request_;
  const std::vector<std::vector<std::size_t>>& places_;
  Communicator& communicator_;
  FlatModel model_;
  OffloadStore store_;
  std::vector<std::size_t> bounds_;
  std::size_t part_;
  std::unique_ptr<Optimizer> optimizer_;
  std::future<Bytes> next_plan_;
};

std::uint32_t longest_of(const MixedLengthRequest& request) {
  std::uint32_t longest = 1;
  for (const auto& batch : request.batches)
    longest = std::max(longest, *std::max_element(batch.begin(), batch.end()));
  return longest;
}

}  // namespace

MixedLengthResult mixed_length_training(const MixedLengthRequest& request) {
  prepare_libtorch();
  check(request);
  const ModelConfig config = config_of(request.model, longest_of(request));
  const auto places = places_of(request);
  std::vector<MixedLengthResult> results(static_cast<std::size_t>(request.ranks));
  const auto train = [&](Communicator& communicator) {
    at::set_num_threads(1);
    const c10::NoGradGuard no_gradient;
    MixedLengthResult& result = results[static_cast<std::size_t>(communicator.rank())];
    result = TrainingRank(request, places, config, communicator).run();
    result.ranks.front().waited = communicator.waited_seconds();
  };
  run_ranks(request.ranks, train, {request.link_rate, request.link_latency});
  MixedLengthResult all = results.front();
  for (std::size_t rank = 1; rank < results.size(); ++rank) {
    const MixedLengthResult& one = results[rank];
    require(one.parameters == all.parameters, "all ranks hold the same weights");
    all.ranks.push_back(one.ranks.front());
    all.ring_bytes += one.ring_bytes;
    all.gradient_bytes += one.gradient_bytes;
    all.plan_bytes += one.plan_bytes;
    all.peak_activations = std::max(all.peak_activations, one.peak_activations);
    all.offloaded_bytes += one.offloaded_bytes;
  }
  return all;
}

bytescale::StepCosts profile_lengths(const bytescale::LengthProfileRequest& request) {
  prepare_libtorch();
  if (request.lengths.size() < 3 || request.ranks < 1 || request.rounds < 1)
    fail(ErrorKind::usage, "a profile takes three lengths or more, ranks and rounds", "profile");
  const std::uint32_t longest = *std::max_element(request.lengths.begin(), request.lengths.end());
  const ModelConfig config = config_of(request.model, longest);
  const auto layers = static_cast<double>(config.layers);
  struct Measured {
    std::vector<std::vector<double>> forward;  // of a layer, by length: one a round
    double forward_sum = 0, backward_sum = 0, head = 0, tokens = 0;
    double bytes_per_token = 0;
  };
  std::vector<Measured> measured(static_cast<std::size_t>(request.ranks));
  run_ranks(request.ranks, [&](Communicator& communicator) {
    at::set_num_threads(1);
    const c10::NoGradGuard no_gradient;
    Measured& own = measured[static_cast<std::size_t>(communicator.rank())];
    own.forward.resize(request.lengths.size());
    FlatModel model(config, 0);
    std::vector<std::int32_t> tokens(longest + std::size_t{1});
    for (std::size_t i = 0; i < tokens.size(); ++i)
      tokens[i] = static_cast<std::int32_t>(i * 7 % static_cast<std::size_t>(config.vocabulary));
    const std::uint16_t alone[] = {0};
    for (int round = -1; round < request.rounds; ++round) {  // the first is a warm-up
      for (std::size_t i = 0; i < request.lengths.size(); ++i) {
        const std::uint32_t length = request.lengths[i];
        // Short sequences run as often as the longest takes, so that all ranks stay at work together.
        const std::uint32_t times = std::clamp<std::uint32_t>(longest / length / 4, 1, 32);
        barrier(communicator);
        OffloadStore store({});
        const bytescale::RankSeconds before = model.pass().seconds();
        for (std::uint32_t n = 0; n < times; ++n) {
          SlotWork work{
              {length}, {std::span(tokens).first(length + std::size_t{1})}, {nullptr, alone, 0, 0}, 0};
          model.pass().run(work, store);
        }
        const bytescale::RankSeconds& after = model.pass().seconds();
        own.bytes_per_token = static_cast<double>(store.peak_bytes()) / layers / length;
        if (round < 0) continue;
        own.forward[i].push_back((after.forward - before.forward) / layers / times);
        own.forward_sum += after.forward - before.forward;
        own.backward_sum += after.backward - before.backward;
        own.head += after.head - before.head;
        own.tokens += static_cast<double>(length) * times;
      }
    }
    barrier(communicator);
  });
  bytescale::StepCosts costs;
  costs.layers = config.layers;
  std::vector<bytescale::MeasuredLayer> points;
  for (std::size_t i = 0; i < request.lengths.size(); ++i) {
    std::vector<double> all;
    for (const Measured& one : measured) all.insert(all.end(), one.forward[i].begin(), one.forward[i].end());
    std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2), all.end());
    points.push_back({static_cast<double>(request.lengths[i]), all[all.size() / 2]});
  }
  fit_forward(points, costs);
  double forward = 0, backward = 0, head = 0, tokens = 0;
  for (const Measured& one : measured) {
    forward += one.forward_sum;
    backward += one.backward_sum;
    head += one.head;
    tokens += one.tokens;
  }
  costs.backward = backward / forward;
  costs.head = head / tokens;
  costs.activation = measured.front().bytes_per_token;
  costs.key_value_bytes = static_cast<double>(2 * config.kv_heads * config.head_dim) * sizeof(float);
  costs.link_rate = request.link_rate > 0 ? request.link_rate : 1e10;
  costs.link_latency = request.link_latency;
  costs.host_rate = request.host_rate > 0 ? request.host_rate : 1e9;
  FlatModel model(config, 0);
  // Reduce-scatter and all-gather of the parameters: (W - 1) / W of them each.
  costs.step = 2.0 * (request.ranks - 1) / request.ranks * static_cast<double>(model.values().size()) *
               sizeof(float) / costs.link_rate;
  return costs;
}

}  // namespace laconic::lab
