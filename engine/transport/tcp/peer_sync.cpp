// Synchronisation of the shared state.
#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "engine/transport/tcp/peer_run.h"

namespace laconic {
namespace {

control::VoteSync vote_of(const SharedState& state) {
  control::VoteSync vote;
  vote.revision = state.revision;
  vote.strategy = state.strategy;
  vote.keys.reserve(state.entries.size());
  for (const SharedEntry& entry : state.entries) {
    control::SharedKey key;
    key.name = entry.array.key;
    key.type = static_cast<std::uint8_t>(entry.array.type);
    key.hash_kind = static_cast<std::uint8_t>(state.hash);
    key.allow_inequality = entry.allow_inequality;
    key.count = entry.array.bytes.size() / size_of(entry.array.type);
    if (!entry.allow_inequality) key.hash = content_hash(state.hash, entry.array.type, entry.array.bytes);
    vote.keys.push_back(std::move(key));
  }
  return vote;
}

void check_shared_state(const SharedState& state) {
  std::set<std::string> names;
  for (const SharedEntry& entry : state.entries) {
    const std::string& name = entry.array.key;
    if (name.empty() || name.size() > control::longest_text)
      fail(ErrorKind::usage, "a key of the shared state has no name, or one that is too long", name);
    if (!names.insert(name).second) fail(ErrorKind::usage, "a key of the shared state comes twice", name);
    if (static_cast<int>(entry.array.type) >= number_types ||
        entry.array.bytes.size() % size_of(entry.array.type) != 0)
      fail(ErrorKind::usage, "bytes of the shared state are no whole numbers of their type", name);
  }
}

std::vector<StateArray> served(const SharedState& state) {
  std::vector<StateArray> arrays;
  for (const SharedEntry& entry : state.entries) arrays.push_back(entry.array);
  return arrays;
}

}  // namespace

SyncReport Peer::synchronise(SharedState& state) {
  check_shared_state(state);
  State& run = *state_;
  const control::VoteSync vote = vote_of(state);
  const std::uint64_t sent_before = run.state_server->sent_bytes();
  SyncReport report;
  std::exception_ptr own_fault;

  auto lock = run.master->lock();
  run.check(run.master->state().sync(vote), "synchronisation");
  run.plan.reset();
  run.sync_result.reset();
  struct Serving {
    StateServer& server;
    bool on = false;
    void begin(std::uint64_t sync, const SharedState& shared) {
      if (!std::exchange(on, true)) server.begin_sync(sync, served(shared));
    }
    ~Serving() {
      if (on) server.end_sync();
    }
  } serving{*run.state_server};
  run.master->carry_out();
  run.at("sync voted");
  for (;;) {
    run.wait(lock, [&] { return run.plan || run.sync_result; });
    if (run.sync_result) break;
    const control::SyncPlan plan = std::move(*run.plan);
    run.plan.reset();
    run.at("sync planned");
    if (plan.dirty.empty()) {
      serving.begin(plan.sync, state);
      run.master->state().sync_done(plan.sync, false);
      run.master->carry_out();
      run.at("serving");
      continue;
    }
    run.fetching = std::make_shared<AbortToken>();
    lock.unlock();
    std::string fault;
    bool settled = true;
    try {
      run.fetch(plan, state, report);
      run.at("fetched");
      serving.begin(plan.sync, state);
    } catch (const Error& error) {
      // Without a holder the master may name another.
      settled = error.kind() == ErrorKind::corrupt;
      fault = error.what();
      if (settled) own_fault = std::current_exception();
    }
    lock.lock();
    run.fetching.reset();
    if (settled) {
      run.master->state().sync_done(plan.sync, !fault.empty(), fault, 0, report.received_bytes);
    } else {
      for (const control::Member& holder : plan.holders)
        run.master->state().holder_lost(plan.sync, holder.id);
    }
    run.master->carry_out();
  }
  const control::SyncResult result = *run.sync_result;
  run.sync_result.reset();
  lock.unlock();
  if (std::exchange(serving.on, false)) run.state_server->end_sync();
  report.next_revision = result.next_revision;
  report.sent_bytes = run.state_server->sent_bytes() - sent_before;
  if (own_fault) std::rethrow_exception(own_fault);
  if (!result.success)
    throw PeerError(PeerFault::aborted, fmt::format("the synchronisation failed: {}", result.reason));
  state.revision = result.next_revision;
  return report;
}

void Peer::State::fetch(const control::SyncPlan& wanted, SharedState& state, SyncReport& report) {
  std::vector<Endpoint> holders;
  for (const control::Member& holder : wanted.holders) holders.push_back({holder.address, holder.state_port});
  std::vector<StateRequest> requests;
  for (const control::SyncPlan::DirtyKey& key : wanted.dirty) {
    StateRequest request;
    request.array = state.entries[key.index].array;
    request.hash_kind = state.hash;
    request.hash = key.expected;
    requests.push_back(std::move(request));
  }
  // A holder may not have heard yet that it is one, and refuse.
  const double deadline = MasterLink::now() + 2;
  for (;;) {
    try {
      const StateTraffic traffic =
          fetch_state(holders, wanted.sync, requests, options.link, options.fetch, *fetching);
      report.received_bytes += traffic.received_bytes;
      report.received_keys += requests.size();
      return;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::io || MasterLink::now() > deadline) throw;
      const bool any = std::any_of(holders.begin(), holders.end(), [](const Endpoint& holder) {
        try {
          connect_to(holder, 0.5);
          return true;
        } catch (const Error&) {
          return false;
        }
      });
      if (!any) throw;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
}

}  // namespace laconic
