// Calls, operations and what the master says; connections are in peer_topology.cpp, states in peer_sync.cpp.
#include "engine/transport/tcp/peer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <thread>

#include "engine/base/hash.h"
#include "engine/transport/tcp/peer_run.h"

namespace laconic {
namespace {

ErrorKind kind_of(PeerFault fault) {
  switch (fault) {
    case PeerFault::aborted:
    case PeerFault::too_few_peers:
    case PeerFault::ended:
      return ErrorKind::io;
    case PeerFault::pending_operations:
    case PeerFault::tag_running:
    case PeerFault::busy:
    case PeerFault::not_connected:
      break;
  }
  return ErrorKind::usage;
}

std::string own_host() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return {};
  return fmt::format("{} ({})", name.data(), getpid());
}

std::string names_of(const std::vector<PeerId>& peers) {
  std::string text;
  for (const PeerId& id : peers) text += (text.empty() ? "" : ", ") + control::name_of(id);
  return text;
}

control::CollectiveTerms terms_of(const ReduceRequest& request) {
  control::CollectiveTerms terms;
  terms.kind = control::CollectiveKind::all_reduce;
  terms.type = static_cast<std::uint8_t>(request.type);
  terms.operation = static_cast<std::uint8_t>(request.op);
  terms.algorithm = static_cast<std::uint8_t>(request.algorithm);
  terms.count = request.count;
  terms.quantization = static_cast<std::uint8_t>(request.quantization.kind);
  if (request.quantization.kind != QuantizationKind::none) {
    terms.wire_type = static_cast<std::uint8_t>(request.quantization.bits);
    terms.rounding = static_cast<std::uint8_t>(request.quantization.rounding);
    terms.block = request.quantization.block;
  }
  return terms;
}

// What no peer should vote for.
void check_request(const ReduceRequest& request, const PeerOptions& options) {
  if (request.count == 0) fail(ErrorKind::usage, "there is nothing to reduce: the count is 0");
  if (request.source == nullptr || request.destination == nullptr)
    fail(ErrorKind::usage, "a buffer of a reduction is null");
  if (static_cast<int>(request.type) >= number_types || static_cast<int>(request.op) >= reduce_ops)
    fail(ErrorKind::usage, "an unknown type or operation of a reduction");
  if (request.count > SIZE_MAX / 8) fail(ErrorKind::usage, "a reduction of more than all memory");
  if (request.algorithm == AllReduceAlgorithm::direct && !options.all_pairs)
    fail(ErrorKind::usage, "the direct algorithm needs connections between all pairs", {},
         "set all_pairs at all peers");
  // The same checks as the reduction's own, before anybody has voted.
  const ReductionForm form(request.type, request.op, request.quantization, 2,
                           RandomStream(0, "check", "", 0));
  const auto* source = static_cast<const std::byte*>(request.source);
  const auto* destination = static_cast<const std::byte*>(request.destination);
  const std::size_t bytes = request.count * form.element_bytes();
  if (source != destination && source < destination + bytes && destination < source + bytes)
    fail(ErrorKind::usage, "source and destination of a reduction overlap", {},
         "give the same buffer twice, or two");
}

}  // namespace

std::string_view name_of(PeerFault fault) {
  constexpr std::array names = {
      "aborted", "too few peers",     "operations are running", "the tag is running",
      "busy",    "not connected yet", "the run has ended"};
  return names[static_cast<std::size_t>(fault)];
}

PeerError::PeerError(PeerFault fault, std::string_view text)
    : Error(kind_of(fault), text, "collective run"), fault_(fault) {}

// --------------------------------------------------------------------------------------------------- setup

