#include "methods/text/logzip/template_matcher.h"

namespace laconic::logzip {

void TemplateMatcher::add(std::string_view text, std::uint32_t id) {
  std::uint32_t at = 0;
  const auto child = [&](std::uint32_t& link) {
    if (link == none) link = static_cast<std::uint32_t>(nodes_.size());
    return link;
  };
  std::vector<Token> tokens{token_of(text.substr(0, 1))};
  for (const Token token : tokens_of(text.substr(1)).tokens) tokens.push_back(token);
  if (tokens.size() > most_steps || nodes_.size() + tokens.size() > most_nodes) return;
  for (const Token token : tokens) {
    std::uint32_t next = 0;
    if (token == wildcard_token) {
      next = child(nodes_[at].wildcard);
    } else {
      next = child(nodes_[at].literals.try_emplace(token, none).first->second);
    }
    if (next == nodes_.size()) nodes_.emplace_back();
    at = next;
  }
  if (nodes_[at].id == none) nodes_[at].id = id;
}

class TemplateMatcher::Search {
 public:
  Search(const std::vector<Node>& nodes, const std::vector<Token>& tokens) : nodes_(nodes), tokens_(tokens) {}

  std::optional<TemplateMatch> run(std::uint32_t start) {
    visit(start, 0, 0);
    if (steps_ > most_steps) return std::nullopt;
    return std::move(best_);
  }

 private:
  void visit(std::uint32_t at, std::uint32_t position, std::size_t literals) {
    if (++steps_ > most_steps) return;
    const Node& node = nodes_[at];
    if (position == tokens_.size()) {
      if (node.id != none) offer(node.id, literals);
    } else if (tokens_[position] != wildcard_token) {
      const auto next = node.literals.find(tokens_[position]);
      if (next != node.literals.end()) visit(next->second, position + 1, literals + 1);
    }
    if (node.wildcard != none) take_wildcard(node.wildcard, position, literals);
  }

  // The wildcard in front of node `at` takes 0, 1, ... tokens.
  void take_wildcard(std::uint32_t at, std::uint32_t position, std::size_t literals) {
    static const Token segment_end = token_of("\n");
    wildcards_.push_back({position, position});
    const Node& node = nodes_[at];
    for (std::uint32_t end = position; steps_ <= most_steps; ++end) {
      wildcards_.back().end = end;
      const bool follows =
          end < tokens_.size() && tokens_[end] != wildcard_token && node.literals.contains(tokens_[end]);
      if (follows || node.wildcard != none) visit(at, end, literals);
      if (end >= tokens_.size() || tokens_[end] == segment_end) break;
      ++steps_;
    }
    wildcards_.pop_back();
  }

  void offer(std::uint32_t id, std::size_t literals) {
    if (best_) {
      if (literals < best_literals_) return;
      if (literals == best_literals_ && wildcards_.size() > best_->wildcards.size()) return;
      if (literals == best_literals_ && wildcards_.size() == best_->wildcards.size() && id >= best_->id)
        return;
    }
    best_ = TemplateMatch{id, wildcards_};
    best_literals_ = literals;
  }

  const std::vector<Node>& nodes_;
  const std::vector<Token>& tokens_;
  std::size_t steps_ = 0, best_literals_ = 0;
  std::vector<TokenRange> wildcards_;
  std::optional<TemplateMatch> best_;
};

std::optional<TemplateMatch> TemplateMatcher::match(std::string_view skeleton) const {
  const auto root = nodes_[0].literals.find(token_of(skeleton.substr(0, 1)));
  if (root == nodes_[0].literals.end()) return std::nullopt;
  return Search(nodes_, tokens_of(skeleton.substr(1)).tokens).run(root->second);
}

}  // namespace laconic::logzip
