// A template for every skeleton of a block: by iterative structure extraction (card 34, step 2), which
// clusters a sample of the skeletons that have none, matches all of them against what came out, and begins
// again.
#pragma once

#include <span>
#include <vector>

#include "methods/text/logzip/clustering.h"
#include "methods/text/logzip/known_templates.h"

namespace laconic::logzip {

struct ExtractionOptions {
  std::uint32_t template_lines = 3;  // a new template needs so many lines
  // Off: only equal skeletons share a template.
  bool clustering = true;
  ClusterOptions clusters;
  // Rounds end when this share of lines is matched, when no template is new, or after so many.
  std::uint32_t rounds = 6;
  // The card ends at 0.9; the rest is cheap to cluster and dear as text.
  double matched_share = 0.999;
  // Of the skeletons without template those with template_lines are all clustered, of the others a share by
  // lines.
  double sampled_share = 0.01;
  std::uint32_t least_sample = 2000;  // lines
};

struct SkeletonTemplate {
  std::uint32_t id = 0;  // of the table, or behind it of the new templates
  // By wildcards: the tokens of the skeleton that each slot takes. Otherwise the slots are the skeleton's
  // own.
  bool by_wildcards = false;
  std::vector<TokenRange> wildcards;
};

struct TemplateChoice {
  std::vector<SkeletonTemplate> skeletons;
  std::vector<Template> fresh;  // each used by some skeleton, in the order of their first ones
};

TemplateChoice choose_templates(std::span<const WeighedSkeleton> skeletons, const KnownTemplates& known,
                                const ExtractionOptions& options = {});

}  // namespace laconic::logzip
