#include "methods/weights/decoupleq/reproduce.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>

#include "engine/base/error.h"
#include "engine/codec/decoupled_grid.h"
#include "engine/tensor/safetensors.h"
#include "methods/weights/trial.h"

namespace laconic {
namespace {

using Scale = ReproduceRequest::Scale;
using Arms = std::vector<ArmNumbers>;  // one per seed

struct Setting {
  std::string label;
  ParameterValues parameters;
};

struct Measured {
  std::string label;
  Arms arms;
};

std::string bits_text(int bits) { return std::to_string(bits); }

// What GPTQ may choose from at the bytes of W`bits`g64 with float scale and offset (2 x 16 bits per 64): the
// same grid, or an integer zero point, whose groups must then be 32 wide to cost at least as much.
std::vector<Setting> gptq_settings(int bits, bool with_integer_zero) {
  std::vector<Setting> settings;
  for (const bool integer_zero : {false, true}) {
    if (integer_zero && !with_integer_zero) continue;
    for (const bool act_order : {true, false}) {
      for (const bool clip : {true, false}) {
        const auto text = [](bool on) { return std::string(on ? "true" : "false"); };
        settings.push_back({fmt::format("gptq {}{}{}", integer_zero ? "integer zero g32" : "float zero g64",
                                        act_order ? ", act-order" : "", clip ? ", clip" : ""),
                            {{"bits", bits_text(bits)},
                             {"group", integer_zero ? "32" : "64"},
                             {"kind", integer_zero ? "affine_zero" : "affine_min"},
                             {"act-order", text(act_order)},
                             {"clip", text(clip)},
                             {"sequential", "true"}}});
      }
    }
  }
  return settings;
}

Setting dense_statistics(Setting setting) {
  setting.label += ", dense statistics";
  for (auto& [name, value] : setting.parameters) {
    if (name == "sequential") value = "false";
  }
  return setting;
}

double increase(const Trial& trial, const Arms& arms, const ArmNumbers& original, std::size_t text) {
  const std::string name = "ppl." + trial.subject().held_out[text].name;
  return mean_of(arms, name) - original.at(name);
}

// Mean over the held-out texts of log perplexity: what settings are chosen by.
double mean_nats(const Trial& trial, const Arms& arms) {
  double nats = 0;
  for (const HeldOutText& text : trial.subject().held_out) {
    double seeds = 0;
    for (const ArmNumbers& arm : arms) seeds += std::log(arm.at("ppl." + text.name));
    nats += seeds / static_cast<double>(arms.size());
  }
  return nats / static_cast<double>(trial.subject().held_out.size());
}

std::uint64_t bytes_of(const Arms& arms) {
  return static_cast<std::uint64_t>(std::llround(mean_of(arms, "linear_bytes")));
}

class CardClaims {
 public:
  CardClaims(const ReproduceRequest& request, Trial& trial, Reproduction& result)
      : request_(request), trial_(trial), result_(result), seeds_(trial_seeds(request)) {
    original_ = trial.original();
    add_row("original", {original_});
  }

  // Thresholds of the card for one width: perplexity increase against GPTQ and RTN (0: no claim).
  void width(int bits, double against_gptq, double against_rtn, double loss_against_gptq) {
    const std::string w = fmt::format("W{}g64", bits);
    const Setting ours_setting{"decoupleq " + w, {{"bits", bits_text(bits)}, {"group", "64"}}};
    const Measured ours{ours_setting.label, trial_.compressed("decoupleq", ours_setting.parameters, seeds_)};
    add_row(ours.label, ours.arms);
    Setting own_objective = ours_setting;
    own_objective.parameters.push_back({"target", "weights"});
    add_row(ours.label + ", target=weights (the card)",
            trial_.compressed("decoupleq", own_objective.parameters, seeds_));
    const std::vector<Measured> gptq = best_gptq(bits);
    for (const Measured& one : gptq) add_row(one.label + " W" + bits_text(bits), one.arms);
    std::vector<Measured> rtn;  // the same for every seed
    for (const char* clip : {"false", "true"}) {
      const ParameterValues parameters = {{"bits", bits_text(bits)}, {"clip", clip}};
      rtn.push_back({clip == std::string_view("true") ? "rtn clipped" : "rtn min-max",
                     Arms{trial_.compressed("rtn", parameters, seeds_.front())}});
    }
    for (const Measured& one : rtn) add_row(one.label + " " + w, one.arms);
    for (std::size_t t = 0; t < trial_.subject().held_out.size(); ++t) {
      compare(w, ours, lowest(gptq, t, bytes_of(ours.arms)), t, against_gptq,
              bits == 2   ? "Llama-1 7B, 2 bits per channel, WikiText-2: 9.49; GPTQ above 100 (unverified)"
              : bits == 3 ? "beats GPTQ most at 2 bits, helps at 3"
                          : "helps at 4 bits");
      if (against_rtn > 0) {
        Claim& claim = compare(w, ours, lowest(rtn, t, 0), t, against_rtn, "not given");
        claim.note += fmt::format("; increase of RTN on min-max grids {:.4g}",
                                  increase(trial_, rtn.front().arms, original_, t));
      }
    }
    if (loss_against_gptq > 0) layer_losses(bits, loss_against_gptq);
  }

