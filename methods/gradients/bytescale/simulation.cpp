#include "methods/gradients/bytescale/simulation.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "engine/base/error.h"
#include "engine/transport/event_clock.h"

namespace laconic::bytescale {
namespace {

class StepSimulation {
 public:
  StepSimulation(const Plan& plan, std::span<const std::uint32_t> lengths, const StepCosts& costs, int stages)
      : costs_(costs), stages_(static_cast<std::size_t>(stages)), works_(group_works(plan)) {
    order_ = works_of_ranks(works_, plan.ranks);
    at_.assign(order_.size(), 0);
    done_.assign(order_.size(), 0.0);
    free_.assign(order_.size() * stages_, 0.0);
    waiting_.assign(works_.size(), 0);
    seconds_.resize(works_.size());
    double longest = 0;
    for (std::size_t w = 0; w < works_.size(); ++w) {
      std::vector<std::uint32_t> tokens;
      for (const std::size_t item : works_[w].items) {
        const PlanItem& planned = plan.items[item];
        require(planned.start == 0 && planned.length == lengths[planned.sequence],
                "groups work on whole sequences");
        tokens.push_back(planned.length);
        result_.tokens += planned.length;
      }
      const auto members = static_cast<std::uint32_t>(works_[w].ranks.size());
      const WorkSeconds work = work_seconds(costs, tokens, members);
      seconds_[w] = work.total;
      longest = std::max(longest, work.total);
      result_.busy += work.total * members;
      result_.computing += work.compute * members;
      double sum = 0;
      for (const std::uint32_t length : tokens) sum += length;
      result_.sent_bytes += sent_bytes(costs, sum, members) * members;
    }
    // Ranks that a plan gives nothing (absent ones, those beside a fixed mesh) count as idle.
    result_.bound = std::max(result_.busy / static_cast<double>(plan.ranks), longest) + costs.step;
    result_.plan_bytes = encode_plan(plan).size();
  }

  SimulatedStep run() {
    for (std::size_t rank = 0; rank < order_.size(); ++rank) clock_.at(0, [this, rank] { arrive(rank); });
    clock_.run();
    for (std::size_t rank = 0; rank < order_.size(); ++rank)
      require(at_[rank] == order_[rank].size(), "every rank has come to its end");
    result_.least = *std::min_element(done_.begin(), done_.end());
    result_.most = *std::max_element(done_.begin(), done_.end());
    for (const double done : done_) result_.mean += done / static_cast<double>(done_.size());
    result_.seconds = result_.most + costs_.step;
    result_.events = clock_.events_run();
    return result_;
  }

 private:
  void arrive(std::size_t rank) {
    if (at_[rank] == order_[rank].size()) return;
    const std::size_t work = order_[rank][at_[rank]];
    if (++waiting_[work] == works_[work].ranks.size()) begin(work);
  }

  void begin(std::size_t work) {
    // Stage by stage: it begins where all members are free and the stage before has ended. The time on the
    // clock is that at which the first stage may go on to the next micro-batch.
    const double stage_seconds = seconds_[work] / static_cast<double>(stages_);
    double end = clock_.now(), first_end = 0;
    for (std::size_t stage = 0; stage < stages_; ++stage) {
      double start = end;
      for (const std::uint16_t rank : works_[work].ranks)
        start = std::max(start, free_[rank * stages_ + stage]);
      end = start + stage_seconds;
      for (const std::uint16_t rank : works_[work].ranks) free_[rank * stages_ + stage] = end;
      if (stage == 0) first_end = end;
    }
    clock_.at(first_end, [this, work, end] {
      for (const std::uint16_t rank : works_[work].ranks) {
        done_[rank] = end;
        ++at_[rank];
        arrive(rank);
      }
    });
  }

  const StepCosts& costs_;
  std::size_t stages_;
  std::vector<GroupWork> works_;
  std::vector<std::vector<std::size_t>> order_;
  std::vector<std::size_t> at_, waiting_;
  std::vector<double> done_, free_, seconds_;
  EventClock clock_;
  SimulatedStep result_;
};

}  // namespace

std::vector<std::vector<std::size_t>> works_of_ranks(std::span<const GroupWork> works, std::uint32_t ranks) {
  std::vector<std::vector<std::size_t>> order(ranks);
  for (std::size_t w = 0; w < works.size(); ++w) {
    for (const std::uint16_t rank : works[w].ranks) order[rank].push_back(w);
  }
  return order;
}

SimulatedStep simulate_step(const Plan& plan, std::span<const std::uint32_t> lengths, const StepCosts& costs,
                            int stages) {
  validate(costs);
  require(stages >= 1, "a pipeline of one stage or more");
  return StepSimulation(plan, lengths, costs, stages).run();
}

std::uint64_t run_exchanges(std::span<const GroupWork> works,
                            const std::vector<std::vector<std::size_t>>& order) {
  struct Rank {
    std::size_t at = 0, round = 0;
  };
  std::vector<Rank> ranks(order.size());
  // A rank stands at a round of its work until both neighbours stand there or have gone on in it.
  const auto come = [&](std::size_t rank, std::size_t work, std::size_t round) {
    const Rank& state = ranks[rank];
    for (std::size_t i = 0; i < state.at; ++i) {
      if (order[rank][i] == work) return true;
    }
    return state.at < order[rank].size() && order[rank][state.at] == work && state.round >= round;
  };
  std::uint64_t rounds = 0;
  std::deque<std::size_t> ready;
  std::vector<char> queued(order.size(), 1);
  for (std::size_t rank = 0; rank < order.size(); ++rank) ready.push_back(rank);
  const auto wake = [&](std::size_t rank) {
    if (queued[rank]) return;
    queued[rank] = 1;
    ready.push_back(rank);
  };
  while (!ready.empty()) {
    const std::size_t rank = ready.front();
    ready.pop_front();
    queued[rank] = 0;
    Rank& state = ranks[rank];
    if (state.at == order[rank].size()) continue;
    const std::size_t work = order[rank][state.at];
    const std::vector<std::uint16_t>& ring = works[work].ranks;
    const auto place = static_cast<std::size_t>(
        std::find(ring.begin(), ring.end(), static_cast<std::uint16_t>(rank)) - ring.begin());
    require(place < ring.size(), "a rank runs works of its own");
    const std::size_t before = ring[(place + ring.size() - 1) % ring.size()];
    const std::size_t after = ring[(place + 1) % ring.size()];
    if (!come(before, work, state.round) || !come(after, work, state.round)) continue;
    ++rounds;
    if (++state.round >= ring.size()) {
      state.round = 0;
      ++state.at;
      // Those who wait for this rank in its next work.
      if (state.at < order[rank].size()) {
        for (const std::uint16_t member : works[order[rank][state.at]].ranks) wake(member);
      }
    }
    wake(before);
    wake(after);
    wake(rank);
  }
  for (std::size_t rank = 0; rank < order.size(); ++rank) {
    if (ranks[rank].at == order[rank].size()) continue;
    const std::size_t work = order[rank][ranks[rank].at];
    for (const std::uint16_t member : works[work].ranks) {
      if (!come(member, work, ranks[rank].round))
        fail(ErrorKind::internal, fmt::format("rank {} waits for rank {} for ever", rank, member), "plan");
    }
  }
  return rounds;
}

}  // namespace laconic::bytescale