Peer::State::State(const PeerOptions& given) : options(given) {
  if (options.masters.empty())
    fail(ErrorKind::usage, "a peer needs the address of a master", "tcp://", "start one: laconic master");
  if (options.stripes < 1 || options.stripes > 64 || options.pool_size < 1 || options.pool_size > 64)
    fail(ErrorKind::usage, "a neighbour has 1 to 64 connections");
  const bool local = std::all_of(options.masters.begin(), options.masters.end(),
                                 [](const Endpoint& endpoint) { return is_loopback(endpoint.address); });
  if (options.listen.empty() && local) options.listen = "127.0.0.1";
  for (const Endpoint& endpoint : options.masters) check_settings(options.link, endpoint.address);

  PeerLinkOptions bulk;
  bulk.link = options.link;
  bulk.listen = {options.listen, options.p2p_port};
  bulk.ports = 1024;
  bulk.pool_size = options.pool_size;
  bulk.pacing = options.pacing;
  links = std::make_unique<PeerLinks>(bulk);
  state_server =
      std::make_unique<StateServer>(Endpoint{options.listen, options.state_port}, 1024, options.link);
  benchmark_server =
      std::make_unique<BenchmarkServer>(Endpoint{options.listen, options.benchmark_port}, 1024, options.link);

  control::PeerSettings settings;
  settings.introduction.group = options.group;
  settings.introduction.settings = xxh3_128(as_byte_span(options.settings));
  settings.introduction.p2p_port = links->port();
  settings.introduction.state_port = state_server->port();
  settings.introduction.benchmark_port = benchmark_server->port();
  settings.introduction.host = own_host();
  settings.masters = static_cast<std::uint32_t>(options.masters.size());
  settings.silence_limit = options.silence_limit;
  settings.takeover_limit = options.takeover_limit;
  master = std::make_unique<MasterLink>(
      settings, options.masters, options.link, options.connect_timeout,
      MasterLink::Events{[this](control::PeerEvent event) { happened(std::move(event)); },
                         [this](const PeerId& id) {
                           own_id = id;
                           links->set_self(id);
                         }});
}

Peer::Peer(const PeerOptions& options) : state_(std::make_shared<State>(options)) {}
Peer::~Peer() { leave(); }

void Peer::State::leave() {
  {
    const Lock lock = master->lock();
    for (const auto& [tag, operation] : operations) operation->token->abort("this peer leaves the run");
    if (fetching) fetching->abort("this peer leaves the run");
    asked_round = 0;
  }
  master->leave();
}

// -------------------------------------------------------------------------------------------------- events

void Peer::State::happened(control::PeerEvent event) {
  using namespace control;
  const auto operation_of = [&](std::uint64_t tag) -> PeerOperation* {
    const auto found = operations.find(tag);
    return found == operations.end() ? nullptr : found->second.get();
  };
  if (const auto* commence = std::get_if<Commence>(&event)) {
    if (PeerOperation* operation = operation_of(commence->tag)) {
      operation->commenced = true;
      operation->sequence = commence->sequence;
    }
  } else if (const auto* abort = std::get_if<Abort>(&event)) {
    PeerOperation* operation = operation_of(abort->tag);
    if (operation != nullptr && abort->aborted) {
      operation->aborted = true;
      operation->reason = abort->reason;
      operation->token->abort(abort->reason);
    }
  } else if (const auto* complete = std::get_if<Complete>(&event)) {
    if (PeerOperation* operation = operation_of(complete->tag)) {
      operation->complete = true;
      operations.erase(complete->tag);
    }
  } else if (auto* connect = std::get_if<Connect>(&event)) {
    asked_round = connect->round;
    connect_wanted = std::move(*connect);
  } else if (auto* measure_event = std::get_if<Measure>(&event)) {
    measure_wanted = std::move(*measure_event);
  } else if (std::holds_alternative<CallDone>(event)) {
    call_done = true;
  } else if (auto* sync_plan = std::get_if<SyncPlan>(&event)) {
    plan = std::move(*sync_plan);
  } else if (auto* result = std::get_if<SyncResult>(&event)) {
    sync_result = std::move(*result);
    if (fetching) fetching->abort("the synchronisation has ended");
  } else if (const auto* answer = std::get_if<PendingAnswer>(&event)) {
    pending_answer = *answer;
  } else if (const auto* missing = std::get_if<Missing>(&event)) {
    tell_missing(missing->wait);
  } else if (auto* status = std::get_if<Status>(&event)) {
    last_status = std::move(*status);
    ++statuses;
  } else if (std::holds_alternative<MasterLost>(event)) {
    asked_round = 0;
    connect_wanted.reset();
    measure_wanted.reset();
    say("the master is lost: asking the others");
  } else if (const auto* agreed = std::get_if<MasterAgreed>(&event)) {
    say(fmt::format("a master of epoch {} has taken over", generation_of(agreed->epoch)));
  } else if (const auto* stopped = std::get_if<Stopped>(&event)) {
    asked_round = 0;
    for (const auto& [tag, operation] : operations) operation->token->abort(stopped->text);
    if (fetching) fetching->abort(stopped->text);
  }
}

void Peer::State::tell_missing(const control::Wait& wait) const {
  say(fmt::format("waiting for {:.0f} s ({}): {} missing", wait.seconds, control::name_of(wait.kind),
                  names_of(wait.missing)));
}

// --------------------------------------------------------------------------------------------------- calls

void Peer::State::check_alive() const {
  if (master->ended())
    throw PeerError(PeerFault::ended, fmt::format("the run has ended for this peer: {}", master->fault()));
}

