// laconic demo: the model that the project carries, compressed by every method to the same bytes, measured on
// stories that nothing was trained or calibrated on.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "apps/cli/verb.h"
#include "apps/report/report.h"
#include "engine/base/error.h"
#include "engine/base/files.h"
#include "methods/weights/trial.h"
#include "runtime/corpus/stories.h"

namespace laconic::cli {
namespace {

constexpr std::uint64_t calibration_seed = 2, calibration_stories = 1000, held_out_stories = 300;

struct MethodRow {
  std::string method, detail;  // detail: what was asked for
  double bytes = 0, bits = 0, perplexity = 0, kl = 0, seconds = 0;
  bool cached = false;
  std::string sample;
};

// A story's first words, for the models to go on from.
std::string opening(const std::string& story) {
  std::size_t end = 0;
  for (int words = 0; words < 8 && end != std::string::npos; ++words) end = story.find(' ', end + 1);
  return story.substr(0, end);
}

TrialSubject subject(const Arguments& arguments, std::uint64_t seed) {
  TrialSubject result;
  result.model = bundled_model();
  if (arguments.has("model")) result.model = arguments.text("model");
  if (result.model.empty()) {
    fail(ErrorKind::input, "the model that the project carries was not found", "assets/stories",
         "run ./laconic demo in the source folder, set LACONIC_ASSETS, or name a model with --model");
  }
  result.name = std::filesystem::path(result.model).lexically_normal().filename().string();
  result.calibration = make_training_stories(calibration_seed, calibration_stories);
  result.held_out.push_back({"stories", make_held_out_stories(seed, held_out_stories)});
  return result;
}

class Demo {
 public:
  Demo(Trial& trial, ArmCache& cache) : trial_(trial), cache_(cache) {}

  void original() {
    const ArmNumbers numbers = trial_.original();
    original_bytes_ = numbers.at("stored_bytes");
    keep(row_of("original", "", numbers), trial_.original_sample(), true);
  }

  // One method at one size; the first size is the one of the table. A method that cannot do it says so.
  void compressed(const std::string& slug, const std::string& detail, const ParameterValues& parameters,
                  const SizeTarget& target, bool in_table) {
    const auto& methods = method_registry();
    if (std::none_of(methods.begin(), methods.end(), [&](const auto& m) { return m.slug == slug; })) return;
    try {
      const ArmNumbers numbers = trial_.compressed(slug, parameters, 0, target);
      keep(row_of(slug, detail, numbers), trial_.sample(slug, parameters, 0, target), in_table);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::interrupted) throw;
      missing_.push_back(slug + ' ' + detail + ": " + error.what());
    }
  }

  double bytes_of_last() const { return all_.back().bytes; }
  const std::vector<MethodRow>& table() const { return table_; }
  const std::vector<std::string>& missing() const { return missing_; }

  std::vector<std::vector<std::string>> text_rows() const {
    std::vector<std::vector<std::string>> rows = {
        {"method", "bytes", "times smaller", "bits/weight", "perplexity", "KL", "seconds"}};
    for (const MethodRow& row : table_) {
      rows.push_back({row.method, fmt::format("{:.0f}", row.bytes),
                      fmt::format("{:.2f}", original_bytes_ / row.bytes), fmt::format("{:.2f}", row.bits),
                      fmt::format("{:.3f}", row.perplexity), fmt::format("{:.4f}", row.kl),
                      row.method == "original"
                          ? "-"
                          : fmt::format("{:.1f}{}", row.seconds, row.cached ? " (kept)" : "")});
    }
    return rows;
  }

  Chart chart() const {
    Chart chart{"Perplexity against bytes of the .safetensors file",
                "bytes",
                "perplexity on held-out stories",
                false,
                true,
                {}};
    for (const MethodRow& row : all_) {
      auto series = std::find_if(chart.series.begin(), chart.series.end(),
                                 [&](const ChartSeries& one) { return one.name == row.method; });
      if (series == chart.series.end()) series = chart.series.insert(series, {row.method, {}});
      series->points.emplace_back(row.bytes, row.perplexity);
    }
    return chart;
  }

 private:
  MethodRow row_of(const std::string& method, const std::string& detail, const ArmNumbers& numbers) const {
    MethodRow row{method, detail, 0, 0, 0, 0, 0, false, {}};
    row.bytes = numbers.at("stored_bytes");
    row.bits = numbers.at("linear_bits");
    row.perplexity = numbers.at("ppl.stories");
    row.kl = numbers.at("kl.stories");
    if (const auto seconds = numbers.find("compress_seconds"); seconds != numbers.end())
      row.seconds = seconds->second;
    row.cached = cache_.records().back().cached;
    return row;
  }

  void keep(MethodRow row, std::string sample, bool in_table) {
    std::replace(sample.begin(), sample.end(), '\n', ' ');
    row.sample = std::move(sample);
    if (in_table) table_.push_back(row);
    all_.push_back(std::move(row));
  }

