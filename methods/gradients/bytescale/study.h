// What the parts of a reproduction of card 30 share: the request, arms that are kept, and claims.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "methods/gradients/bytescale/planner.h"
#include "methods/reproduce.h"

namespace laconic::bytescale {

// One way to plan, as the tables name it.
struct PlanningWay {
  std::string_view name;
  Schedule schedule;
  Offload offload;
};
constexpr PlanningWay static_mesh = {"static DP x CP", Schedule::static_context, Offload::none};
constexpr PlanningWay naive = {"naive", Schedule::naive, Offload::none};
constexpr PlanningWay balanced_plain = {"balanced", Schedule::balanced_data, Offload::none};

class Study {
 public:
  explicit Study(const ReproduceRequest& request) : request_(request), cache_(request.cache, request.on_arm) {
    result_.slug = "bytescale";
    result_.seed = request.seed;
  }

  const ReproduceRequest& request() const { return request_; }
  bool quick() const { return request_.scale == ReproduceRequest::Scale::quick; }
  ArmCache& cache() { return cache_; }
  Reproduction& result() { return result_; }

  // Of an arm; `what` says all that its numbers depend on.
  std::string key(std::string_view what) const;
  // All, once.
  Reproduction finish();

 private:
  const ReproduceRequest& request_;
  ArmCache cache_;
  Reproduction result_;
};

// Published sizes by the cost model.
void simulated_claims(Study& study);
// A small model on four ranks of this machine, and the offload store; a note where there is no lab.
void trained_claims(Study& study);

}  // namespace laconic::bytescale
