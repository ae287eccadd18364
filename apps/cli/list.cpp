// laconic list: the methods.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/cli/verb.h"
#include "methods/method.h"

namespace laconic::cli {

Verb list_verb() {
  return {"list",
          "List the methods",
          "  laconic list\n  laconic list --json\n",
          {},
          [](const Arguments&, const Session& session) {
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