  Trial& trial_;
  ArmCache& cache_;
  double original_bytes_ = 0;
  std::vector<MethodRow> table_, all_;
  std::vector<std::string> missing_;
};

void write_report(const std::filesystem::path& path, const Demo& demo, const Trial& trial,
                  const std::string& prompt, double seconds) {
  HtmlReport report("What the saved bytes cost");
  report.paragraph(
      fmt::format("{}, compressed by each method to the same size as 2 bits a weight in groups of 64, and "
                  "measured on {} tokens of "
                  "freshly generated stories that no model was trained or calibrated on. Perplexity: how "
                  "many words the model "
                  "hesitates between; KL: how far its predictions moved, in nats per token. {:.0f} seconds "
                  "on this machine.",
                  trial.subject().name, trial.options().tokens_per_text, seconds));
  report.table(demo.text_rows());
  report.chart(demo.chart());
  report.heading("What each model writes after: " + prompt);
  for (const MethodRow& row : demo.table()) report.quotation(row.method, row.sample);
  for (const std::string& line : demo.missing()) report.paragraph("Not shown: " + line);
  write_file(path, report.html());
}

int demo(const Arguments& arguments, const Session& session) {
  const auto start = std::chrono::steady_clock::now();
  const auto seed = static_cast<std::uint64_t>(arguments.integer("seed", 3, 0, std::int64_t{1} << 53));
  ReproduceRequest request;
  request.progress = session.progress;
  ArmCache cache(arguments.has("cache") ? std::filesystem::path(arguments.text("cache"))
                                        : default_arm_cache());
  TrialOptions options;
  options.tokens_per_text = 4000;
  options.sample_prompt = opening(make_story(seed, first_held_out_story).text);
  Trial trial(request, subject(arguments, seed), cache, options);
  Demo rows(trial, cache);
  rows.original();
  for (const int bits : {2, 3, 4}) {
    const std::string width = std::to_string(bits), detail = width + " bits, groups of 64";
    const ParameterValues grid = {{"bits", width}, {"group", "64"}};
    rows.compressed("rtn", detail, grid, {}, bits == 2);
    const double bytes = rows.bytes_of_last();
    rows.compressed("gptq", detail, grid, {}, bits == 2);
    rows.compressed("decoupleq", detail, grid, {}, bits == 2);
    SizeTarget size;
    size.size = static_cast<std::uint64_t>(bytes);
    // A third of the search's own default, so that the demo stays short.
    rows.compressed("evopress", fmt::format("{:.0f} bytes", bytes), {{"generations", "20"}}, size, bits == 2);
    rows.compressed("bitstack", fmt::format("{:.0f} bytes", bytes), {}, size, bits == 2);
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const std::filesystem::path report = arguments.text("report", "laconic-demo.html");
  write_report(report, rows, trial, options.sample_prompt, seconds);
  if (session.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const MethodRow& row : rows.table()) {
      list.push_back({{"method", row.method},
                      {"bytes", row.bytes},
                      {"linear_bits_per_weight", row.bits},
                      {"perplexity", row.perplexity},
                      {"kl", row.kl},
                      {"seconds", row.seconds},
                      {"state", row.cached ? "cached" : "fresh"},
                      {"sample", row.sample}});
    }
    const nlohmann::json value = {{"model", trial.subject().name},
                                  {"prompt", options.sample_prompt},
                                  {"rows", list},
                                  {"not_shown", rows.missing()},
                                  {"seconds", seconds},
                                  {"report", report.string()}};
    fmt::print("{}\n", value.dump(2));
    return 0;
  }
  fmt::print("{} at the bytes of 2-bit codes in groups of 64; {} tokens of new stories (seed {})\n\n",
             trial.subject().name, options.tokens_per_text, seed);
  fmt::print("{}\n", format_table(rows.text_rows()));
  fmt::print("after \"{}\"\n", options.sample_prompt);
  for (const MethodRow& row : rows.table()) fmt::print("{:>10}:{}\n", row.method, row.sample);
  for (const std::string& line : rows.missing()) fmt::print("not shown: {}\n", line);
  fmt::print("\n{} arms fresh, {} kept from earlier; {}. Chart and table: {}\n", cache.fresh(),
             cache.cached(), human_seconds(seconds), report.string());
  return 0;
}

}  // namespace

Verb demo_verb() {
  using Kind = OptionSpec::Kind;
  return {"demo",
          "Compress the bundled model by every method and compare",
          "  laconic demo\n  laconic demo --seed 9 --report /tmp/demo.html\n",
          {{"--model", Kind::text, "another model directory that tells stories", false, "assets/stories"},
           {"--seed", Kind::integer, "of the held-out stories", false, "3"},
           {"--report", Kind::text, "where the HTML report goes", false, "laconic-demo.html"},
           {"--cache", Kind::text, "where finished rows are kept", false, "~/.cache/laconic/arms"}},
          demo};
}

}  // namespace laconic::cli
