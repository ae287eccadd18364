#include "apps/cli/mixed_length_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "methods/gradients/bytescale/length_draws.h"
#include "methods/gradients/bytescale/planner.h"
#include "methods/gradients/bytescale/simulation.h"

namespace laconic::cli {
namespace {

using namespace bytescale;

// One length a line; empty lines are skipped.
std::vector<std::uint32_t> read_lengths(const std::filesystem::path& file) {
  const std::string text = read_text_file(file, std::size_t{1} << 28);
  std::vector<std::uint32_t> lengths;
  std::size_t line = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    ++line;
    std::string_view word(text.data() + at, end - at);
    if (!word.empty() && word.back() == '\r') word.remove_suffix(1);
    at = end + 1;
    if (word.empty()) continue;
    std::uint32_t length = 0;
    const auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), length);
    if (error != std::errc() || rest != word.data() + word.size())
      fail(ErrorKind::input, fmt::format("\"{}\" is no length", word.substr(0, 40)),
           fmt::format("{}:{}", file.string(), line), "one whole number of tokens a line");
    lengths.push_back(length);
  }
  if (lengths.empty()) fail(ErrorKind::input, "no lengths", file.string());
  return lengths;
}

}  // namespace

std::vector<OptionSpec> mixed_length_options() {
  using Kind = OptionSpec::Kind;
  return {
      {"--ranks", Kind::integer, "mixed-length: ranks that are simulated", false, "256"},
      {"--capacity", Kind::integer, "mixed-length: tokens that a rank holds", false, "8192"},
      {"--lengths", Kind::text, "mixed-length: github-like, long-text, or a file with one length a line",
       false, "github-like"},
      {"--longest", Kind::integer, "mixed-length: longest sequence that is drawn", false, "1048576"},
      {"--batch-tokens", Kind::integer, "mixed-length: tokens of the batch that is drawn", false, "33554432"},
      {"--model", Kind::text, "mixed-length: llama-7b, llama-13b or llama-30b", false, "llama-7b"},
      {"--stages", Kind::integer, "mixed-length: every rank is a pipeline of so many stages", false, "1"},
      {"--seed", Kind::integer, "mixed-length: of the lengths", false, "0"},
      {"--output", Kind::text, "mixed-length: write the fastest plan to this file"}};
}

int mixed_length_plans(const Arguments& arguments, const Session& session) {
  PlannerOptions options;
  options.ranks = static_cast<std::uint32_t>(arguments.integer("ranks", 256, 1, 65535));
  options.capacity = static_cast<std::uint32_t>(arguments.integer("capacity", 8192, 1, 1 << 24));
  const auto longest = static_cast<std::uint32_t>(arguments.integer("longest", 1 << 20, 32, 1 << 28));
  const auto tokens =
      static_cast<std::uint64_t>(arguments.integer("batch-tokens", 32 << 20, 1, std::int64_t{1} << 34));
  const auto stages = static_cast<int>(arguments.integer("stages", 1, 1, 256));
  const std::string source = arguments.text("lengths", "github-like");
  const StepCosts costs = costs_of(published_model(arguments.text("model", "llama-7b")));
  const bool file = std::filesystem::is_regular_file(source);
  const std::vector<std::uint32_t> lengths =
      file ? read_lengths(source)
           : draw_lengths(length_distribution(source), longest, tokens,
                          static_cast<std::uint64_t>(arguments.integer("seed", 0, 0, 1 << 30)), 0);
  options.longest = file ? 0 : longest;

  std::vector<std::vector<std::string>> table = {{"plan", "seconds", "first rank", "last rank",
                                                  "seconds / bound", "not hidden", "KV sent a token",
                                                  "plan bytes"}};
  nlohmann::json rows = nlohmann::json::array();
  Plan best;
  double least = 0;
  for (const Schedule schedule : schedules) {
    for (const Offload offload : {Offload::none, Offload::within_horizon}) {
      if (schedule == Schedule::static_context && offload != Offload::none) continue;
      options.schedule = schedule;
      options.offload = offload;
      const std::string name = std::string(name_of(schedule)) + (offload == Offload::none ? "" : ", offload");
      Plan plan;
      try {
        plan = make_plan(lengths, costs, options);
      } catch (const Error& error) {
        // A fixed mesh, or memory alone, may not hold what others do.
        if (error.kind() != ErrorKind::usage ||
            (schedule != Schedule::static_context && offload != Offload::none))
          throw;
        table.push_back({name, "does not fit", "", "", "", "", "", ""});
        rows.push_back({{"plan", name}, {"refused", error.what()}});
        continue;
      }
      check_plan(plan, lengths, costs);
      const SimulatedStep step = simulate_step(plan, lengths, costs, stages);
      if (best.items.empty() || step.seconds < least) {
        least = step.seconds;
        best = plan;
      }
      const double sent = step.sent_bytes / static_cast<double>(step.tokens);
      table.push_back({name, fmt::format("{:.2f}", step.seconds), fmt::format("{:.2f}", step.least),
                       fmt::format("{:.2f}", step.most), fmt::format("{:.3f}", step.seconds / step.bound),
                       fmt::format("{:.1f} %", 100 * step.communication()),
                       human_bytes(static_cast<std::uint64_t>(sent)), std::to_string(step.plan_bytes)});
      rows.push_back({{"plan", name},
                      {"seconds", step.seconds},
                      {"first_rank", step.least},
                      {"last_rank", step.most},
                      {"bound", step.bound},
                      {"communication", step.communication()},
                      {"sent_bytes_per_token", sent},
                      {"plan_bytes", step.plan_bytes}});
    }
  }
  if (arguments.has("output")) write_file(arguments.text("output"), encode_plan(best));
  const double longest_length = *std::max_element(lengths.begin(), lengths.end());
  const double share = token_share_beyond(lengths, options.capacity);
  std::uint64_t all = 0;
  for (const std::uint32_t length : lengths) all += length;
  if (session.json) {
    const nlohmann::json value = {{"sequences", lengths.size()},
                                  {"tokens", all},
                                  {"longest", longest_length},
                                  {"share_beyond_capacity", share},
                                  {"ranks", options.ranks},
                                  {"capacity", options.capacity},
                                  {"plans", rows}};
    fmt::print("{}\n", value.dump(2));
    return 0;
  }
  fmt::print(
      "{} sequences, {} tokens, the longest {}; {:.1f} % of the tokens in sequences longer than {}\n"
      "{} ranks, simulated; \"not hidden\": of the ranks' work, communication that computing does not "
      "hide\n{}\n",
      lengths.size(), all, longest_length, 100 * share, options.capacity, options.ranks, format_table(table));
  return 0;
}

}  // namespace laconic::cli
