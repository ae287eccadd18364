#include "methods/gradients/masha2/adversarial_pictures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "engine/base/error.h"
#include "engine/base/progress.h"
#include "engine/dataset/partition.h"
#include "methods/gradients/compressed_descent.h"
#include "methods/gradients/extragradient.h"
#include "methods/gradients/problems/tuned_arm.h"
#include "methods/gradients/tasks/task_oracle.h"

namespace laconic::masha {
namespace {

using Variant = ExtragradientSettings::Variant;
using TaskPointer = std::unique_ptr<TrainingTask>;

struct RobustArm {
  std::string name, channel;
  std::optional<Variant> variant;  // none: gradient descent
  double tau = 0;
};

constexpr double tau_of_masha = 0.9;

const std::vector<RobustArm>& robust_arms() {
  static const std::vector<RobustArm> arms = {
      {"SGD", "raw", {}, 0},
      {"extragradient", "raw", Variant::dense, 0},
      {"MASHA1, QSGD of 8 bits", "qsgd(bits=8) | rans", Variant::masha1, tau_of_masha},
      {"MASHA2, Top-5 %", "outliers(fraction=0.05)", Variant::masha2, tau_of_masha}};
  return arms;
}

class AdversarialPictures {
 public:
  AdversarialPictures(const ReproduceRequest& request, ArmCache& cache,
                      const std::vector<std::uint64_t>& seeds, Reproduction& result)
      : request_(request), cache_(cache), seeds_(seeds), result_(result) {
    if (request.scale == ReproduceRequest::Scale::quick) {
      steps_ = 100;
      first_steps_ = 200;
      test_examples_ = 500;
      rates_ = {0.1, 0.025};
      most_further_rates_ = 0;
    }
    if (request.scale == ReproduceRequest::Scale::full) steps_ = 1600;
  }

  void run() {
    if (!make_tasks()) return;
    ReproductionTable table;
    table.title =
        fmt::format("{}, {} workers, {} steps: accuracy of held-out pictures", name_, workers_, steps_);
    table.rows.push_back({"method", "robust", "clean", "rate", "MB up per worker", "MB down",
                          "dense SGD's bytes over its own"});
    std::vector<Arms> all;
    for (const RobustArm& arm : robust_arms()) all.push_back(tuned(arm));
    const double dense = total_bytes(all[0]);
    table.rows.push_back({"where all begin", text_of(all[0], "robust at first"),
                          text_of(all[0], "clean at first"), "", "0", "0", ""});
    for (std::size_t i = 0; i < all.size(); ++i) {
      const RobustArm& arm = robust_arms()[i];
      table.rows.push_back({arm.name, text_of(all[i], "robust"), text_of(all[i], "clean"),
                            fmt::format("{:g}", all[i].front().at("rate")),
                            fmt::format("{:.3g}", 1e-6 * spread_of(all[i], "up").mean),
                            fmt::format("{:.3g}", 1e-6 * spread_of(all[i], "down").mean),
                            fmt::format("{:.2f}", dense / total_bytes(all[i]))});
      result_.curves.push_back(
          {name_, arm.name, mean_curve(all[i]), "bytes up and down of one worker", "robust accuracy"});
    }
    result_.tables.push_back(std::move(table));
    result_.tables.push_back(by_rate());
    for (const std::size_t own : {2u, 3u}) {
      for (const std::size_t baseline : {0u, 1u}) claim(all, own, baseline);
    }
    note();
  }

 private:
  using Arms = std::vector<ArmNumbers>;  // one per seed

  TaskPointer task_of(const std::map<std::string, double>& attack) const {
    TaskRequest wanted;
    wanted.data = request_.data;
    wanted.dataset = "mnist";
    wanted.model = lab_ ? "cnn" : "mlp";
    if (lab_)
      wanted.options = {{"width", 8}, {"dense", 32}, {"normalise", 1}};
    else
      wanted.options = {{"width", 64}};
    wanted.options["examples"] = training_examples_;
    wanted.options["test-examples"] = test_examples_;
    wanted.options.insert(attack.begin(), attack.end());
    return make_training_task(wanted);
  }