  // Loss after every step of the alternation, all linear layers together.
  void curve() {
    const ArmNumbers steps =
        trial_.arm("loss after every step", "trace version 2 seed 0", [&] { return trace(); });
    std::vector<std::vector<std::string>> rows = {{"step", "sum of layer losses", "of the start"}};
    ReproductionCurve curve{"layer loss after every step of the alternation",
                            trial_.subject().name,
                            {},
                            "step",
                            "sum of layer losses"};
    double first = 0, worst = 0, previous = std::numeric_limits<double>::infinity();
    for (int i = 0; steps.count(fmt::format("loss.{:02}", i)) != 0; ++i) {
      const double loss = steps.at(fmt::format("loss.{:02}", i));
      if (i == 0) first = loss;
      worst = std::max(worst, loss - previous);
      previous = loss;
      rows.push_back({std::to_string(i), fmt::format("{:.5g}", loss), fmt::format("{:.4f}", loss / first)});
      curve.points.emplace_back(i, loss);
    }
    result_.tables.push_back({trial_.subject().name + ": loss per alternation step, W2g64", rows});
    result_.curves.push_back(std::move(curve));
    Claim claim;
    claim.claim =
        trial_.subject().name + ": layer loss never rises from one step of the alternation to the next";
    claim.paper = "every update is accepted only if the loss drops";
    claim.baseline_name = "layer loss at the start";
    claim.baseline_value = first;
    claim.measured_value = previous;
    claim.threshold = "no layer's loss rises at any step";
    claim.met = steps.at("rises") == 0 && worst <= 0 && previous < first;
    claim.note = fmt::format("{:.0f} rises in {:.0f} steps of {:.0f} layers", steps.at("rises"),
                             steps.at("steps"), steps.at("layers"));
    result_.claims.push_back(std::move(claim));
  }

  void ablations() {
    const std::uint64_t seed = seeds_.front();
    std::vector<std::pair<Setting, std::string>> all = {
        {{"integer steps only",
          {{"steps", "integer"}, {"search", "false"}, {"starts", "0"}, {"polish", "0"}}},
         "decoupleq"},
        {{"real steps only (from rounding)",
          {{"steps", "real"}, {"search", "false"}, {"starts", "0"}, {"polish", "0"}}},
         "decoupleq"},
        {{"both, no grid search", {{"search", "false"}, {"starts", "0"}, {"polish", "0"}}}, "decoupleq"},
        {{"the card: both, grid search", {{"starts", "0"}, {"polish", "0"}}}, "decoupleq"},
        {{"+ further starts", {{"polish", "0"}}}, "decoupleq"},
        {{"+ polish (the default)", {}}, "decoupleq"},
        {{"gptq + refit, float zero g64, act-order, clip",
          {{"act-order", "true"}, {"clip", "true"}, {"refit", "true"}, {"bits", "2"}}},
         "gptq"},
        {{"gptq + refit, integer zero g32, act-order, clip",
          {{"act-order", "true"},
           {"clip", "true"},
           {"refit", "true"},
           {"bits", "2"},
           {"kind", "affine_zero"},
           {"group", "32"}}},
         "gptq"}};
    if (trial_.subject().short_rows || request_.scale == Scale::full) {
      all.push_back(
          {{"the card with train rounding", {{"rounding", "train"}, {"starts", "0"}, {"polish", "0"}}},
           "decoupleq"});
    }
    std::vector<std::vector<std::string>> rows = {row_head()};
    rows.front().insert(rows.front().begin() + 1, "layer loss");
    for (auto& [setting, slug] : all) {
      setting.parameters.push_back({"sequential", "false"});
      const Arms arms = {trial_.compressed(slug, setting.parameters, seed)};
      std::vector<std::string> row = row_of(setting.label, arms);
      row.insert(row.begin() + 1, fmt::format("{:.5g}", mean_of(arms, "layer_loss")));
      rows.push_back(std::move(row));
    }
    result_.tables.push_back(
        {trial_.subject().name + ": ablations at 2 bits, statistics of the dense model, one seed", rows});
  }

