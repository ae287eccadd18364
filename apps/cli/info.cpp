// laconic info [METHOD|CODEC]: paper, parameters with ranges and defaults; without a name, the codecs.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "apps/cli/verb.h"
#include "engine/codec/codec.h"
#include "methods/cache/cache_method.h"
#include "methods/gradients/gradient_method.h"

namespace laconic::cli {
namespace {

nlohmann::json as_json(const std::vector<ParameterSpec>& specs) {
  nlohmann::json parameters = nlohmann::json::array();
  for (const ParameterSpec& spec : specs) {
    parameters.push_back(
        {{"name", spec.name}, {"default", spec.default_value}, {"range", spec.range()}, {"help", spec.help}});
  }
  return parameters;
}

void print_parameters(const std::vector<ParameterSpec>& specs) {
  if (specs.empty()) return;
  std::vector<std::vector<std::string>> rows = {{"parameter", "default", "range", "meaning"}};
  for (const ParameterSpec& spec : specs) {
    rows.push_back(
        {spec.name, spec.default_value.empty() ? "-" : spec.default_value, spec.range(), spec.help});
  }
  fmt::print("{}\n", format_table(rows));
}

const CodecDescription* find_codec(std::string_view name) {
  for (const CodecDescription& codec : codec_registry()) {
    if (codec.name == name) return &codec;
  }
  return nullptr;
}

bool is_method(std::string_view name) {
  const auto& methods = method_registry();
  return std::any_of(methods.begin(), methods.end(), [&](const auto& method) { return method.slug == name; });
}

int codecs(const Session& session) {
  if (session.json) {
    nlohmann::json list = nlohmann::json::array();
    for (const CodecDescription& codec : codec_registry()) {
      list.push_back(
          {{"codec", codec.name}, {"summary", codec.summary}, {"parameters", as_json(codec.parameters)}});
    }
    fmt::print("{}\n", list.dump(2));
    return 0;
  }
  fmt::print("Codecs, for compositions such as 'uniform(bits=3) + lowrank(rank=4) | rans':\n\n");
  std::vector<std::vector<std::string>> rows = {{"codec", "what it does"}};
  for (const CodecDescription& codec : codec_registry()) rows.push_back({codec.name, codec.summary});
  fmt::print("{}\nlaconic info CODEC shows its parameters; laconic list shows the methods.\n",
             format_table(rows));
  return 0;
}

int describe(const CodecDescription& codec, const Session& session) {
  if (session.json) {
    const nlohmann::json value = {
        {"codec", codec.name}, {"summary", codec.summary}, {"parameters", as_json(codec.parameters)}};
    fmt::print("{}\n", value.dump(2));
    return 0;
  }
  fmt::print("{}: {}\n\n", codec.name, codec.summary);
  print_parameters(codec.parameters);
  return 0;
}

int describe(const MethodDescription& method, const CodecDescription* codec, const Session& session) {
  if (session.json) {
    nlohmann::json value = {{"slug", method.slug},
                            {"card", method.card},
                            {"title", method.title},
                            {"paper", method.paper},
                            {"subject", method.subject},
                            {"summary", method.summary},
                            {"needs_calibration", method.needs_calibration},
                            {"reproducible", static_cast<bool>(method.reproduce)},
                            {"parameters", as_json(method.parameters)}};
    if (codec != nullptr) value["codec_parameters"] = as_json(codec->parameters);
    if (method.cache && method.cache->make_base)
      value["base_parameters"] = as_json(method.cache->base_parameters);
    fmt::print("{}\n", value.dump(2));
    return 0;
  }
  fmt::print("{}: {}\n\n{}\n{}\n\n", method.slug, method.summary, method.title, method.paper);
  if (method.compress) {
    fmt::print("Calibration text: {}\n\n",
               method.needs_calibration ? "needed (--calibration FILE)" : "not needed");
  }
  print_parameters(method.parameters);
  const std::string parameter =
      method.parameters.empty() ? "" : fmt::format(" -p {}=...", method.parameters.front().name);
  if (method.compress) fmt::print("Use it:  laconic compress MODEL -m {}{} -o OUT\n", method.slug, parameter);
  if (method.exchange) fmt::print("Use it:  laconic train TASK --exchange {}{}\n", method.slug, parameter);
  if (method.local) {
    fmt::print("Use it:  laconic train TASK --exchange {}{}\n", method.slug, parameter);
    fmt::print("         laconic train TASK --exchange '{} over ef:uniform(bits=8)'\n", method.slug);
  }
  if (method.federated) {
    fmt::print("Use it:  laconic train TASK --exchange {}{} --clients N --participation F --rounds N\n",
               method.slug, parameter);
  }
  if (method.cache) {
    const std::string inside =
        method.parameters.empty()
            ? ""
            : fmt::format("({}={})", method.parameters.front().name, method.parameters.front().default_value);
    fmt::print("Use it:  laconic eval MODEL --text FILE --cache '{}{}'\n", method.slug, inside);
    if (method.cache->make_base) {
      fmt::print("\nIts base of a model, made by laconic kv train MODEL -m {} -p NAME=VALUE --text FILE:\n\n",
                 method.slug);
      print_parameters(method.cache->base_parameters);
    }
  }
  if (method.reproduce) fmt::print("Check its claims:  laconic reproduce {} --quick\n", method.slug);
  if (codec != nullptr) {
    fmt::print("\nAs a codec in compositions: {}\n\n", codec->summary);
    print_parameters(codec->parameters);
  }
  return 0;
}

int info(const Arguments& arguments, const Session& session) {
  if (!arguments.has("name")) return codecs(session);
  const std::string name = arguments.text("name");
  const CodecDescription* codec = find_codec(name);
  if (codec != nullptr && !is_method(name)) return describe(*codec, session);
  return describe(method_named(name), codec, session);
}

}  // namespace

Verb info_verb() {
  return {
      "info",
      "Describe a method or a codec: paper, parameters, use",
      "  laconic info decoupleq\n  laconic info bitstack --json\n  laconic info lowrank\n  laconic info\n",
      {{"name", OptionSpec::Kind::text, "a method of laconic list, or a codec", false, "list the codecs"}},
      info};
}

}  // namespace laconic::cli