  bool make_tasks() {
    try {
      clean_ = task_of({});
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::input) {
        result_.notes.push_back(std::string("no pictures: ") + error.what());
        return false;
      }
      // No lab in this build; anything else is told.
      if (error.kind() != ErrorKind::unsupported && error.kind() != ErrorKind::usage) throw;
      lab_ = false;
      missing_ = error.what();
      clean_ = task_of({});
    }
    name_ = lab_ ? "mnist cnn" : "mnist mlp";
    name_ += " fine-tuned against attacks";
    const double steps = training_attack_steps_, stronger = measured_attack_steps_;
    attacked_ = task_of({{"attack-radius", radius_}, {"attack-steps", steps}});
    measured_ = task_of({{"attack-radius", radius_}, {"attack-steps", stronger}});
    return true;
  }

  // Of clean pictures, by plain descent: where all arms of a seed begin.
  std::vector<double> begin(const Partition& examples, std::uint64_t seed) const {
    const std::vector<float> initial = clean_->initial(seed);
    const TaskOracle oracle(*clean_, examples, first_batch_, seed);
    const auto channel = codec_channel("raw", seed, "up");
    const auto workers = local_workers(workers_);
    DescentSettings settings;
    settings.step = first_rate_;
    CompressedDescent loop(oracle, *workers, *channel, settings, {initial.begin(), initial.end()});
    for (int step = 0; step < first_steps_; ++step) {
      throw_if_interrupted();
      loop.step();
    }
    return loop.point();
  }

  Evaluation measure(const std::vector<double>& point, std::int64_t limit) const {
    const std::vector<float> narrow(point.begin(), point.end());
    return measured_->replica()->evaluate(narrow, limit);
  }

  // The numbers of one run; robust 0 where it left all bounds.
  ArmNumbers trained(const RobustArm& arm, double rate, std::uint64_t seed) const {
    const Partition examples = partition({}, attacked_->examples(), attacked_->labels(), workers_, seed);
    const std::vector<double> start = begin(examples, seed);
    const Evaluation first = measure(start, 0);
    const TaskOracle oracle(*attacked_, examples, batch_, seed);
    const auto workers = local_workers(workers_);
    const auto up = codec_channel(arm.channel, seed, "up"), down = codec_channel(arm.channel, seed, "down");
    ArmNumbers numbers = {{"rate", rate},
                          {"robust at first", *first.accuracy},
                          {"clean at first", *first.clean_accuracy},
                          {"robust", 0},
                          {"clean", 0},
                          {"loss", diverged_value},
                          {"diverged", 1}};
    std::size_t points = 0;
    const auto keep_point = [&](double bytes, double accuracy) {
      numbers[fmt::format("curve.{:03}.bytes", points)] = bytes;
      numbers[fmt::format("curve.{:03}.value", points++)] = accuracy;
    };
    keep_point(0, *first.accuracy);
    // `step` makes one and says whether all is finite; `up_down` has the bytes of one worker.
    const auto train = [&](const auto& step, const std::vector<double>& point, const auto& up_down) {
      for (int done = 1; done <= steps_; ++done) {
        throw_if_interrupted();
        if (!step()) return;
        const std::pair<double, double> bytes = up_down();
        numbers["steps"] = done;
        numbers["up"] = bytes.first;
        numbers["down"] = bytes.second;
        if (done % (steps_ / 4) != 0) continue;
        const auto finite = [](double value) { return std::isfinite(static_cast<float>(value)); };
        if (!std::all_of(point.begin(), point.end(), finite)) return;
        const Evaluation now = measure(point, done == steps_ ? 0 : curve_examples_);
        keep_point(bytes.first + bytes.second, *now.accuracy);
        if (done < steps_) continue;
        numbers["robust"] = *now.accuracy;
        numbers["clean"] = *now.clean_accuracy;
        numbers["loss"] = std::isfinite(now.loss) ? now.loss : diverged_value;
        numbers["diverged"] = 0;
      }
    };
    if (!arm.variant) {
      DescentSettings settings;
      settings.step = rate;
      settings.seed = seed;
      CompressedDescent loop(oracle, *workers, *up, settings, start);
      // What comes back is one such frame.
      const auto bytes = [&] {
        const double own = static_cast<double>(loop.bytes_up()) / workers_;
        return std::pair{own, own};
      };
      train([&] { return loop.step(); }, loop.point(), bytes);
      return numbers;
    }
    ExtragradientSettings settings;
    settings.variant = *arm.variant;
    settings.step = rate;
    settings.tau = arm.tau;
    settings.seed = seed;
    settings.halve_on_divergence = false;  // the grid is what finds the step
    settings.sampled = settings.whole_in_f32 = true;
    const bool whole = arm.variant == Variant::dense;
    if (!whole) settings.reference_samples = reference_samples_;
    Extragradient loop(oracle, *workers, *up, whole ? nullptr : down.get(), settings, start);
    train([&] { return loop.step(); }, loop.point(),
          [&] {
            return std::pair{loop.bytes_up(), loop.bytes_down()};
          });
    numbers["refreshes"] = static_cast<double>(loop.refreshes());
    return numbers;
  }

