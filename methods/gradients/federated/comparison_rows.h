// Rows of a comparison between federated methods, each tuned by itself, and claims that stand on two of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "methods/gradients/federated/federated_trial.h"
#include "methods/reproduce.h"

namespace laconic {

struct ComparisonRow {
  std::string name, card;        // card: what its script found, where it did
  std::vector<ArmNumbers> arms;  // one per seed
  std::string choice;            // "0.1 x 3, alpha 0.1": rates of client and server, parameters
};

ComparisonRow tuned_row(FederatedTrial& trial, const FederatedArm& arm, const FederatedGrid& grid,
                        const std::vector<std::uint64_t>& seeds, const std::string& card = {});
// One parameter's values, as variants of a grid.
std::vector<FederatedParameters> variants_of(const std::string& name, const std::vector<std::string>& values);

double mean_of(const ComparisonRow& row, const std::string& number);
std::string gap_text(double gap);  // "1.3e-05", "diverged"

// `loss` of both is a relative gap: at most a tenth of the baseline's, at equal bytes, for every seed below.
Claim gap_claim(const ComparisonRow& own, const ComparisonRow& baseline, const std::string& what,
                const std::string& paper);
// `least`: what the mean difference of accuracies must be at least; 0: over it, for every seed and at equal
// bytes. `heard`: how often a client takes part in the run.
Claim accuracy_claim(const ComparisonRow& own, const ComparisonRow& baseline, const std::string& what,
                     double least, const std::string& threshold, double heard);

ReproductionTable gap_table(const std::string& title, const std::vector<ComparisonRow>& rows);
ReproductionTable accuracy_table(const std::string& title, const std::vector<ComparisonRow>& rows);
// Of `number` ("loss", "accuracy") against bytes up.
std::vector<ReproductionCurve> curves_of(const std::string& chart, const std::vector<ComparisonRow>& rows,
                                         const std::string& number, const std::string& label);

}  // namespace laconic
