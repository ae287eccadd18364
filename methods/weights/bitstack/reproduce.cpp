#include "methods/weights/bitstack/reproduce.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "methods/weights/bitstack/stack_trial.h"

namespace laconic::bitstack {
namespace {

constexpr double most_bits = 3.0;  // "at <= 3.0 bits"

// One setting of a baseline, over all seeds.
struct Baseline {
  std::string name;
  std::vector<ArmNumbers> seeds;
  double bytes() const { return mean_of(seeds, "linear_bytes"); }
  double bits() const { return mean_of(seeds, "linear_bits"); }
};

struct Setting {
  std::string slug;
  ParameterValues parameters;
  // Codes, and an f16 scale and offset for each group; frames and short groups add a little to it.
  double nominal_bits() const {
    double bits = 0, group = 1;
    for (const auto& [key, value] : parameters) {
      if (key == "bits") bits = std::stod(value);
      if (key == "group") group = std::stod(value);
    }
    return bits + 32 / group;
  }
  std::string name() const {
    std::string text = slug;
    for (const auto& [key, value] : parameters) text += " " + key + "=" + value;
    return text;
  }
};

// The settings among which a baseline's best is looked for: code width, group, clip search, column order.
std::vector<Setting> rtn_settings(bool quick, bool with_clip) {
  std::vector<Setting> settings;
  for (const char* group : {"32", "64", "128"}) {
    for (const char* clip : {"false", "true"}) {
      if (!with_clip && std::string_view(clip) == "true") continue;
      if (quick && std::string_view(group) == "128") continue;
      settings.push_back({"rtn", {{"bits", "2"}, {"group", group}, {"clip", clip}}});
    }
  }
  return settings;
}
std::vector<Setting> gptq_settings(bool quick) {
  std::vector<Setting> settings;
  for (const char* group : {"32", "64", "128"}) {
    for (const char* order : {"false", "true"}) {
      for (const char* clip : {"false", "true"}) {
        if (quick && (std::string_view(group) == "128" || std::string_view(clip) == "true")) continue;
        settings.push_back({"gptq", {{"bits", "2"}, {"group", group}, {"act-order", order}, {"clip", clip}}});
      }
    }
  }
  return settings;
}

double mean_at(const std::vector<StackArm>& arms, std::size_t point, const std::string& number) {
  double sum = 0;
  for (const StackArm& arm : arms) sum += arm.at_bytes.at(point).numbers.at(number);
  return sum / static_cast<double>(arms.size());
}

std::vector<ArmNumbers> numbers_at(const std::vector<StackArm>& arms, std::size_t point) {
  std::vector<ArmNumbers> numbers;
  for (const StackArm& arm : arms) numbers.push_back(arm.at_bytes.at(point).numbers);
  return numbers;
}

// Everything measured on one model.
class Subject {
 public:
  Subject(const ReproduceRequest& request, TrialSubject subject, ArmCache& cache, Reproduction& result)
      : request_(request),
        quick_(request.scale == ReproduceRequest::Scale::quick),
        cache_(cache),
        trial_(request, std::move(subject), cache, options(request)),
        text_(trial_.subject().held_out.front().name),
        seeds_(trial_seeds(request)),
        result_(result) {}

  void run() {
    tune();
    main_ = stacks(
        {},
        {rtn_.bytes(), gptq_.bytes(), bytes_of_bits(2.3), bytes_of_bits(3.4), wide_.bytes(), plain_.bytes()},
        true);
    curve_claim();
    budget_claims();
    resize_claim();
    wide_row();
    ablations();
  }

 private:
  static TrialOptions options(const ReproduceRequest& request) {
    TrialOptions options;
    switch (request.scale) {
      case ReproduceRequest::Scale::quick:
        options.calibration_sequences = 16;
        options.tokens_per_text = 700;
        break;
      case ReproduceRequest::Scale::standard:
        options.tokens_per_text = 3000;
        break;
      case ReproduceRequest::Scale::full:
        options.calibration_sequences = 256;
        options.calibration_window = 512;
        options.tokens_per_text = 40000;
        break;
    }
    return options;
  }

  std::string where() const { return trial_.subject().name + ", " + text_; }

  double bytes_of_bits(double bits) {
    const ArmNumbers& any = rtn_.seeds.front();
    return bits / any.at("linear_bits") * any.at("linear_bytes");
  }