void Peer::State::check(control::Refusal refusal, std::string_view call) const {
  using control::Refusal;
  if (refusal == Refusal::none) return;
  check_alive();
  const auto refuse = [&](PeerFault fault, std::string_view text) {
    throw PeerError(fault, fmt::format("{}: {}", call, text));
  };
  switch (refusal) {
    case Refusal::none:
      break;
    case Refusal::not_connected:
      refuse(PeerFault::not_connected, "this peer has not joined a run");
      break;
    case Refusal::pending_operations:
      refuse(PeerFault::pending_operations, "collectives are running; wait for them first");
      break;
    case Refusal::busy:
      refuse(PeerFault::busy, "another call that changes the group is going on");
      break;
    case Refusal::tag_running:
      refuse(PeerFault::tag_running, "an operation of this tag is running");
      break;
    case Refusal::too_few_peers:
      refuse(PeerFault::too_few_peers, "nobody else is in the group");
      break;
    case Refusal::zero_count:
      fail(ErrorKind::usage, "there is nothing to do: the count is 0", call);
    case Refusal::too_many:
      fail(ErrorKind::usage, "too many at a time", call);
  }
}

void Peer::State::wait(Lock& lock, const std::function<bool()>& done) {
  master->wait(lock, [&] { return done() || master->ended(); });
  if (!done()) check_alive();
}

Ring Peer::State::ring_now() const {
  const control::Connect& topology = master->state().topology();
  Ring ring;
  for (const control::Member& member : topology.ring) ring.members.push_back(member.id);
  ring.position = topology.position;
  if (ring.members.empty()) ring.members.push_back(own_id);
  return ring;
}

void Peer::State::topology_call(Lock& lock, control::Refusal (control::PeerState::*start_call)(),
                                std::string_view name) {
  call_done = false;
  check((master->state().*start_call)(), name);
  master->carry_out();
  at("topology voted");
  finish_topology_call(lock);
}

// The thread that calls does what the master asks for meanwhile.
void Peer::State::finish_topology_call(Lock& lock) {
  for (;;) {
    wait(lock, [&] { return call_done || connect_wanted || measure_wanted; });
    if (connect_wanted) {
      const control::Connect connect = std::move(*connect_wanted);
      connect_wanted.reset();
      lock.unlock();
      at("asked to connect");
      std::vector<PeerId> failed = connect_ring(connect);
      at("connected");
      lock.lock();
      master->state().established(connect.round, std::move(failed));
      master->carry_out();
      at("connections told");
    } else if (measure_wanted) {
      const control::Measure request = std::move(*measure_wanted);
      measure_wanted.reset();
      lock.unlock();
      measure(request);
      lock.lock();
    } else if (std::exchange(call_done, false)) {
      return;
    }
  }
}

// Of all operations that were launched on a ring and failed, one votes to rewire it; the others wait.
void Peer::State::mend(Lock& lock, std::uint64_t launch_revision) {
  for (;;) {
    wait(lock, [&] { return !mending; });
    if (!master->state().needs_rewire(launch_revision)) return;
    mending = true;
    try {
      wait(lock, [&] {
        return master->state().operations() == 0 && master->state().call() == control::Call::none;
      });
      if (master->state().needs_rewire(launch_revision))
        topology_call(lock, &control::PeerState::rewire, "rewire");
    } catch (...) {
      mending = false;
      master->wake();
      throw;
    }
    mending = false;
    master->wake();
  }
}

void Peer::join() {
  State& run = *state_;
  auto lock = run.master->lock();
  run.check_alive();
  if (run.master->state().call() != control::Call::none || run.master->state().accepted())
    throw PeerError(PeerFault::busy, "this peer has joined already, or is about to");
  run.call_done = false;
  run.master->join();
  run.finish_topology_call(lock);
}

void Peer::leave() { state_->leave(); }

void Peer::complete() {
  const auto lock = state_->master->lock();
  state_->check_alive();
  state_->check(state_->master->state().complete(), "complete");
  state_->master->carry_out();
}

void Peer::update_topology() {
  auto lock = state_->master->lock();
  state_->wait(lock, [&] { return !state_->mending; });
  state_->topology_call(lock, &control::PeerState::update_topology, "update of the topology");
}

void Peer::rewire() {
  auto lock = state_->master->lock();
  state_->wait(lock, [&] { return !state_->mending; });
  state_->topology_call(lock, &control::PeerState::rewire, "rewiring");
}

void Peer::optimize_topology() {
  auto lock = state_->master->lock();
  state_->wait(lock, [&] { return !state_->mending; });
  state_->topology_call(lock, &control::PeerState::optimize, "optimisation of the topology");
}

