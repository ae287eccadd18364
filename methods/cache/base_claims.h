// What the claims of methods with trained bases share: rows of arms, tables of them, and comparisons of
// perplexity increases.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "methods/cache/retrieval_trial.h"
#include "methods/cache/trial_bases.h"

namespace laconic {

// A model of the data directory or the carried one with a long context, and how it is judged: protocol P2
// with a text that it was not trained on: stories, and for the long one, which comes last, as many documents
// that only those who remember can continue. Quick takes one model only.
struct BaseSubject {
  TrialSubject subject;
  std::string text;
  CacheTrialOptions options;
  std::int64_t sequences = 64;  // calibration windows of a base
};
std::vector<BaseSubject> base_subjects(const ReproduceRequest& request);

// One setting, over all seeds.
struct CacheRow {
  std::string name;
  std::vector<ArmNumbers> arms;
};

class BaseClaims {
 public:
  // `sequences`: calibration windows of every base (16 when quick).
  BaseClaims(const ReproduceRequest& request, TrialSubject subject, std::string text, ArmCache& cache,
             CacheTrialOptions options, std::int64_t sequences, Reproduction& result);

 protected:
  bool quick() const { return request_.scale == ReproduceRequest::Scale::quick; }
  // The model whose old tokens matter; the other is a miniature.
  bool long_context() const { return trial_.subject().name == "long"; }
  std::int64_t sequences() const { return quick() ? 16 : sequences_; }
  std::int64_t steps(std::int64_t wanted) const { return quick() ? wanted / 5 : wanted; }
  std::string place() const { return trial_.subject().name + " on " + text_; }
  const std::vector<std::uint64_t>& seeds() const { return seeds_; }

  CacheRow based(std::string name, std::string_view slug, TrialBases::Settings base,
                 const std::string& pipeline, std::optional<std::int64_t> window = {});
  CacheRow plain(std::string name, const std::string& pipeline);
  // Calibration windows are added to settings that do not say how many.
  TrialBases::Settings complete(TrialBases::Settings base) const;
  // A policy that keeps some tokens and drops the others, with the slots that take so many bytes; nothing
  // where the registry has no such method.
  std::optional<CacheRow> dropping(const std::string& policy, double bytes_per_token);

  // Share of needles found when the question comes after compression (arms: found, bytes, found.i): only
  // where the model's context is long enough for them (has_needles()).
  bool has_needles() const { return needles_.has_value(); }
  CacheRow found(std::string name, std::string_view slug, const TrialBases::Settings& base,
                 const std::string& pipeline);
  CacheRow found(std::string name, const std::string& pipeline);
  void needle_table(const std::string& title, const std::vector<CacheRow>& rows);

  void table(const std::string& title, const std::vector<CacheRow>& rows);
  // The perplexity increase of `better` is at most `factor` of that of `worse`, and the interval of the
  // difference excludes that it is not better.
  void claim(const std::string& text, const std::string& paper, const CacheRow& better, const CacheRow& worse,
             double factor);
  Claim& add_claim(const std::string& text, const std::string& paper, const CacheRow& measured,
                   const CacheRow& baseline, std::string_view number, const std::string& threshold);
  CacheTrial& trial() { return trial_; }

 private:
  const ReproduceRequest& request_;
  CacheTrial trial_;
  TrialBases bases_;
  std::vector<std::uint64_t> seeds_;
  std::int64_t sequences_;
  std::optional<RetrievalTrial> needles_;
  std::string text_;
  Reproduction& result_;
};

}  // namespace laconic
