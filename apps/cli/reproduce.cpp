// laconic reproduce METHOD: a paper's claims at small scale, beside what the paper beat, at equal bytes.
#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "apps/cli/verb.h"
#include "apps/report/report.h"
#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/json.h"
#include "methods/method.h"

namespace laconic::cli {
namespace {

std::string available_reproductions() {
  std::string text;
  for (const MethodDescription& method : method_registry()) {
    if (method.reproduce) text += (text.empty() ? "" : ", ") + method.slug;
  }
  return text.empty() ? "no method has one yet" : "these have one: " + text;
}

std::string value_and_bytes(double value, std::uint64_t bytes) {
  return bytes == 0 ? fmt::format("{:.5g}", value) : fmt::format("{:.5g} at {} B", value, bytes);
}

void print_claims(const Reproduction& result) {
  int met = 0;
  for (const Claim& claim : result.claims) {
    met += claim.met;
    fmt::print("{}  {}\n", claim.met ? "met    " : "NOT MET", claim.claim);
    fmt::print("         paper      {}\n", claim.paper);
    fmt::print("         baseline   {}: {}\n", claim.baseline_name,
               value_and_bytes(claim.baseline_value, claim.baseline_bytes));
    fmt::print("         measured   {}\n", value_and_bytes(claim.measured_value, claim.measured_bytes));
    fmt::print("         threshold  {}\n", claim.threshold);
    if (!claim.note.empty()) fmt::print("         note       {}\n", claim.note);
  }
  fmt::print("\n{} of {} claims met\n", met, result.claims.size());
}

void print_text(const Reproduction& result) {
  for (const ReproductionTable& table : result.tables) {
    fmt::print("{}\n{}\n", table.title, format_table(table.rows));
  }
  print_claims(result);
  for (const std::string& note : result.notes) fmt::print("note: {}\n", note);
  int cached = 0;
  double saved = 0;
  for (const ArmRecord& arm : result.arms) {
    cached += arm.cached;
    if (arm.cached) saved += arm.seconds;
  }
  fmt::print("{} arms: {} fresh, {} cached (saved {}); {}, seed {}\n", result.arms.size(),
             static_cast<int>(result.arms.size()) - cached, cached, human_seconds(saved),
             human_seconds(result.seconds), result.seed);
}

nlohmann::json as_json(const Reproduction& result) {
  nlohmann::json claims = nlohmann::json::array();
  for (const Claim& claim : result.claims) {
    claims.push_back(
        {{"claim", claim.claim},
         {"paper", claim.paper},
         {"baseline",
          {{"name", claim.baseline_name}, {"value", claim.baseline_value}, {"bytes", claim.baseline_bytes}}},
         {"measured", {{"value", claim.measured_value}, {"bytes", claim.measured_bytes}}},
         {"threshold", claim.threshold},
         {"met", claim.met},
         {"note", claim.note}});
  }
  nlohmann::json tables = nlohmann::json::array(), curves = nlohmann::json::array(),
                 arms = nlohmann::json::array();
  for (const ReproductionTable& table : result.tables) {
    tables.push_back({{"title", table.title}, {"rows", table.rows}});
  }
  for (const ReproductionCurve& curve : result.curves) {
    curves.push_back({{"chart", curve.chart}, {"name", curve.name}, {"points", curve.points}});
  }
  for (const ArmRecord& arm : result.arms) {
    arms.push_back(
        {{"name", arm.name}, {"state", arm.cached ? "cached" : "fresh"}, {"seconds", arm.seconds}});
  }
  return {{"slug", result.slug},
          {"seed", result.seed},
          {"seconds", result.seconds},
          {"met", result.met()},
          {"claims", claims},
          {"notes", {{"text", result.notes}, {"tables", tables}, {"curves", curves}, {"arms", arms}}}};
}

// The claims of a stored --json result as a Markdown table.
int show_stored(const std::filesystem::path& path, const std::string& slug) {
  const nlohmann::json stored = parse_json(read_text_file(path), path.string());
  try {
    if (stored.at("slug").get<std::string>() != slug) {
      fail(ErrorKind::input, "holds the claims of another method", path.string());
    }
    fmt::print("| claim | baseline | measured | threshold | met | note |\n|---|---|---|---|---|---|\n");
    for (const nlohmann::json& claim : stored.at("claims")) {
      fmt::print("| {} | {}: {:.5g} | {:.5g} | {} | {} | {} |\n", claim.at("claim").get<std::string>(),
                 claim.at("baseline").at("name").get<std::string>(),
                 claim.at("baseline").at("value").get<double>(),
                 claim.at("measured").at("value").get<double>(), claim.at("threshold").get<std::string>(),
                 claim.at("met").get<bool>() ? "yes" : "**no**", claim.at("note").get<std::string>());
    }
  } catch (const nlohmann::json::exception&) {
    fail(ErrorKind::corrupt, "is not a stored result of reproduce --json", path.string());
  }
  return 0;
}

int reproduce(const Arguments& arguments, const Session& session) {
  const MethodDescription& method = method_named(arguments.text("method"));
  if (arguments.has("stored")) return show_stored(arguments.text("stored"), method.slug);
  if (!method.reproduce) {
    fail(ErrorKind::usage, method.slug + " has no claims to reproduce", "reproduce",
         available_reproductions());
  }
  ReproduceRequest request;
  const std::string scale = arguments.text("scale", "standard");
  if (scale != "standard" && scale != "full") {
    fail(ErrorKind::usage, "\"" + scale + "\" is not a scale", "--scale", "standard or full");
  }
  if (arguments.flag("quick") && scale == "full") {
    fail(ErrorKind::usage, "--quick and --scale full exclude each other");
  }
  if (scale == "full") request.scale = ReproduceRequest::Scale::full;
  if (arguments.flag("quick")) request.scale = ReproduceRequest::Scale::quick;
  request.seed = static_cast<std::uint64_t>(arguments.integer("seed", 0, 0, std::int64_t{1} << 53));
  request.data = data_folder(arguments);
  request.cache = default_arm_cache();
  if (arguments.has("cache")) request.cache = arguments.text("cache");
  std::error_code unknown;
  request.program = std::filesystem::read_symlink("/proc/self/exe", unknown);
  request.progress = session.progress;
  if (!session.json) {
    request.on_arm = [](const ArmRecord& arm) {
      fmt::print(stderr, "{}  {}  {}\n", arm.cached ? "cached" : "fresh ", arm.name,
                 human_seconds(arm.seconds));
    };
  }
  const auto start = std::chrono::steady_clock::now();
  Reproduction result = method.reproduce(request);
  result.slug = method.slug;
  result.seed = request.seed;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (arguments.has("report")) {
    write_file(arguments.text("report"),
               reproduction_html(result, fmt::format("laconic reproduce {}", method.slug)));
  }
  if (session.json) {
    fmt::print("{}\n", as_json(result).dump(2));
  } else {
    print_text(result);
  }
  return result.met() ? 0 : 1;
}

}  // namespace

Verb reproduce_verb() {
  using Kind = OptionSpec::Kind;
  return {
      "reproduce",
      "Measure a paper's claims at small scale",
      "  laconic reproduce decoupleq --quick\n"
      "  laconic reproduce decoupleq --seed 7 --data ./data --json\n"
      "Exit code 1: a claim is not met.\n",
      {{"method", Kind::text, "a method of laconic list", true},
       {"--quick", Kind::flag, "under 90 seconds: one seed, fewer rows"},
       {"--scale", Kind::text, "standard, or full for hours", false, "standard"},
       {"--seed", Kind::integer, "draws calibration windows and all random numbers", false, "0"},
       {"--data", Kind::text, "reference models and texts", false, "$LACONIC_DATA"},
       {"--report", Kind::text, "also write an HTML report here"},
       {"--stored", Kind::text, "measure nothing: print the claims of a stored --json result as Markdown"},
       {"--cache", Kind::text, "where finished arms are kept", false, "~/.cache/laconic/arms"}},
      reproduce};
}

}  // namespace laconic::cli