bool Peer::newcomers_pending() {
  State& run = *state_;
  auto lock = run.master->lock();
  run.pending_answer.reset();
  run.check(run.master->state().ask_pending(), "question for newcomers");
  run.master->carry_out();
  run.wait(lock, [&] { return run.pending_answer.has_value(); });
  return run.pending_answer->pending;
}

control::Status Peer::status() {
  State& run = *state_;
  auto lock = run.master->lock();
  const std::uint64_t seen = run.statuses;
  run.check(run.master->state().ask_status(), "status");
  run.master->carry_out();
  run.wait(lock, [&] { return run.statuses > seen; });
  return run.last_status;
}

const PeerId& Peer::id() const { return state_->own_id; }
Ring Peer::ring() const {
  const auto lock = state_->master->lock();
  return state_->ring_now();
}
int Peer::group_size() const { return static_cast<int>(ring().members.size()); }
GroupSizes Peer::sizes() const {
  const auto lock = state_->master->lock();
  const control::Connect& topology = state_->master->state().topology();
  if (topology.ring.empty()) return {};
  return {static_cast<int>(topology.world), static_cast<int>(topology.groups),
          static_cast<int>(topology.largest_group)};
}
std::uint64_t Peer::connection_revision() const {
  const auto lock = state_->master->lock();
  return state_->master->state().connection_revision();
}
PeerLinks& Peer::links() { return *state_->links; }
std::uint64_t Peer::sent_bytes() const { return state_->links->sent_bytes(); }
std::uint64_t Peer::received_bytes() const { return state_->links->received_bytes(); }
std::uint64_t Peer::next_revision() const {
  const auto lock = state_->master->lock();
  return state_->master->state().next_revision();
}

// ---------------------------------------------------------------------------------------------- operations

std::shared_ptr<PeerOperation> Peer::State::start(std::uint64_t tag, const control::CollectiveTerms& terms) {
  Lock lock = master->lock();
  wait(lock, [&] { return !mending; });
  check(master->state().start_collective(tag, terms),
        terms.kind == control::CollectiveKind::session ? "session" : "all-reduce");
  auto operation = std::make_shared<PeerOperation>();
  operation->tag = tag;
  operation->ring = ring_now();
  operation->launch_revision = master->state().connection_revision();
  operations[tag] = operation;
  at("before start");
  master->carry_out();
  at("start voted");
  return operation;
}

void Peer::State::await_commence(PeerOperation& operation) {
  Lock lock = master->lock();
  wait(lock, [&] { return operation.commenced || operation.complete; });
}

bool Peer::State::finish(PeerOperation& operation, bool failed, const std::string& reason, std::uint64_t sent,
                         std::uint64_t received) {
  Lock lock = master->lock();
  if (operation.commenced && !operation.complete) {
    master->state().finish_collective(operation.tag, operation.sequence, failed, reason, sent, received);
    master->carry_out();
    at("done");
  }
  wait(lock, [&] { return operation.complete; });
  at("complete");
  return !operation.aborted;
}

ReduceReport Peer::State::run(PeerOperation& operation, const ReduceRequest& request) {
  const double began = MasterLink::now();
  await_commence(operation);
  ReduceReport report;
  report.world = static_cast<int>(operation.ring.members.size());
  report.sequence = operation.sequence;
  std::exception_ptr own_fault;
  bool counts = false;
  if (!operation.commenced) {
    counts = finish(operation, true, {}, 0, 0);
  } else {
    std::unique_ptr<AllReduce> reduction;
    std::string reason;
    try {
      AllReduceRequest work;
      work.type = request.type;
      work.op = request.op;
      work.source = request.source;
      work.destination = request.destination;
      work.count = request.count;
      work.tag = request.tag;
      work.sequence = operation.sequence;
      work.quantization = request.quantization;
      work.algorithm = request.algorithm;
      work.stripes = options.stripes;
      at("commenced");
      reduction = std::make_unique<AllReduce>(*links, operation.ring, work);
      const AllReduceTraffic traffic = reduction->run(*operation.token);
      report.sent_bytes = traffic.sent_bytes;
      report.received_bytes = traffic.received_bytes;
      at("reduced");
    } catch (const Error& error) {
      reason = error.what();
      // Numbers that cannot be quantised are the caller's own; what others did is told by the master.
      if (error.kind() == ErrorKind::input || error.kind() == ErrorKind::usage)
        own_fault = std::current_exception();
    } catch (const std::exception& error) {
      reason = error.what();
      own_fault = std::current_exception();
    }
    counts = finish(operation, !reason.empty(), reason, report.sent_bytes, report.received_bytes);
    if (!counts && reduction) reduction->undo();
  }
  report.seconds = MasterLink::now() - began;
  if (counts) return report;
  {
    Lock lock = master->lock();
    mend(lock, operation.launch_revision);
  }
  if (own_fault) std::rethrow_exception(own_fault);
  throw PeerError(PeerFault::aborted, fmt::format("the all-reduce was aborted: {}", operation.reason));
}