  ArmNumbers cached(const RobustArm& arm, double rate, std::uint64_t seed) {
    const std::string key = fmt::format(
        "masha adversarial 1\n{}\n{}\n{} {} tau {} rate {} steps {} batch {} workers {} reference {}\n"
        "begins {} steps of {} batch {}\ncurve {} seed {}",
        attacked_->text(), measured_->text(), arm.variant ? static_cast<int>(*arm.variant) : -1, arm.channel,
        arm.tau, rate, steps_, batch_, workers_, reference_samples_, first_steps_, first_rate_, first_batch_,
        curve_examples_, seed);
    return cache_.arm(fmt::format("{}, {}, rate {:g}, seed {}", name_, arm.name, rate, seed), key,
                      [&] { return trained(arm, rate, seed); });
  }

  // The best rate of the first seed, of a grid that is continued by factors of 2 until its best is inside.
  // The longest stable step of one seed may be too long for another: where a network ends below where it
  // began, the next best rate is taken for all.
  Arms tuned(const RobustArm& arm) {
    std::map<double, ArmNumbers> tried;
    for (const double rate : rates_) tried[rate] = cached(arm, rate, seeds_.front());
    const auto less = [](const auto& a, const auto& b) {
      return a.second.at("robust") < b.second.at("robust");
    };
    for (int more = 0; more < most_further_rates_; ++more) {
      const double rate = std::max_element(tried.begin(), tried.end(), less)->first;
      if (rate == tried.begin()->first)
        tried[rate / 2] = cached(arm, rate / 2, seeds_.front());
      else if (rate == tried.rbegin()->first)
        tried[rate * 2] = cached(arm, rate * 2, seeds_.front());
    }
    for (const auto& [rate, numbers] : tried) {
      by_rate_[rate][arm.name] =
          numbers.at("diverged") == 0 ? fmt::format("{:.4f}", numbers.at("robust")) : std::string("diverged");
    }
    for (;;) {
      const auto found = std::max_element(tried.begin(), tried.end(), less);
      Arms arms = {found->second};
      for (std::size_t i = 1; i < seeds_.size(); ++i) arms.push_back(cached(arm, found->first, seeds_[i]));
      const bool all_gain = std::all_of(arms.begin(), arms.end(), [](const ArmNumbers& numbers) {
        return numbers.at("robust") >= numbers.at("robust at first");
      });
      if (all_gain || tried.size() == 1) return arms;
      tried.erase(found);
    }
  }

  static double total_bytes(const Arms& arms) {
    return spread_of(arms, "up").mean + spread_of(arms, "down").mean;
  }
  std::string text_of(const Arms& arms, const std::string& number) const {
    return spread_text(spread_of(arms, number), seeds_.size(), 4);
  }
  // "90.31 +- 0.42", in percent.
  static std::string percent(const Arms& arms, const std::string& number) {
    const Spread spread = spread_of(arms, number);
    return fmt::format("{:.2f} +- {:.2f}", 100 * spread.mean, 100 * spread.deviation);
  }

  ReproductionTable by_rate() const {
    ReproductionTable table;
    table.title = "the same by rate, first seed: robust accuracy";
    table.rows.push_back({"rate"});
    for (const RobustArm& arm : robust_arms()) table.rows.front().push_back(arm.name);
    for (const auto& [rate, of_arms] : by_rate_) {
      std::vector<std::string> row = {fmt::format("{:g}", rate)};
      for (const RobustArm& arm : robust_arms()) {
        const auto found = of_arms.find(arm.name);
        row.push_back(found == of_arms.end() ? "" : found->second);
      }
      table.rows.push_back(std::move(row));
    }
    return table;
  }

