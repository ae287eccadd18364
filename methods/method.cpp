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
  // The nearest name by edit distance.
  const auto distance = [](std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i;
      for (std::size_t j = 1; j <= b.size(); ++j) {
        const std::size_t above = row[j];
        row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
        diagonal = above;
      }
    }
    return row[b.size()];
  };
  const auto nearest = std::min_element(methods.begin(), methods.end(), [&](const auto& a, const auto& b) {
    return distance(a.slug, slug) < distance(b.slug, slug);
  });
  fail(ErrorKind::usage, "there is no method \"" + std::string(slug) + "\"", "-m",
       nearest == methods.end() ? "" : "did you mean " + nearest->slug + "? laconic list shows all");
}

}  // namespace laconic
