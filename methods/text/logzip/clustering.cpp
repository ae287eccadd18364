#include "methods/text/logzip/clustering.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <map>
#include <numeric>
#include <unordered_map>

#include "methods/text/logzip/skeleton.h"
#include "methods/text/logzip/token_sequence.h"

namespace laconic::logzip {

std::vector<std::pair<std::uint32_t, std::uint32_t>> common_tokens(std::span<const std::uint64_t> a,
                                                                   std::span<const std::uint64_t> b) {
  const std::size_t columns = b.size() + 1;
  std::vector<std::uint16_t> lengths((a.size() + 1) * columns);  // of suffixes
  for (std::size_t i = a.size(); i-- > 0;)
    for (std::size_t j = b.size(); j-- > 0;) {
      const bool equal = a[i] == b[j] && a[i] != wildcard_token;
      lengths[i * columns + j] = equal
                                     ? static_cast<std::uint16_t>(lengths[(i + 1) * columns + j + 1] + 1)
                                     : std::max(lengths[(i + 1) * columns + j], lengths[i * columns + j + 1]);
    }
  std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs;
  for (std::size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (a[i] == b[j] && a[i] != wildcard_token) {
      pairs.emplace_back(static_cast<std::uint32_t>(i++), static_cast<std::uint32_t>(j++));
    } else if (lengths[(i + 1) * columns + j] >= lengths[i * columns + j + 1]) {
      ++i;
    } else {
      ++j;
    }
  }
  return pairs;
}

namespace {

// A template in the making: token texts, empty for a wildcard.
struct GrowingTemplate {
  char kind = 'P';
  std::vector<std::string> texts;
  std::vector<Token> tokens;
  std::vector<Token> sorted;  // tokens
  std::vector<std::uint32_t> members;
  std::uint64_t lines = 0;

  void push(std::string_view text, Token token) {
    if (token == wildcard_token && fuses()) return;
    texts.emplace_back(token == wildcard_token ? std::string_view{} : text);
    tokens.push_back(token);
  }

 private:
  // A wildcard that would follow a wildcard, or a wildcard and one joining byte, is part of it.
  bool fuses() {
    if (tokens.empty()) return false;
    if (tokens.back() == wildcard_token) return true;
    if (tokens.size() < 2 || tokens[tokens.size() - 2] != wildcard_token) return false;
    if (texts.back().size() != 1 || !joins_slots(texts.back()[0])) return false;
    texts.pop_back();
    tokens.pop_back();
    return true;
  }
};

// Wildcard where the two differ; both agree on their line feeds, or nothing comes out.
GrowingTemplate align(const GrowingTemplate& a, const TokenSequence& b,
                      std::span<const std::pair<std::uint32_t, std::uint32_t>> common) {
  GrowingTemplate joined;
  joined.kind = a.kind;
  std::uint32_t i = 0, j = 0;
  for (const auto& [x, y] : common) {
    if (i < x || j < y) joined.push({}, wildcard_token);
    joined.push(a.texts[x], a.tokens[x]);
    i = x + 1;
    j = y + 1;
  }
  if (i < a.tokens.size() || j < b.tokens.size()) joined.push({}, wildcard_token);
  return joined;
}

class SkeletonClusterer {
 public:
  SkeletonClusterer(std::span<const WeighedSkeleton> skeletons, const ClusterOptions& options)
      : skeletons_(skeletons), options_(options) {
    for (const WeighedSkeleton& skeleton : skeletons) {
      sequences_.push_back(tokens_of(skeleton.text.substr(1)));
      for (const Token token : sequences_.back().tokens)
        if (token != wildcard_token) frequency_[token] += skeleton.lines;
    }
  }

  std::vector<SkeletonCluster> run() {
    std::map<std::string, std::vector<std::uint32_t>> divisions;
    for (std::uint32_t i = 0; i < skeletons_.size(); ++i) divisions[division_of(i)].push_back(i);
    std::vector<GrowingTemplate> all;
    for (auto& [name, members] : divisions) {
      std::ranges::stable_sort(members, std::greater{}, [&](std::uint32_t i) { return skeletons_[i].lines; });
      std::vector<GrowingTemplate> templates;
      for (const std::uint32_t member : members) place(member, templates);
      std::ranges::move(templates, std::back_inserter(all));
    }
    return finished(all);
  }

 private:
  // Kind, the segments before the content, and the most frequent words of the content.
  std::string division_of(std::uint32_t index) const {
    const std::string_view text = skeletons_[index].text;
    const TokenSequence& sequence = sequences_[index];
    const std::size_t fields = text.rfind('\n', text.size() - 2);
    std::string name(text.substr(0, fields == std::string_view::npos ? 1 : fields + 1));
    std::vector<std::uint32_t> words;
    for (std::uint32_t i = 0; i < sequence.tokens.size(); ++i)
      if (sequence.begins[i] + 1 >= name.size() &&
          byte_class(sequence.token_text(i)[0]) != ByteClass::separator)
        words.push_back(i);
    std::ranges::stable_sort(words, std::greater{},
                             [&](std::uint32_t i) { return frequency_.at(sequence.tokens[i]); });
    std::uint32_t taken = 0;
    std::vector<Token> used;
    for (const std::uint32_t i : words) {
      if (taken == options_.frequent_words) break;
      if (std::ranges::find(used, sequence.tokens[i]) != used.end()) continue;
      used.push_back(sequence.tokens[i]);
      name.append(sequence.token_text(i)) += '\n';
      ++taken;
    }
    return name;
  }