  // The block-wise stage, where this build has it.
  void blockwise() {
    const auto& specs = method_named("decoupleq").parameters;
    if (std::none_of(specs.begin(), specs.end(), [](const auto& spec) { return spec.name == "blockwise"; })) {
      result_.notes.push_back("no row for block-wise minimisation (card, part D): it needs the lab");
      return;
    }
    try {
      add_row("decoupleq W2g64 + block-wise minimisation",
              {trial_.compressed("decoupleq", {{"bits", "2"}, {"group", "64"}, {"blockwise", "true"}},
                                 seeds_.front())});
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::unsupported) throw;
      result_.notes.push_back(std::string("no row for block-wise minimisation: ") + error.what());
    }
  }

  void finish() {
    rows_.insert(rows_.begin(), row_head());
    result_.tables.insert(
        result_.tables.begin(),
        {trial_.subject().name + ": mean of " + std::to_string(seeds_.size()) + " seeds", rows_});
  }

 private:
  std::vector<std::string> row_head() const {
    std::vector<std::string> head = {"arm", "bits/weight", "linear bytes", "seconds"};
    for (const HeldOutText& text : trial_.subject().held_out) {
      head.push_back("ppl " + text.name);
      head.push_back("KL");
    }
    return head;
  }

  std::vector<std::string> row_of(const std::string& label, const Arms& arms) const {
    std::vector<std::string> row = {label, fmt::format("{:.3f}", mean_of(arms, "linear_bits")),
                                    std::to_string(bytes_of(arms)),
                                    arms.front().count("compress_seconds") == 0
                                        ? "-"
                                        : fmt::format("{:.1f}", mean_of(arms, "compress_seconds"))};
    for (const HeldOutText& text : trial_.subject().held_out) {
      row.push_back(fmt::format("{:.4f}", mean_of(arms, "ppl." + text.name)));
      row.push_back(fmt::format("{:.5f}", mean_of(arms, "kl." + text.name)));
    }
    return row;
  }

  void add_row(const std::string& label, const Arms& arms) {
    rows_.push_back(row_of(label, arms));
    for (const HeldOutText& text : trial_.subject().held_out) {
      result_.curves.push_back({"perplexity of " + trial_.subject().name + " on " + text.name,
                                label,
                                {{mean_of(arms, "linear_bytes"), mean_of(arms, "ppl." + text.name)}},
                                "bytes of the linear layers",
                                "perplexity"});
    }
  }

  // Every setting on the first seed, then the two best (and the best with a refit, as an extra row) on all.
  std::vector<Measured> best_gptq(int bits) {
    std::vector<std::pair<double, Setting>> tried;
    const auto attempt = [&](Setting setting) {
      const Arms arms = {trial_.compressed("gptq", setting.parameters, seeds_.front())};
      tried.emplace_back(mean_nats(trial_, arms), std::move(setting));
      std::stable_sort(tried.begin(), tried.end(),
                       [](const auto& a, const auto& b) { return a.first < b.first; });
    };
    for (Setting& setting : gptq_settings(bits, request_.scale != Scale::quick)) attempt(std::move(setting));
    if (request_.scale != Scale::quick) attempt(dense_statistics(tried.front().second));
    std::vector<Measured> best;
    for (std::size_t i = 0; i < std::min<std::size_t>(2, tried.size()); ++i) {
      best.push_back({tried[i].second.label, trial_.compressed("gptq", tried[i].second.parameters, seeds_)});
    }
    Setting refit = tried.front().second;
    refit.parameters.push_back({"refit", "true"});
    add_row(refit.label + " + refit W" + bits_text(bits),
            trial_.compressed("gptq", refit.parameters, seeds_));
    for (auto& [name, value] : refit.parameters) {
      if (name == "sequential") value = "true";
    }
    refit.parameters.push_back({"target", "residual"});
    add_row(tried.front().second.label + " + refit + target=residual W" + bits_text(bits),
            trial_.compressed("gptq", refit.parameters, seeds_));
    return best;
  }

  // The arm of lowest perplexity on a text among those of at least `bytes` (within 1 %, convention C13).
  const Measured& lowest(const std::vector<Measured>& arms, std::size_t text, std::uint64_t bytes) const {
    const Measured* best = nullptr;
    for (const Measured& one : arms) {
      if (static_cast<double>(bytes_of(one.arms)) < 0.99 * static_cast<double>(bytes)) continue;
      if (best == nullptr ||
          increase(trial_, one.arms, original_, text) < increase(trial_, best->arms, original_, text)) {
        best = &one;
      }
    }
    require(best != nullptr, "no baseline of at least these bytes");
    return *best;
  }