ReduceReport Peer::all_reduce(const ReduceRequest& request) {
  check_request(request, state_->options);
  return state_->run(*state_->start(request.tag, terms_of(request)), request);
}

std::future<ReduceReport> Peer::start_all_reduce(const ReduceRequest& request) {
  check_request(request, state_->options);
  return std::async(std::launch::async,
                    [run = state_, request, operation = state_->start(request.tag, terms_of(request))] {
                      return run->run(*operation, request);
                    });
}

ManyReport Peer::all_reduce(std::span<const ReduceRequest> requests, int in_flight) {
  if (in_flight < 1) fail(ErrorKind::usage, "at least one operation runs at a time");
  std::set<std::uint64_t> tags;
  for (const ReduceRequest& request : requests) {
    check_request(request, state_->options);
    if (!tags.insert(request.tag).second)
      fail(ErrorKind::usage, fmt::format("tag {} is given twice", request.tag), "all-reduce of many");
  }
  ManyReport report;
  report.each.resize(requests.size());
  for (;;) {
    std::vector<std::size_t> left;
    for (std::size_t i = 0; i < requests.size(); ++i) {
      if (!report.each[i]) left.push_back(i);
    }
    if (left.empty()) return report;
    if (group_size() < 2) {
      report.too_few_peers = true;
      return report;
    }
    // Every peer takes them in the same order, so the first that is not done is in flight everywhere.
    std::mutex mutex;
    std::size_t next = 0;
    bool failed = false;
    std::exception_ptr fault;
    const auto work = [&] {
      for (;;) {
        std::size_t index = 0;
        {
          const std::lock_guard lock(mutex);
          if (failed || next == left.size()) return;
          index = left[next++];
        }
        try {
          report.each[index] = all_reduce(requests[index]);
        } catch (const PeerError& error) {
          const std::lock_guard lock(mutex);
          failed = true;
          if (error.fault() != PeerFault::aborted && error.fault() != PeerFault::too_few_peers && !fault)
            fault = std::current_exception();
        } catch (...) {
          const std::lock_guard lock(mutex);
          failed = true;
          if (!fault) fault = std::current_exception();
        }
      }
    };
    std::vector<std::thread> threads;
    const std::size_t count = std::min(left.size(), static_cast<std::size_t>(in_flight));
    for (std::size_t i = 0; i < count; ++i) threads.emplace_back(work);
    for (std::thread& thread : threads) thread.join();
    if (fault) std::rethrow_exception(fault);
    if (failed) ++report.retries;
  }
}

// ------------------------------------------------------------------------------------------------ sessions

struct PeerSession::Shared {
  std::shared_ptr<Peer::State> run;
  std::shared_ptr<PeerOperation> operation;
};

std::unique_ptr<PeerSession> Peer::begin_session(std::uint64_t tag) {
  control::CollectiveTerms terms;
  terms.kind = control::CollectiveKind::session;
  auto operation = state_->start(tag, terms);
  state_->await_commence(*operation);
  std::unique_ptr<PeerSession> session(new PeerSession);
  session->shared_ = std::make_shared<PeerSession::Shared>(PeerSession::Shared{state_, operation});
  session->token_ = operation->token;
  session->ring_ = operation->ring;
  session->tag_ = tag;
  session->sequence_ = operation->sequence;
  session->began_ = operation->commenced;
  if (!session->began_) {
    session->ended_ = true;
    session->reason_ = operation->reason;
  }
  return session;
}

bool PeerSession::end(bool succeeded, const std::string& reason, std::uint64_t sent_bytes,
                      std::uint64_t received_bytes) {
  if (std::exchange(ended_, true)) return false;
  if (!succeeded) token_->abort(reason);
  const bool counts =
      shared_->run->finish(*shared_->operation, !succeeded, reason, sent_bytes, received_bytes);
  if (!counts) {
    const auto lock = shared_->run->master->lock();
    reason_ = shared_->operation->reason;
  }
  return counts;
}

PeerSession::~PeerSession() {
  try {
    end(false, "the session was given up");
  } catch (const std::exception&) {
    // The run has ended.
  }
}

}  // namespace laconic
