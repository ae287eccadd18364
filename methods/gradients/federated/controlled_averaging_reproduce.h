// Card 01 at small scale: SCALLION and SCAFCOM against SCAFFOLD, FedAvg, its compressed forms and Fed-EF, on
// quadratics whose minimum is known and on MNIST dealt unevenly to many clients. Every method is tuned over
// the same grid of rates; messages are counted as they are serialised.
#pragma once

#include "methods/reproduce.h"

namespace laconic {

// `slug`: "scallion" or "scafcom", whose claims are judged; the arms are shared.
Reproduction reproduce_controlled_averaging(const ReproduceRequest& request, const std::string& slug);

}  // namespace laconic
