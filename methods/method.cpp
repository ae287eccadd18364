#include "methods/method.h"

#include <algorithm>
#include <tuple>

#include "engine/base/error.h"

namespace laconic {

std::vector<MethodDescription> described_methods();  // generated: registry.cpp

const std::vector<MethodDescription>& method_registry() {
  static const std::vector<MethodDescription> methods = [] {
    std::vector<MethodDescription> all = described_methods();
    std::sort(all.begin(), all.end(), [](const MethodDescription& a, const MethodDescription& b) {
      return std::tie(a.subject, a.slug) < std::tie(b.subject, b.slug);
    });
    return all;
  }();
  return methods;
}

const MethodDescription& method_named(std::string_view slug) {
  const auto& methods = method_registry();
  const auto found =
      std::find_if(methods.begin(), methods.end(), [&](const auto& m) { return m.slug == slug; });
  if (found != methods.end()) return *found;
  std::vector<std::string> known;
  for (const MethodDescription& method : methods) known.push_back(method.slug);
  const std::string nearest = nearest_name(slug, known);
  fail(ErrorKind::usage, "there is no method \"" + std::string(slug) + "\"", "-m",
       (nearest.empty() ? "" : "did you mean " + nearest + "? ") + std::string("laconic list shows all"));
}

std::string settings_text(std::string_view slug, const Parameters& parameters) {
  const auto& methods = method_registry();
  const auto found =
      std::find_if(methods.begin(), methods.end(), [&](const auto& m) { return m.slug == slug; });
  return parameters.canonical(slug) + " version " +
         std::to_string(found == methods.end() ? 0 : found->version);
}

}  // namespace laconic
