#include "methods/cache/matryoshkakv/reproduce.h"

#include <fmt/format.h>

#include <algorithm>

#include "methods/cache/base_claims.h"

namespace laconic::matryoshkakv {
namespace {

using Settings = TrialBases::Settings;

class RotationClaims : private BaseClaims {
 public:
  using BaseClaims::BaseClaims;

  void run() {
    for (const std::string rank : {"0.5", "0.25"}) {
      trained(rank);
      searched(rank);
    }
    one_base("0.5");
    if (!long_context()) text_needed("0.5");
    against_others("0.25");
  }

 private:
  Settings untrained(const std::string& init = "pca") const {
    return {{"steps", "0"}, {"init", init}, {"search", "false"}};
  }
  // A step of training sees one window. Divergence alone: with so little text the cross entropy of drawn
  // tokens adds more noise than it tells.
  Settings unsearched() const {
    return {{"steps", std::to_string(steps(long_context() ? 100 : 200))},
            {"batch", "1"},
            {"warmup", "15"},
            {"learning-rate", long_context() ? "0.003" : "0.02"},
            {"kl-weight", "1"},
            {"search", "false"}};
  }
  static Settings searching(Settings base) {
    base.erase(std::remove_if(base.begin(), base.end(), [](const auto& s) { return s.first == "search"; }),
               base.end());
    base.emplace_back("search-share", "0.1");
    base.emplace_back("search-windows", "4");
    return base;
  }
  Settings training() const { return searching(unsearched()); }
  static std::string uniform(const std::string& rank) {
    return fmt::format("matryoshkakv(rank={},ranks=uniform)", rank);
  }
  CacheRow rotated(const std::string& name, const Settings& base, const std::string& pipeline) {
    return based(name, "matryoshkakv", base, pipeline);
  }
  CacheRow best(const std::string& rank) { return rotated("trained", training(), uniform(rank)); }

  void trained(const std::string& rank) {
    const CacheRow pca = rotated("pca", untrained(), uniform(rank));
    claim(fmt::format("mean rank {}, trained bases against PCA", rank),
          rank == "0.5" ? "LLaMA2-7B at 50 %: 59.11 against 43.07" : "LLaMA2-7B at 25 %: 48.73 against 32.92",
          best(rank), pca, 0.5);
    std::vector<CacheRow> rows = {pca, best(rank)};
    if (!long_context())
      rows.push_back(rotated("pca of scores, untrained (ours)", untrained("query"), uniform(rank)));
    rows.push_back(based("cskv, asvd, untrained", "cskv",
                         {{"rank", "0.75"}, {"init", "asvd"}, {"steps", "0"}},
                         fmt::format("cskv(rank={})", rank)));
    table(fmt::format("mean rank {}, the same in all heads", rank), rows);
  }

  void searched(const std::string& rank) {
    const std::string pipeline = fmt::format("matryoshkakv(rank={},ranks=searched)", rank);
    const CacheRow greedy = rotated("trained, searched ranks", training(), pipeline);
    claim(fmt::format("mean rank {}, searched ranks against the same rank everywhere", rank),
          "heterogeneous ranks are better at the same budget", greedy, best(rank), 0.9);
    std::vector<CacheRow> rows = {best(rank), greedy};
    if (!long_context()) rows.push_back(rotated("pca, searched ranks", searching(untrained()), pipeline));
    table(fmt::format("mean rank {}, ranks of heads", rank), rows);
  }

  // A base trained for one rank only, at that rank and at others.
  void one_base(const std::string& rank) {
    Settings fixed = unsearched();
    const auto columns =
        static_cast<std::int64_t>(std::stod(rank) * static_cast<double>(trial().model().config().head_dim));
    fixed.emplace_back("fixed-rank", std::to_string(columns));
    const CacheRow own = rotated("trained for this rank only", fixed, uniform(rank));
    Claim& made = add_claim(fmt::format("rank {}, one base for all ranks against a base for this one", rank),
                            "Matryoshka training costs nothing at a rank", best(rank), own, "change",
                            "perplexity increase at most 1.1 times the baseline's");
    made.met = made.measured_value <= 1.1 * made.baseline_value;
    made.note =
        fmt::format("{} seeds; ratio {:.3f}", seeds().size(), made.measured_value / made.baseline_value);
    const std::string other = rank == "0.5" ? "0.25" : "0.5";
    const CacheRow elsewhere = rotated(fmt::format("trained for rank {} only", rank), fixed, uniform(other));
    claim(fmt::format("at rank {}, one base for all ranks against a base for rank {}", other, rank),
          "a fixed rank is worse off its rank", best(other), elsewhere, 1);
    table(fmt::format("a base trained for rank {} only", rank), {own, best(rank), elsewhere, best(other)});
  }

  void text_needed(const std::string& rank) {
    std::vector<CacheRow> rows = {best(rank)};
    for (const std::int64_t part : {2, 4}) {
      Settings less = unsearched();
      less.emplace_back("calibration-sequences",
                        std::to_string(std::max<std::int64_t>(12, sequences() / part)));
      rows.push_back(rotated(fmt::format("a part of {} of the text", part == 2 ? "a half" : "a quarter"),
                             less, uniform(rank)));
    }
    table(fmt::format("mean rank {}, how much text training sees", rank), rows);
  }

  void against_others(const std::string& rank) {
    std::vector<CacheRow> rows = {best(rank)};
    for (const std::string policy : {"sliding-window", "h2o"}) {
      if (const auto row = dropping(policy, mean_of(rows.front().arms, "bytes_per_token")))
        rows.push_back(*row);
    }
    rows.push_back(based(
        "cskv, asvd, trained", "cskv",
        {{"rank", rank}, {"init", "asvd"}, {"steps", std::to_string(steps(300))}, {"learning-rate", "0.002"}},
        "cskv"));
    rows.push_back(plain("kivi, bits 4", "kivi(bits=4)"));
    rows.push_back(
        rotated("trained, rank 0.5, latents of 8 bits", training(), uniform("0.5") + " + per-token(bits=8)"));
    table(fmt::format("mean rank {} against other caches", rank), rows);
    if (!has_needles()) return;
    std::vector<CacheRow> kept = {found("f16", "f16")};
    for (const std::string share : {"0.5", "0.25"}) {
      kept.push_back(found(fmt::format("pca, rank {}", share), "matryoshkakv", untrained(), uniform(share)));
      kept.push_back(
          found(fmt::format("trained, rank {}", share), "matryoshkakv", training(), uniform(share)));
    }
    needle_table("needles asked for after compression", kept);
  }
};

}  // namespace

Reproduction reproduce(const ReproduceRequest& request) {
  Reproduction result;
  result.slug = "matryoshkakv";
  result.seed = request.seed;
  ArmCache cache(request.cache, request.on_arm);
  for (const BaseSubject& subject : base_subjects(request))
    RotationClaims(request, subject.subject, subject.text, cache, subject.options, subject.sequences, result)
        .run();
  result.arms = cache.records();
  return result;
}

}  // namespace laconic::matryoshkakv