  Claim& compare(const std::string& what, const Measured& ours, const Measured& baseline, std::size_t text,
                 double factor, const std::string& paper) {
    const HeldOutText& held_out = trial_.subject().held_out[text];
    const double mine = increase(trial_, ours.arms, original_, text);
    const double theirs = increase(trial_, baseline.arms, original_, text);
    const BootstrapInterval difference = nats_difference(ours.arms, baseline.arms, held_out.name,
                                                         request_.scale == Scale::quick ? 2000 : 10000);
    Claim claim;
    claim.claim = factor < 1 ? fmt::format("{} on {}, {}: perplexity increase at most {} times that of {}",
                                           trial_.subject().name, held_out.name, what, factor, baseline.label)
                             : fmt::format("{} on {}, {}: no worse than {}", trial_.subject().name,
                                           held_out.name, what, baseline.label);
    claim.paper = paper;
    claim.baseline_name = baseline.label;
    claim.baseline_value = theirs;
    claim.baseline_bytes = bytes_of(baseline.arms);
    claim.measured_value = mine;
    claim.measured_bytes = bytes_of(ours.arms);
    claim.threshold = factor < 1 ? fmt::format(
                                       "increase <= {} x baseline's and the 95 % interval of the difference "
                                       "below 0",
                                       factor)
                                 : "increase <= baseline's";
    claim.met = mine <= factor * theirs && (factor >= 1 || difference.high < 0);
    claim.note = fmt::format(
        "perplexity {:.4f}, original {:.4f}; ratio of increases {:.3f}; difference {:+.5f} nats per token "
        "[{:+.5f}, {:+.5f}], {} seeds",
        mine + original_.at("ppl." + held_out.name), original_.at("ppl." + held_out.name), mine / theirs,
        difference.mean, difference.low, difference.high, seeds_.size());
    if (trial_.subject().short_rows) claim.note += "; rows of 64, side information weighs more than usual";
    result_.claims.push_back(std::move(claim));
    return result_.claims.back();
  }

  // Both methods on the dense model's statistics, so that both minimise what is compared.
  void layer_losses(int bits, double factor) {
    const Arms ours = trial_.compressed(
        "decoupleq", {{"bits", bits_text(bits)}, {"group", "64"}, {"sequential", "false"}}, seeds_);
    const Measured* best = nullptr;
    std::vector<Measured> tried;
    for (Setting& setting : gptq_settings(bits, true)) {
      setting = dense_statistics(std::move(setting));
      tried.push_back({setting.label, {trial_.compressed("gptq", setting.parameters, seeds_.front())}});
    }
    for (const Measured& one : tried) {
      if (best == nullptr || mean_of(one.arms, "layer_loss") < mean_of(best->arms, "layer_loss")) best = &one;
    }
    for (const Setting& setting : gptq_settings(bits, true)) {
      const Setting dense = dense_statistics(setting);
      if (dense.label != best->label) continue;
      const Arms arms = trial_.compressed("gptq", dense.parameters, seeds_);
      add_row("decoupleq W" + bits_text(bits) + "g64, dense statistics", ours);
      add_row(dense.label + " W" + bits_text(bits), arms);
      Claim claim;
      claim.claim = fmt::format("{}, W{}g64: sum of layer losses tr(dW H dW^T) at most {} times that of {}",
                                trial_.subject().name, bits, factor, best->label);
      claim.paper = "not given";
      claim.baseline_name = best->label;
      claim.baseline_value = mean_of(arms, "layer_loss");
      claim.baseline_bytes = bytes_of(arms);
      claim.measured_value = mean_of(ours, "layer_loss");
      claim.measured_bytes = bytes_of(ours);
      claim.threshold = fmt::format("<= {} x baseline, mean of seeds", factor);
      double largest = 0;
      for (std::size_t i = 0; i < ours.size(); ++i) {
        largest = std::max(largest, ours[i].at("layer_loss") / arms[i].at("layer_loss"));
      }
      claim.met = claim.measured_value <= factor * claim.baseline_value;
      claim.note = fmt::format("ratio {:.3f}, largest of the seeds {:.3f}; H from dense statistics",
                               claim.measured_value / claim.baseline_value, largest);
      result_.claims.push_back(std::move(claim));
      return;
    }
  }