  // More than this many tokens in common, order aside, are needed before the subsequence is looked for.
  static std::size_t shared_tokens(std::span<const Token> sorted_a, std::span<const Token> sorted_b) {
    std::size_t shared = 0;
    for (std::size_t i = 0, j = 0; i < sorted_a.size() && j < sorted_b.size();) {
      if (sorted_a[i] == sorted_b[j]) {
        shared += sorted_a[i] != wildcard_token ? 1 : 0;
        ++i;
        ++j;
      } else {
        sorted_a[i] < sorted_b[j] ? ++i : ++j;
      }
    }
    return shared;
  }

  void place(std::uint32_t member, std::vector<GrowingTemplate>& templates) const {
    const TokenSequence& sequence = sequences_[member];
    const std::uint32_t lines = skeletons_[member].lines;
    GrowingTemplate best;
    std::size_t best_at = templates.size(), alignments = 0;
    double best_similarity = options_.similarity;
    const bool compared = sequence.tokens.size() <= options_.longest;
    std::vector<Token> sorted = sequence.tokens;
    std::ranges::sort(sorted);
    const std::size_t end = std::min<std::size_t>(templates.size(), options_.most_compared);
    for (std::size_t t = 0; t < end && compared && alignments < options_.most_alignments; ++t) {
      const auto longer = static_cast<double>(std::max(templates[t].tokens.size(), sequence.tokens.size()));
      const auto bound = static_cast<double>(shared_tokens(templates[t].sorted, sorted)) / longer;
      if (bound < best_similarity || (bound == best_similarity && best_at < t)) continue;
      ++alignments;
      const auto common = common_tokens(templates[t].tokens, sequence.tokens);
      const double similarity = static_cast<double>(common.size()) / longer;
      if (similarity < best_similarity || (similarity == best_similarity && best_at < t)) continue;
      if (!pays(templates[t], sequence, common.size(), lines)) continue;
      GrowingTemplate joined = align(templates[t], sequence, common);
      if (!same_segments(joined, sequence)) continue;
      best = std::move(joined);
      best_at = t;
      best_similarity = similarity;
    }
    if (best_at == templates.size()) {
      best.kind = skeletons_[member].text[0];
      for (std::size_t i = 0; i < sequence.tokens.size(); ++i)
        best.push(sequence.token_text(i), sequence.tokens[i]);
      templates.emplace_back();
    }
    best.members = std::move(templates[best_at].members);
    best.members.push_back(member);
    best.lines = templates[best_at].lines + lines;
    best.sorted = best.tokens;
    std::ranges::sort(best.sorted);
    templates[best_at] = std::move(best);
  }

  static bool same_segments(const GrowingTemplate& joined, const TokenSequence& sequence) {
    static const Token segment_end = token_of("\n");
    return std::ranges::count(joined.tokens, segment_end) == std::ranges::count(sequence.tokens, segment_end);
  }

  // The MDL test: lines of either side lose where its template says less afterwards.
  bool pays(const GrowingTemplate& one, const TokenSequence& sequence, std::size_t common,
            std::uint32_t lines) const {
    if (options_.template_bits == 0 && options_.column_bits == 0) return true;
    const auto literals = [](std::span<const Token> tokens) {
      return tokens.size() - static_cast<std::size_t>(std::ranges::count(tokens, wildcard_token));
    };
    const auto slots = static_cast<double>(std::ranges::count(sequence.tokens, wildcard_token));
    double lost = 0;
    if (literals(one.tokens) > common) lost += options_.line_bits * static_cast<double>(one.lines);
    if (literals(sequence.tokens) > common) lost += options_.line_bits * lines;
    return options_.template_bits + options_.column_bits * slots > lost;
  }

  std::vector<SkeletonCluster> finished(std::vector<GrowingTemplate>& all) const {
    std::ranges::sort(all, {},
                      [](const GrowingTemplate& one) { return *std::ranges::min_element(one.members); });
    std::vector<SkeletonCluster> clusters;
    for (GrowingTemplate& one : all) {
      SkeletonCluster cluster{std::string(1, one.kind), one.lines, std::move(one.members)};
      bool wildcards = false, literals = false;
      for (std::size_t i = 0; i < one.tokens.size(); ++i) {
        const bool wild = one.tokens[i] == wildcard_token;
        cluster.text += wild ? std::string(1, slot_mark) : one.texts[i];
        wildcards = wildcards || wild;
        literals = literals || (!wild && one.texts[i] != "\n" && one.texts[i] != " ");
      }
      std::ranges::sort(cluster.members);
      if (literals || !wildcards) clusters.push_back(std::move(cluster));
    }
    return clusters;
  }

  std::span<const WeighedSkeleton> skeletons_;
  const ClusterOptions& options_;
  std::vector<TokenSequence> sequences_;
  std::unordered_map<Token, std::uint64_t> frequency_;
};

}  // namespace

std::vector<SkeletonCluster> cluster_skeletons(std::span<const WeighedSkeleton> skeletons,
                                               const ClusterOptions& options) {
  return SkeletonClusterer(skeletons, options).run();
}

}  // namespace laconic::logzip
