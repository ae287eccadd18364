// Claims of card 31 on loading contexts over a network: simulated links, and the programs themselves over
// limited ones.
#pragma once

#include "methods/cache/cache_trial.h"
#include "methods/reproduce.h"

namespace laconic::cachegen {

void simulated_link_claims(const ReproduceRequest& request, CacheTrial& trial, Reproduction& result);
// Adds a note in place of claims where the system gives no limited networks.
void served_link_claims(const ReproduceRequest& request, CacheTrial& trial, Reproduction& result);

}  // namespace laconic::cachegen
