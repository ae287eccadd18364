// laconic list: the methods.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/cli/verb.h"
#include "methods/cache/pipeline.h"
#include "methods/method.h"

namespace laconic::cli {
namespace {

std::string cell(std::string text) {
  for (std::size_t at = text.find('|'); at != std::string::npos; at = text.find('|', at + 2)) {
    text.insert(at, 1, '\\');
  }
  return text;
}

// docs/methods.md.
std::string markdown() {
  std::string page =
      "# Methods\n\nMade by `laconic list --markdown > docs/methods.md`; `laconic info METHOD` shows the "
      "same for "
      "one method.\n\n| method | card | subject | what it does | paper |\n|---|---|---|---|---|\n";
  for (const MethodDescription& method : method_registry()) {
    page += fmt::format("| [{0}](#{0}) | {1} | {2} | {3} | {4} |\n", method.slug,
                        method.card > 0 ? std::to_string(method.card) : "-", method.subject,
                        cell(method.summary), cell(method.paper));
  }
  for (const MethodDescription& method : method_registry()) {
    page += fmt::format("\n## {}\n\n{}. {}{}.\n", method.slug, method.title, method.paper,
                        method.needs_calibration ? "; needs a calibration text" : "");
    if (method.parameters.empty()) continue;
    page += "\n| parameter | default | values | meaning |\n|---|---|---|---|\n";
    for (const ParameterSpec& spec : method.parameters) {
      page += fmt::format("| {} | {} | {} | {} |\n", spec.name, cell(spec.default_value), cell(spec.range()),
                          cell(spec.help));
    }
  }
  return page;
}

// The table of docs/kv-cache.md: which cache methods can be stages of one pipeline.
std::string compositions() {
  const std::vector<std::vector<std::string>> table = cache_composition_table();
  std::vector<std::string> reasons;
  std::string page;
  for (std::size_t row = 0; row < table.size(); ++row) {
    for (const std::string& entry : table[row]) {
      std::string shown = entry;
      if (row > 0 && entry != table[row].front() && !entry.starts_with("yes") && entry != "-") {
        auto found = std::find(reasons.begin(), reasons.end(), entry);
        if (found == reasons.end()) found = reasons.insert(reasons.end(), entry);
        shown = fmt::format("no ({})", found - reasons.begin() + 1);
      }
      page += "| " + shown + " ";
    }
    page += "|\n";
    if (row > 0) continue;
    for (std::size_t i = 0; i < table.front().size(); ++i) page += "|---";
    page += "|\n";
  }
  page += "\n";
  for (std::size_t i = 0; i < reasons.size(); ++i) page += fmt::format("{}. {}\n", i + 1, reasons[i]);
  return page;
}

}  // namespace

Verb list_verb() {
  return {"list",
          "List the methods",
          "  laconic list\n  laconic list --json\n  laconic list --markdown > docs/methods.md\n",
          {{"--markdown", OptionSpec::Kind::flag, "as a page of documentation, parameters included"},
           {"--compositions", OptionSpec::Kind::flag, "which cache methods can be combined, and why not"}},
          [](const Arguments& arguments, const Session& session) {
            if (arguments.flag("compositions")) {
              fmt::print("{}", compositions());
              return 0;
            }
            if (arguments.flag("markdown")) {
              fmt::print("{}", markdown());
              return 0;
            }
            if (session.json) {
              nlohmann::json rows = nlohmann::json::array();
              for (const MethodDescription& method : method_registry()) {
                rows.push_back({{"slug", method.slug},
                                {"card", method.card},
                                {"title", method.title},
                                {"subject", method.subject}});
              }
              fmt::print("{}\n", rows.dump(2));
              return 0;
            }
            std::vector<std::vector<std::string>> rows = {{"method", "card", "subject", "what it does"}};
            for (const MethodDescription& method : method_registry()) {
              rows.push_back({method.slug, method.card > 0 ? std::to_string(method.card) : "-",
                              method.subject, method.summary});
            }
            fmt::print("{}", format_table(rows));
            return 0;
          }};
}

}  // namespace laconic::cli