  // Settings are compared on the first seed; the best runs on all of them.
  Baseline best(const std::vector<Setting>& settings, const std::string& table) {
    std::vector<std::vector<std::string>> rows = {{"setting", "bits/weight", "perplexity"}};
    const Setting* chosen = nullptr;
    double least = 0;
    for (const Setting& setting : settings) {
      const ArmNumbers numbers = trial_.compressed(setting.slug, setting.parameters, seeds_.front());
      const double perplexity = numbers.at("ppl." + text_);
      rows.push_back({setting.name(), fmt::format("{:.3f}", numbers.at("linear_bits")),
                      fmt::format("{:.3f}", perplexity)});
      if (setting.nominal_bits() > most_bits) continue;
      if (chosen == nullptr || perplexity < least) {
        chosen = &setting;
        least = perplexity;
      }
    }
    require(chosen != nullptr, "some setting of a baseline costs at most three bits");
    if (!table.empty()) result_.tables.push_back({table + ", " + where(), std::move(rows)});
    return {chosen->name(), trial_.compressed(chosen->slug, chosen->parameters, seeds_)};
  }

  void tune() {
    rtn_ = best(rtn_settings(quick_, true), "Settings of rtn");
    plain_ = best(rtn_settings(quick_, false), "");
    gptq_ = best(gptq_settings(quick_), "Settings of gptq");
    const Setting wide{"rtn", {{"bits", "4"}, {"group", "64"}, {"clip", "true"}}};
    wide_ = {wide.name(), trial_.compressed(wide.slug, wide.parameters, seeds_)};
  }

  std::vector<StackArm> stacks(const ParameterValues& parameters, std::vector<double> bytes, bool main,
                               bool every_seed = true) {
    StackRequest request;
    request.parameters = parameters;
    if (quick_) request.parameters.emplace_back("score-sequences", "8");
    // Sizes above those that are compared would only cost time; the full scale goes on to the method's stop.
    if (!main) {
      request.target.bits = 3.45;
    } else if (request_.scale != ReproduceRequest::Scale::full) {
      request.target.bits = quick_ ? 5.0 : 5.5;
    }
    request.linear_bytes = std::move(bytes);
    if (main) {
      request.curve_points = 32;
      request.resize = true;
    }
    std::vector<StackArm> arms;
    for (const std::uint64_t seed : seeds_) {
      if (!every_seed && !arms.empty()) break;
      arms.push_back(measure_stack(trial_, cache_, request, seed, request_.progress));
    }
    return arms;
  }

  void curve_claim() {
    double worst = 0;
    std::size_t points = SIZE_MAX;
    std::vector<std::vector<std::string>> rows = {{"bytes loaded", "bits/weight", "perplexity", "KL"}};
    ReproductionCurve curve{where(), "bitstack", {}};
    for (const StackArm& arm : main_) {
      points = std::min(points, arm.curve.size());
      for (std::size_t i = 0; i < arm.curve.size(); ++i) {
        const StackPoint& point = arm.curve[i];
        if (&arm == &main_.front()) {
          rows.push_back({fmt::format("{:.0f}", point.numbers.at("stored_bytes")),
                          fmt::format("{:.3f}", point.bits()), fmt::format("{:.3f}", point.perplexity(text_)),
                          fmt::format("{:.4f}", point.numbers.at("kl." + text_))});
          curve.points.emplace_back(point.numbers.at("stored_bytes"), point.perplexity(text_));
        }
        if (i == 0 || arm.curve[i - 1].linear_bytes() < arm.level_two_bytes) continue;
        worst = std::max(worst, point.perplexity(text_) / arm.curve[i - 1].perplexity(text_) - 1);
      }
    }
    result_.tables.push_back(
        {fmt::format("Sizes of one artefact, {}, seed {}", where(), seeds_.front()), std::move(rows)});
    result_.curves.push_back(std::move(curve));
    const StackPoint& last = main_.front().curve.back();
    Claim claim;
    claim.claim = fmt::format("{} sizes from one artefact, perplexity falling with size after level 2 ({})",
                              points, where());
    claim.paper = "every size from one artefact (Llama 3.1 8B: 3877 to 5541 MB, 79.3 to 8.14)";
    claim.baseline_name = "a rise from one size to the next";
    claim.measured_value = 100 * worst;
    claim.measured_bytes = static_cast<std::uint64_t>(last.numbers.at("stored_bytes"));
    claim.threshold = "at least 30 sizes, no local rise above 1 %";
    claim.met = points >= 30 && worst <= 0.01;
    claim.note =
        fmt::format("largest rise in per cent over {} seeds; dense {:.3f}, whole stack {:.3f} at {:.2f} bits",
                    seeds_.size(), trial_.original().at("ppl." + text_), last.perplexity(text_), last.bits());
    result_.claims.push_back(std::move(claim));
  }

