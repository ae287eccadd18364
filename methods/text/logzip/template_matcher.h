// Finds the template that fits a skeleton: a prefix tree keyed by tokens, in which a wildcard takes any run
// of tokens that stays within its segment, none included (card 34, step 2).
//
// Of the templates that fit, the one with most literal tokens is taken, then the one with fewest wildcards,
// then the lowest id. The search visits at most 4,096 nodes; beyond, the skeleton has no template.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "methods/text/logzip/token_sequence.h"

namespace laconic::logzip {

// Tokens [begin, end) of a skeleton, which a wildcard takes.
struct TokenRange {
  std::uint32_t begin = 0, end = 0;
};

struct TemplateMatch {
  std::uint32_t id = 0;
  std::vector<TokenRange> wildcards;  // one per slot of the template
};

class TemplateMatcher {
 public:
  // A template of more tokens could not be found within the steps, and is left out, as is what goes beyond
  // the nodes.
  static constexpr std::size_t most_steps = 4096, most_nodes = std::size_t{1} << 19;

  TemplateMatcher() : nodes_(1) {}
  // `text` of a template with its first byte; templates are added by ascending id.
  void add(std::string_view text, std::uint32_t id);
  // `skeleton` with its first byte.
  std::optional<TemplateMatch> match(std::string_view skeleton) const;

 private:
  static constexpr std::uint32_t none = UINT32_MAX;
  struct Node {
    std::unordered_map<Token, std::uint32_t> literals;
    std::uint32_t wildcard = none;
    std::uint32_t id = none;  // of the template that ends here
  };
  class Search;

  std::vector<Node> nodes_;
};

}  // namespace laconic::logzip