  ArmNumbers trace() {
    const auto& blocks = trial_.statistics(seeds_.front());
    const SafetensorsDirectory tensors(trial_.subject().model);
    std::vector<std::vector<DecoupledStep>> traces;
    for (std::size_t layer = 0; layer < blocks.size(); ++layer) {
      for (int slot = 0; slot < linear_slots; ++slot) {
        const std::string name = linear_name(static_cast<std::int64_t>(layer), static_cast<LinearSlot>(slot));
        const LinearStatistics* seen = observed_statistics(blocks[layer], static_cast<LinearSlot>(slot));
        if (seen == nullptr) continue;
        const TensorView view = tensors.tensor(name);
        DecoupledOptions options;
        options.iterations = 4;
        options.other_starts = 4;
        options.polish = 4;
        options.stop_fraction = 0;
        traces.push_back(decoupled_grid(view.to_f32().data(), view.shape[0], view.shape[1],
                                        {GridKind::affine_free, 2, 64}, seen->moment.mean(), options, name)
                             .trace);
      }
    }
    ArmNumbers numbers;
    std::size_t longest = 0;
    double rises = 0, steps = 0;
    for (const auto& one : traces) {
      longest = std::max(longest, one.size());
      steps += static_cast<double>(one.size());
      for (std::size_t i = 1; i < one.size(); ++i) rises += one[i].loss > one[i - 1].loss;
    }
    for (std::size_t i = 0; i < longest; ++i) {
      double sum = 0;
      for (const auto& one : traces) sum += one[std::min(i, one.size() - 1)].loss;
      numbers[fmt::format("loss.{:02}", i)] = sum;
    }
    numbers["rises"] = rises;
    numbers["steps"] = steps;
    numbers["layers"] = static_cast<double>(traces.size());
    return numbers;
  }

  const ReproduceRequest& request_;
  Trial& trial_;
  Reproduction& result_;
  std::vector<std::uint64_t> seeds_;
  ArmNumbers original_;
  std::vector<std::vector<std::string>> rows_;
};

void six_columns(ArmCache& cache, Reproduction& result) {
  const ArmNumbers numbers = cache.arm("six columns against every code", "decoupleq exhaustive 1, 200 layers",
                                       [] { return decoupleq_against_exhaustive(200); });
  Claim claim;
  claim.claim = "6 columns, 2 bits, 200 random H: loss within 1.15 times the exhaustive optimum on average";
  claim.paper = "not given; the card's correctness check";
  claim.baseline_name = "gptq on min-max grids, times the optimum";
  claim.baseline_value = numbers.at("gptq");
  claim.measured_value = numbers.at("default");
  claim.threshold = "<= 1.15, and gptq worse";
  claim.met = claim.measured_value <= 1.15 && claim.baseline_value > claim.measured_value;
  claim.note =
      fmt::format("the paper's steps alone, without further starts and polish: {:.3f}", numbers.at("card"));
  result.claims.push_back(std::move(claim));
}

}  // namespace

Reproduction reproduce_decoupleq(const ReproduceRequest& request) {
  ArmCache cache(request.cache, request.on_arm);
  Reproduction result;
  std::vector<TrialSubject> subjects = trial_subjects(request);
  const bool quick = request.scale == Scale::quick;
  if (quick) subjects.erase(subjects.begin() + 1, subjects.end());
  std::vector<ReproductionTable> tables;
  for (TrialSubject& subject : subjects) {
    Trial trial(request, std::move(subject), cache);
    Reproduction part;
    CardClaims claims(request, trial, part);
    claims.width(2, 0.5, 0.1, quick ? 0 : 0.7);
    if (!quick) {
      claims.width(3, 0.8, 0, 0);
      claims.width(4, 1.0, 0, 0);
      claims.blockwise();
      claims.curve();
      claims.ablations();
    }
    claims.finish();
    result.notes.push_back(
        fmt::format("{}: calibration {} windows of {} tokens, {} scored tokens per text, windows of 512",
                    trial.subject().name, trial.options().calibration_sequences,
                    trial.options().calibration_window, trial.options().tokens_per_text));
    const auto append = [](auto& to, auto& from) {
      std::move(from.begin(), from.end(), std::back_inserter(to));
    };
    append(result.claims, part.claims);
    append(result.tables, part.tables);
    append(result.curves, part.curves);
    for (const std::string& note : part.notes) {
      if (std::find(result.notes.begin(), result.notes.end(), note) == result.notes.end())
        result.notes.push_back(note);
    }
  }
  six_columns(cache, result);
  result.arms = cache.records();
  return result;
}

}  // namespace laconic
