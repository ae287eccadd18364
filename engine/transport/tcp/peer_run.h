// What a Peer consists of; private to peer*.cpp.
#pragma once

#include <atomic>
#include <map>
#include <set>

#include "engine/transport/tcp/master_link.h"
#include "engine/transport/tcp/peer.h"

namespace laconic {

// One operation, from the vote for it to its COMPLETE.
struct PeerOperation {
  std::shared_ptr<AbortToken> token = std::make_shared<AbortToken>();
  std::uint64_t tag = 0, sequence = 0, launch_revision = 0;
  Ring ring;
  bool commenced = false, complete = false, aborted = false;
  std::string reason;
};

struct Peer::State {
  explicit State(const PeerOptions& given);

  using Lock = MasterLink::Lock;

  // ---- events, with the lock held
  void happened(control::PeerEvent event);
  void tell_missing(const control::Wait& wait) const;
  void at(std::string_view point) const {
    if (options.trace) options.trace(point);
  }
  void say(std::string_view text) const {
    if (options.message) options.message(text);
  }

  // ---- with the lock held
  void check(control::Refusal refusal, std::string_view call) const;
  void check_alive() const;
  void wait(Lock& lock, const std::function<bool()>& done);  // or PeerError(ended)
  void topology_call(Lock& lock, control::Refusal (control::PeerState::*start)(), std::string_view name);
  void finish_topology_call(Lock& lock);
  void mend(Lock& lock, std::uint64_t launch_revision);
  Ring ring_now() const;

  // ---- without it
  std::vector<PeerId> connect_ring(const control::Connect& connect);
  bool open_to(const control::Member& member, std::uint64_t round);
  bool await_from(const control::Member& member, std::uint64_t round);
  void measure(const control::Measure& request);
  void fetch(const control::SyncPlan& plan, SharedState& state, SyncReport& report);

  std::shared_ptr<PeerOperation> start(std::uint64_t tag, const control::CollectiveTerms& terms);
  void await_commence(PeerOperation& operation);
  // Says how it went here and waits for how it went everywhere. True: it counts.
  bool finish(PeerOperation& operation, bool failed, const std::string& reason, std::uint64_t sent,
              std::uint64_t received);
  ReduceReport run(PeerOperation& operation, const ReduceRequest& request);
  void leave();

  PeerOptions options;
  std::unique_ptr<PeerLinks> links;
  std::unique_ptr<StateServer> state_server;
  std::unique_ptr<BenchmarkServer> benchmark_server;
  PeerId own_id{};

  std::map<std::uint64_t, std::shared_ptr<PeerOperation>> operations;  // by tag
  std::optional<control::Connect> connect_wanted;
  std::optional<control::Measure> measure_wanted;
  std::optional<control::SyncPlan> plan;
  std::optional<control::SyncResult> sync_result;
  std::optional<control::PendingAnswer> pending_answer;
  bool call_done = false, mending = false, asking = false, synchronising = false;
  std::atomic<std::uint64_t> asked_round = 0;  // that connections are made for
  std::shared_ptr<AbortToken> fetching;
  std::uint64_t statuses = 0;
  control::Status last_status;

  std::unique_ptr<MasterLink> master;  // last: ends before what its events touch
};

}  // namespace laconic