  void budget_claim(const Baseline& baseline, std::size_t point, double factor, const std::string& paper) {
    const std::string ppl = "ppl." + text_;
    Claim claim;
    claim.paper = paper;
    claim.baseline_name = baseline.name;
    claim.baseline_value = mean_of(baseline.seeds, ppl);
    claim.baseline_bytes = static_cast<std::uint64_t>(baseline.bytes());
    claim.measured_value = mean_at(main_, point, ppl);
    claim.measured_bytes = static_cast<std::uint64_t>(mean_at(main_, point, "linear_bytes"));
    const BootstrapInterval difference =
        nats_difference(numbers_at(main_, point), baseline.seeds, text_, quick_ ? 2000 : 10000);
    // Never more bytes; the step of a block keeps them within a few per cent below.
    const double share = static_cast<double>(claim.measured_bytes) / baseline.bytes();
    claim.claim = fmt::format("at {:.2f} bits perplexity is {} {} ({})", baseline.bits(),
                              factor < 1 ? "at most half of" : "below", baseline.name, where());
    claim.threshold = factor < 1 ? "<= 0.5 times RTN" : "below GPTQ, interval of the difference below 0";
    claim.met =
        claim.measured_value <= factor * claim.baseline_value && difference.high < 0 && share <= 1.001;
    claim.note = fmt::format(
        "{} seeds, {} tokens; difference {:.4f} nats [{:.4f}, {:.4f}]; {:.2f} % of its bytes", seeds_.size(),
        trial_.options().tokens_per_text, difference.mean, difference.low, difference.high, 100 * share);
    if (trial_.subject().short_rows) claim.note += "; rows of 64 values: side information weighs heavily";
    result_.claims.push_back(std::move(claim));
  }

  void budget_claims() {
    budget_claim(rtn_, 0, 0.5, "Llama 3.1 8B, 3877 MB: 79.3 against 1.5e6 (AWQ w2g128)");
    // The plain rounding of the card, without a search of the range.
    budget_claim(plain_, 5, 0.5, "Llama 3.1 8B, 3877 MB: 79.3 against 1.5e6 (AWQ w2g128)");
    budget_claim(gptq_, 1, 1.0, "Llama 3.1 8B, 3877 MB: 79.3 against 1.7e5 (GPTQ w2g128)");
  }

  void resize_claim() {
    double largest = 0;
    for (const StackArm& arm : main_) largest = std::max(largest, arm.resize_difference);
    Claim claim;
    claim.claim = "after a live resize the logits are those of a fresh load at that size (" + where() + ")";
    claim.paper = "blocks load and drop as free memory changes";
    claim.baseline_name = "fresh load, same cache";
    claim.measured_value = largest;
    claim.threshold = "difference 0";
    claim.met = largest == 0;
    claim.note =
        fmt::format("largest difference of a logit over 6 sizes between tokens, {} seeds", seeds_.size());
    result_.claims.push_back(std::move(claim));
  }

  // The card asks to report this one: above about 4 bits a stack loses on small models.
  void wide_row() {
    const double stack = mean_at(main_, 4, "ppl." + text_), grid = mean_of(wide_.seeds, "ppl." + text_);
    result_.notes.push_back(fmt::format("{}: at {:.2f} bits {} has perplexity {:.3f}, the stack {:.3f}{}",
                                        where(), wide_.bits(), wide_.name, grid, stack,
                                        stack > grid ? ": the stack loses, as the card expects" : ""));
  }

  struct Ablation {
    std::string name;
    ParameterValues parameters;
    bool claimed = true;  // else a row of the table, measured on the first seed
  };

