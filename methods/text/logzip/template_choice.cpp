#include "methods/text/logzip/template_choice.h"

#include <algorithm>
#include <set>
#include <unordered_map>

namespace laconic::logzip {
namespace {

class TemplateChooser {
 public:
  TemplateChooser(std::span<const WeighedSkeleton> skeletons, const KnownTemplates& known,
                  const ExtractionOptions& options)
      : skeletons_(skeletons), known_(known), options_(options) {
    choice_.skeletons.resize(skeletons.size());
  }

  TemplateChoice run() {
    for (std::uint32_t i = 0; i < skeletons_.size(); ++i) {
      total_lines_ += skeletons_[i].lines;
      const auto id = known_.table().find(skeletons_[i].text);
      choice_.skeletons[i].id = id.value_or(skeletons_[i].text.front() == 'H' ? TemplateTable::header_line
                                                                              : TemplateTable::plain_line);
      if (!id) unmatched_.push_back(i);
    }
    if (options_.clustering) {
      match_known();
      for (std::uint32_t round = 0; round < options_.rounds && !enough() && extract(); ++round) {
      }
    } else {
      for (const std::uint32_t i : unmatched_)
        if (frequent(i)) choice_.skeletons[i].id = add(std::string(skeletons_[i].text));
    }
    drop_unused();
    return std::move(choice_);
  }

 private:
  bool frequent(std::uint32_t skeleton) const {
    return skeletons_[skeleton].lines >= options_.template_lines;
  }
  std::uint32_t first_fresh() const { return static_cast<std::uint32_t>(known_.table().size()); }

  // The template's id: what earlier blocks know is not added again.
  std::uint32_t add(std::string text) {
    if (const auto known = known_.table().find(text)) return *known;
    const auto id = static_cast<std::uint32_t>(first_fresh() + choice_.fresh.size());
    const auto [at, is_new] = fresh_ids_.try_emplace(text, id);
    if (is_new) {
      fresh_matcher_.add(text, id);
      choice_.fresh.emplace_back(std::move(text));
    }
    return at->second;
  }

  // Rare skeletons may fit templates of earlier blocks; frequent ones would rather have one of their own.
  void match_known() {
    std::erase_if(unmatched_, [&](std::uint32_t i) { return !frequent(i) && matched(i, known_.matcher()); });
  }

  bool matched(std::uint32_t skeleton, const TemplateMatcher& matcher) {
    auto match = matcher.match(skeletons_[skeleton].text);
    if (!match || !renders(*match, skeletons_[skeleton].text)) return false;
    choice_.skeletons[skeleton] = {match->id, true, std::move(match->wildcards)};
    return true;
  }

  // By one of these of the known templates.
  bool matched_by(std::uint32_t skeleton, const std::set<std::uint32_t>& ids) {
    if (ids.empty()) return false;
    auto match = known_.matcher().match(skeletons_[skeleton].text);
    if (!match || !ids.contains(match->id) || !renders(*match, skeletons_[skeleton].text)) return false;
    choice_.skeletons[skeleton] = {match->id, true, std::move(match->wildcards)};
    return true;
  }

  // Tokens were compared by their hashes; this compares the text.
  bool renders(const TemplateMatch& match, std::string_view skeleton) const {
    const std::string_view text = match.id < first_fresh() ? known_.table()[match.id].text
                                                           : choice_.fresh[match.id - first_fresh()].text;
    const TokenSequence tokens = tokens_of(skeleton.substr(1));
    std::string rendered;
    std::size_t wildcard = 0;
    for (const char c : text) {
      if (c != slot_mark) {
        rendered += c;
        continue;
      }
      const TokenRange range = match.wildcards[wildcard++];
      rendered += tokens.text.substr(tokens.begins[range.begin],
                                     tokens.begins[range.end] - tokens.begins[range.begin]);
    }
    return rendered == skeleton;
  }

  bool enough() const {
    std::uint64_t lines = 0;
    for (const std::uint32_t i : unmatched_) {
      if (frequent(i)) return false;
      lines += skeletons_[i].lines;
    }
    return static_cast<double>(lines) <= (1 - options_.matched_share) * static_cast<double>(total_lines_) &&
           !choice_.fresh.empty();
  }

  // All frequent skeletons without template, and every k-th of the others.
  std::vector<std::uint32_t> sample() const {
    std::uint64_t rare_lines = 0;
    for (const std::uint32_t i : unmatched_) rare_lines += frequent(i) ? 0 : skeletons_[i].lines;
    const double wanted =
        std::max<double>(options_.sampled_share * static_cast<double>(rare_lines), options_.least_sample);
    const double step = std::max(1.0, static_cast<double>(rare_lines) / wanted);
    std::vector<std::uint32_t> sampled;
    double next = 0, seen = 0;
    for (const std::uint32_t i : unmatched_) {
      if (frequent(i)) {
        sampled.push_back(i);
        continue;
      }
      if (seen >= next) {
        sampled.push_back(i);
        next += step;
      }
      seen += 1;
    }
    return sampled;
  }

  // One round; whether a template is new.
  bool extract() {
    std::vector<WeighedSkeleton> sampled;
    for (const std::uint32_t i : sample()) sampled.push_back(skeletons_[i]);
    const std::size_t before = unmatched_.size();
    std::set<std::uint32_t> old;  // templates of earlier blocks that came out again
    for (SkeletonCluster& cluster : cluster_skeletons(sampled, options_.clusters)) {
      if (cluster.lines < options_.template_lines || cluster.text.size() > longest_template) continue;
      const std::uint32_t id = add(std::move(cluster.text));
      if (id < first_fresh()) old.insert(id);
    }
    std::erase_if(unmatched_, [&](std::uint32_t i) {
      const auto same = fresh_ids_.find(std::string(skeletons_[i].text));
      if (same == fresh_ids_.end()) return matched(i, fresh_matcher_) || matched_by(i, old);
      choice_.skeletons[i].id = same->second;
      return true;
    });
    return unmatched_.size() < before;
  }

  void drop_unused() {
    std::vector<std::uint32_t> renamed(choice_.fresh.size(), UINT32_MAX);
    std::vector<Template> kept;
    for (SkeletonTemplate& one : choice_.skeletons) {
      if (one.id < first_fresh()) continue;
      std::uint32_t& name = renamed[one.id - first_fresh()];
      if (name == UINT32_MAX) {
        name = static_cast<std::uint32_t>(first_fresh() + kept.size());
        kept.push_back(choice_.fresh[one.id - first_fresh()]);
      }
      one.id = name;
    }
    choice_.fresh = std::move(kept);
  }

  std::span<const WeighedSkeleton> skeletons_;
  const KnownTemplates& known_;
  const ExtractionOptions& options_;
  TemplateChoice choice_;
  std::uint64_t total_lines_ = 0;
  std::vector<std::uint32_t> unmatched_;
  TemplateMatcher fresh_matcher_;
  std::unordered_map<std::string, std::uint32_t> fresh_ids_;
};

}  // namespace

TemplateChoice choose_templates(std::span<const WeighedSkeleton> skeletons, const KnownTemplates& known,
                                const ExtractionOptions& options) {
  return TemplateChooser(skeletons, known, options).run();
}

}  // namespace laconic::logzip