  void claim(const std::vector<Arms>& all, std::size_t own, std::size_t baseline) {
    const Spread mine = spread_of(all[own], "robust"), dense = spread_of(all[baseline], "robust");
    const double fewer = total_bytes(all[baseline]) / total_bytes(all[own]);
    Claim claim;
    claim.claim = fmt::format("{}: {} against dense {}, robust accuracy", name_, robust_arms()[own].name,
                              robust_arms()[baseline].name);
    claim.paper = "adversarial training with 8-bit messages and PowerSGD is faster without a loss of quality";
    claim.baseline_name = "dense " + robust_arms()[baseline].name;
    claim.baseline_value = 100 * dense.mean;
    claim.baseline_bytes = static_cast<std::uint64_t>(total_bytes(all[baseline]));
    claim.measured_value = 100 * mine.mean;
    claim.measured_bytes = static_cast<std::uint64_t>(total_bytes(all[own]));
    claim.threshold = "within 1 point at 4 times fewer bytes or better";
    claim.met = mine.mean >= dense.mean - 0.01 && fewer >= 4;
    claim.note = fmt::format(
        "{} seeds, {} steps each; robust {} against {}, clean {} against {}, robust {} where all begin; "
        "{:.2f} times fewer bytes up and down; rate {:g} against {:g}",
        seeds_.size(), steps_, percent(all[own], "robust"), percent(all[baseline], "robust"),
        percent(all[own], "clean"), percent(all[baseline], "clean"), percent(all[0], "robust at first"),
        fewer, all[own].front().at("rate"), all[baseline].front().at("rate"));
    result_.claims.push_back(std::move(claim));
  }

  void note() {
    std::string text = fmt::format(
        "{}: {} pictures of MNIST to train on, {:g} held out; {} workers, minibatches of {} each, {} steps; "
        "rates {:g} to {:g}, and on where the best lies at an end. The attack's radius is {:g} of the way "
        "from black to white, in {} steps; the network is measured under {} steps. All arms begin at the "
        "network that {} steps of descent on clean pictures leave (rate {:g}, batches of {}). F(w) goes over "
        "{} minibatches of a worker, 1 - tau = {:.3g}. Levels of QSGD are entropy coded. What dense SGD gets "
        "back is counted as one whole vector",
        name_, attacked_->examples(), test_examples_, workers_, batch_, steps_, rates_.back(), rates_.front(),
        radius_, training_attack_steps_, measured_attack_steps_, first_steps_, first_rate_, first_batch_,
        reference_samples_, 1 - tau_of_masha);
    if (!lab_) text += "; a perceptron in place of the card's network (" + missing_ + ")";
    result_.notes.push_back(std::move(text));
  }

  static constexpr int workers_ = 4;
  static constexpr double training_examples_ = 3000;
  static constexpr std::int64_t curve_examples_ = 500, batch_ = 8, first_batch_ = 16, reference_samples_ = 8;
  static constexpr int training_attack_steps_ = 2, measured_attack_steps_ = 10;
  static constexpr double first_rate_ = 0.2, radius_ = 0.05;
  const ReproduceRequest& request_;
  ArmCache& cache_;
  const std::vector<std::uint64_t>& seeds_;
  Reproduction& result_;
  int steps_ = 800, first_steps_ = 400, most_further_rates_ = 3;
  double test_examples_ = 2000;
  std::vector<double> rates_ = {0.2, 0.14, 0.1, 0.05, 0.025};
  std::map<double, std::map<std::string, std::string>> by_rate_;  // robust accuracy of the first seed, by arm
  bool lab_ = true;
  std::string name_, missing_;
  TaskPointer clean_, attacked_, measured_;
};

}  // namespace

void adversarial_pictures(const ReproduceRequest& request, ArmCache& cache,
                          const std::vector<std::uint64_t>& seeds, Reproduction& result) {
  AdversarialPictures(request, cache, seeds, result).run();
}

}  // namespace laconic::masha