  void ablations() {
    const std::string ppl = "ppl." + text_;
    const double low = bytes_of_bits(2.3), high = bytes_of_bits(3.4);
    std::vector<Ablation> list = {
        {"no absolute values (plain low-rank residuals)", {{"no-avd", "true"}}, true}};
    if (!quick_) {
      list.push_back({"no channel scale", {{"scaling", "none"}}, true});
      list.push_back({"order: random", {{"order", "random"}}, true});
      list.push_back({"order: weight error", {{"order", "weight-error"}}, true});
      list.push_back({"order: fall of the loss per byte (beyond the paper)", {{"order", "harm"}}, false});
      list.push_back({"residual of unrounded factors", {{"official-residual", "true"}}, false});
      list.push_back({"fidelity=official", {{"fidelity", "official"}}, false});
    }
    std::vector<std::vector<std::string>> rows = {{"arm", "perplexity at 2.3 bits", "at 3.4 bits"}};
    const auto row = [&](const std::string& name, double a, double b) {
      rows.push_back({name, fmt::format("{:.3f}", a), fmt::format("{:.3f}", b)});
    };
    row("bitstack", mean_at(main_, 2, ppl), mean_at(main_, 3, ppl));
    const std::vector<StackArm> first_seed = {main_.front()};
    row("bitstack, first seed", mean_at(first_seed, 2, ppl), mean_at(first_seed, 3, ppl));
    std::vector<std::vector<StackArm>> arms;
    for (Ablation& ablation : list) {
      if (!quick_) ablation.parameters.emplace_back("blocks", "5");
      arms.push_back(stacks(ablation.parameters, {low, high}, false, ablation.claimed));
      row(ablation.name + (ablation.claimed ? "" : ", first seed"), mean_at(arms.back(), 0, ppl),
          mean_at(arms.back(), 1, ppl));
    }
    result_.tables.push_back({"Ablations at equal bytes, " + where(), std::move(rows)});
    ablation_claim("plain low-rank residuals are at least twice as bad", "AVD carries the method", arms[0],
                   2.0);
    if (quick_) return;
    ablation_claim("without the channel scale it is worse", "activation-aware scaling helps", arms[1], 1.0);
    ablation_claim("sorting by perplexity beats random order", "perplexity order is best", arms[2], 1.0);
    ablation_claim("sorting by perplexity beats the order by weight error", "perplexity order is best",
                   arms[3], 1.0);
  }

  // The ablated arm against the main one at 2.3 and 3.4 bits; the weaker of the two ratios decides.
  void ablation_claim(const std::string& text, const std::string& paper, const std::vector<StackArm>& arms,
                      double factor) {
    const std::string ppl = "ppl." + text_;
    Claim claim;
    claim.claim = text + " (" + where() + ")";
    claim.paper = paper;
    claim.baseline_name = "ablated, at the weaker of 2.3 and 3.4 bits";
    double weakest = HUGE_VAL;
    bool apart = true;
    for (const std::size_t i : {std::size_t{0}, std::size_t{1}}) {
      const double ablated = mean_at(arms, i, ppl), own = mean_at(main_, 2 + i, ppl);
      const BootstrapInterval difference =
          nats_difference(numbers_at(main_, 2 + i), numbers_at(arms, i), text_, quick_ ? 2000 : 10000);
      apart = apart && difference.high < 0;
      claim.note +=
          fmt::format("{}{} bits: {:.3f} against {:.3f}, {:.4f} nats [{:.4f}, {:.4f}]", i == 0 ? "" : "; ",
                      i == 0 ? "2.3" : "3.4", own, ablated, difference.mean, difference.low, difference.high);
      if (ablated / own >= weakest) continue;
      weakest = ablated / own;
      claim.baseline_value = ablated;
      claim.baseline_bytes = static_cast<std::uint64_t>(mean_at(arms, i, "linear_bytes"));
      claim.measured_value = own;
      claim.measured_bytes = static_cast<std::uint64_t>(mean_at(main_, 2 + i, "linear_bytes"));
    }
    claim.threshold = factor > 1 ? "ablated perplexity >= 2 times ours at both sizes"
                                 : "ablated perplexity above ours at both sizes, interval below 0";
    claim.met = weakest > 1 && weakest >= factor && apart;
    result_.claims.push_back(std::move(claim));
  }

  const ReproduceRequest& request_;
  bool quick_;
  ArmCache& cache_;
  Trial trial_;
  std::string text_;
  std::vector<std::uint64_t> seeds_;
  Reproduction& result_;
  Baseline rtn_, plain_, gptq_, wide_;
  std::vector<StackArm> main_;
};

}  // namespace

Reproduction reproduce(const ReproduceRequest& request) {
  const auto start = std::chrono::steady_clock::now();
  Reproduction result;
  result.slug = "bitstack";
  result.seed = request.seed;
  ArmCache cache(request.cache.empty() ? default_arm_cache() : request.cache, request.on_arm);
  std::vector<TrialSubject> subjects = trial_subjects(request);
  if (request.scale == ReproduceRequest::Scale::quick) {
    const auto small =
        std::find_if(subjects.begin(), subjects.end(), [](const auto& s) { return s.short_rows; });
    TrialSubject one = small == subjects.end() ? subjects.front() : *small;
    subjects.clear();
    subjects.push_back(std::move(one));
  }
  for (TrialSubject& subject : subjects) Subject(request, std::move(subject), cache, result).run();
  result.notes.push_back(
      "Perplexity by protocol P1; calibration and reported text by convention C15. Bytes are those of the "
      "linear "
      "layers' payloads with all side information, the stack always at or below the baseline's.");
  result.notes.push_back("Baselines: best of their settings on the first seed, then run on every seed.");
  result.arms = cache.records();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace laconic::bitstack
