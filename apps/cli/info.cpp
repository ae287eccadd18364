// laconic info METHOD: paper, parameters with ranges and defaults.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/cli/verb.h"
#include "methods/method.h"

namespace laconic::cli {
namespace {

std::string range_of(const ParameterSpec& spec) {
  switch (spec.type) {
    case ParameterSpec::Type::integer:
    case ParameterSpec::Type::number:
      return fmt::format("{} to {}", spec.low, spec.high);
    case ParameterSpec::Type::boolean:
      return "true, false";
    case ParameterSpec::Type::choice:
      return fmt::format("{}", fmt::join(spec.choices, ", "));
    case ParameterSpec::Type::text:
      return "text";
  }
  return "";
}

int info(const Arguments& arguments, const Session& session) {
  const MethodDescription& method = method_named(arguments.text("method"));
  if (session.json) {
    nlohmann::json parameters = nlohmann::json::array();
    for (const ParameterSpec& spec : method.parameters) {
      parameters.push_back({{"name", spec.name},
                            {"default", spec.default_value},
                            {"range", range_of(spec)},
                            {"help", spec.help}});
    }
    const nlohmann::json value = {{"slug", method.slug},
                                  {"card", method.card},
                                  {"title", method.title},
                                  {"paper", method.paper},
                                  {"subject", method.subject},
                                  {"summary", method.summary},
                                  {"needs_calibration", method.needs_calibration},
                                  {"reproducible", static_cast<bool>(method.reproduce)},
                                  {"parameters", parameters}};
    fmt::print("{}\n", value.dump(2));
    return 0;
  }
  fmt::print("{}: {}\n\n{}\n{}\n\n", method.slug, method.summary, method.title, method.paper);
  fmt::print("Calibration text: {}\n\n",
             method.needs_calibration ? "needed (--calibration FILE)" : "not needed");
  std::vector<std::vector<std::string>> rows = {{"parameter", "default", "range", "meaning"}};
  for (const ParameterSpec& spec : method.parameters) {
    rows.push_back(
        {spec.name, spec.default_value.empty() ? "-" : spec.default_value, range_of(spec), spec.help});
  }
  if (rows.size() > 1) fmt::print("{}\n", format_table(rows));
  fmt::print("Use it:  laconic compress MODEL -m {}{} -o OUT\n", method.slug,
             method.parameters.empty() ? "" : fmt::format(" -p {}=...", method.parameters.front().name));
  if (method.reproduce) fmt::print("Check its claims:  laconic reproduce {} --quick\n", method.slug);
  return 0;
}

}  // namespace

Verb info_verb() {
  return {"info",
          "Describe a method: paper, parameters, use",
          "  laconic info decoupleq\n  laconic info bitstack --json\n",
          {{"method", OptionSpec::Kind::text, "a method of laconic list", true}},
          info};
}

}  // namespace laconic::cli
