#include "engine/transport/tcp/tcp_world.h"

#include <fmt/format.h>

#include <algorithm>
#include <mutex>
#include <thread>

#include "engine/base/error.h"
#include "engine/transport/collectives.h"
#include "engine/transport/tcp/message_session.h"
#include "engine/transport/tcp/state_summary.h"

namespace laconic {
namespace {

constexpr std::uint64_t session_tag = 1;

// What a member and its communicators share. Sessions follow each other; a communicator uses the one there
// is.
struct TcpRun {
  explicit TcpRun(const PeerOptions& options) : peer(options) {}

  std::shared_ptr<MessageSession> session(std::uint64_t of_revision) {
    const std::lock_guard lock(mutex);
    if (of_revision != revision || messages == nullptr)
      fail(ErrorKind::io, "the operation was stopped: a member failed or was lost", "collective run");
    return messages;
  }
  void set_messages(std::shared_ptr<MessageSession> next) {
    const std::lock_guard lock(mutex);
    std::swap(messages, next);
  }
  void end_messages() {
    std::shared_ptr<MessageSession> ended;
    {
      const std::lock_guard lock(mutex);
      std::swap(messages, ended);
    }
    if (ended) ended->abort("it has ended");
  }

  Peer peer;
  std::mutex mutex;
  std::uint64_t revision = 0;
  std::shared_ptr<MessageSession> messages;
};

class TcpCommunicator : public Communicator {
 public:
  TcpCommunicator(std::shared_ptr<TcpRun> run, const Ring& ring, std::uint64_t revision)
      : Communicator(static_cast<int>(ring.position), static_cast<int>(ring.members.size())),
        run_(std::move(run)),
        revision_(revision) {}

  bool ready(int from, std::uint32_t tag) override {
    return run_->session(revision_)->ready(static_cast<std::size_t>(from), tag);
  }
  void abandon(std::string_view reason) override {
    const std::lock_guard lock(run_->mutex);
    if (run_->revision == revision_ && run_->messages) run_->messages->abort(std::string(reason));
  }

 protected:
  void deliver(int to, std::uint32_t tag, Bytes message) override {
    run_->session(revision_)->send(static_cast<std::size_t>(to), tag, std::move(message));
  }
  Bytes take(int from, std::uint32_t tag) override {
    return run_->session(revision_)->receive(static_cast<std::size_t>(from), tag, timeout());
  }

 private:
  std::shared_ptr<TcpRun> run_;
  std::uint64_t revision_;
};

class TcpWorld : public ElasticWorld {
 public:
  explicit TcpWorld(const PeerOptions& options) : run_(std::make_shared<TcpRun>(options)) {
    ring_.members.push_back({});
  }
  ~TcpWorld() override {
    run_->peer.leave();  // an operation that runs is not waited for
    end_messages();
  }

  int rank() const override { return static_cast<int>(ring_.position); }
  int size() const override { return static_cast<int>(ring_.members.size()); }
  std::uint64_t revision() const override { return revision_; }

  std::unique_ptr<Communicator> communicator() override {
    return std::make_unique<TcpCommunicator>(run_, ring_, revision_);
  }

  void begin_operation() override {
    end_messages();
    // Alone there is nobody to ask. After survivors have rewired, the group is no longer this one.
    if (size() == 1) {
      alone_ = std::make_shared<AbortToken>();
      run_->set_messages(std::make_shared<MessageSession>(run_->peer.links(), ring_, session_tag, 0, alone_));
      return;
    }
    if (run_->peer.connection_revision() != revision_) return;
    begin_session();
  }

  bool end_operation(bool succeeded) override {
    if (size() == 1) {
      end_messages();
      return succeeded;
    }
    return end_session(succeeded);
  }

  bool newcomers_wait() override { return run_->peer.newcomers_pending(); }

  void renew() override {
    end_messages();
    if (std::exchange(joined_, true)) {
      run_->peer.update_topology();
    } else {
      run_->peer.join();
    }
    ring_ = run_->peer.ring();
    revision_ = run_->peer.connection_revision();
    const std::lock_guard lock(run_->mutex);
    run_->revision = revision_;
  }

  void finish() override { run_->peer.complete(); }

  SharedStateReport synchronise(std::uint64_t revision, std::vector<SharedPart>& state) override;

 private:
  void begin_session() {
    session_ = run_->peer.begin_session(session_tag);
    if (session_->began()) {
      run_->set_messages(std::make_shared<MessageSession>(run_->peer.links(), session_->ring(), session_tag,
                                                          session_->sequence(), shared_token()));
    }
  }
  // Of the session, which outlives its messages.
  std::shared_ptr<AbortToken> shared_token() { return {session_, &session_->token()}; }

  bool end_session(bool succeeded) {
    if (session_ == nullptr || !session_->began()) {
      end_messages();
      return false;
    }
    std::shared_ptr<MessageSession> messages;
    {
      const std::lock_guard lock(run_->mutex);
      messages = run_->messages;
    }
    const bool counts =
        session_->end(succeeded, "a member failed", messages->sent_bytes(), messages->received_bytes());
    end_messages();
    return counts;
  }
  void end_messages() {
    run_->end_messages();
    session_.reset();
    alone_.reset();
  }
  bool gather_summaries(const StateSummary& own, std::vector<StateSummary>& all);

  std::shared_ptr<TcpRun> run_;
  Ring ring_;
  std::uint64_t revision_ = 0;
  bool joined_ = false;
  std::shared_ptr<PeerSession> session_;
  std::shared_ptr<AbortToken> alone_;
};

// In a session of its own, over the ring as it is now.
bool TcpWorld::gather_summaries(const StateSummary& own, std::vector<StateSummary>& all) {
  end_messages();
  begin_session();
  if (!session_->began()) return end_session(false);
  all.clear();
  bool succeeded = true;
  try {
    // The communicator is for the ring of this session, which may not be the world's any more.
    std::uint64_t of_revision = 0;
    {
      const std::lock_guard lock(run_->mutex);
      of_revision = run_->revision;
    }
    TcpCommunicator communicator(run_, session_->ring(), of_revision);
    for (const Bytes& bytes : all_gather(communicator, encode_summary(own)))
      all.push_back(decode_summary(bytes));
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::io) throw;
    succeeded = false;
  }
  return end_session(succeeded);
}

SharedStateReport TcpWorld::synchronise(std::uint64_t revision, std::vector<SharedPart>& state) {
  const StateSummary own = summary_of(revision, state);
  SharedStateReport report;
  for (;;) {
    if (run_->peer.group_size() == 1) return report;
    std::vector<StateSummary> all;
    if (!gather_summaries(own, all)) {
      run_->peer.rewire();  // as all survivors do
      continue;
    }
    const StateSummary& elected = all[elected_member(all)];
    for (const StateSummary& summary : all) {
      if (summary.names != elected.names || summary.sizes.size() != elected.sizes.size())
        fail(ErrorKind::input, "members share parts of other names", "collective run",
             "start them with the same program and options");
    }
    const auto holds = [&](const StateSummary& summary) {
      return summary.revision == elected.revision && summary.content == elected.content;
    };
    if (std::all_of(all.begin(), all.end(),
                    [&](const StateSummary& s) { return s.content == elected.content; }))
      return report;

    // What another member claims makes no room here before it can be true, and where this one holds the state
    // the lengths are its own.
    const std::vector<std::uint64_t>& sizes = holds(own) ? own.sizes : elected.sizes;
    if (!holds(own)) require_memory_for(sizes, machine_memory());

    // Into memory of its own: where it fails, the state is as it was.
    SharedState shared;
    shared.revision = run_->peer.next_revision();
    shared.strategy = holds(own) ? control::SyncStrategy::send_only : control::SyncStrategy::receive_only;
    std::vector<Bytes> received(state.size());
    for (std::size_t i = 0; i < state.size(); ++i) {
      received[i] = state[i].bytes;
      received[i].resize(sizes[i]);
      shared.entries.push_back(
          {{state[i].name.empty() ? "state" : state[i].name, NumberType::u8, received[i]}, false});
    }
    try {
      const SyncReport moved = run_->peer.synchronise(shared);
      report.sent_bytes += moved.sent_bytes;
      report.received_bytes += moved.received_bytes;
    } catch (const PeerError& error) {
      if (error.fault() != PeerFault::aborted) throw;
      run_->peer.rewire();
      continue;
    }
    if (!holds(own)) {
      for (std::size_t i = 0; i < state.size(); ++i) state[i].bytes = std::move(received[i]);
      report.received = own.content != elected.content;
    }
    return report;
  }
}

// A rank of a fixed group: one operation that lasts as long as it does.
class TcpRank : public Communicator {
 public:
  explicit TcpRank(std::unique_ptr<ElasticWorld> world)
      : Communicator(world->rank(), world->size()), world_(std::move(world)) {
    world_->begin_operation();
    inner_ = world_->communicator();
  }
  ~TcpRank() override {
    try {
      world_->end_operation(!abandoned_);
    } catch (const std::exception&) {
      // The run has ended already.
    }
  }
  bool ready(int from, std::uint32_t tag) override { return inner_->ready(from, tag); }
  void abandon(std::string_view reason) override {
    abandoned_ = true;
    inner_->abandon(reason);
  }

 protected:
  void deliver(int to, std::uint32_t tag, Bytes message) override {
    inner_->send(to, tag, std::move(message));
  }
  Bytes take(int from, std::uint32_t tag) override {
    inner_->set_timeout(timeout());
    return inner_->receive(from, tag);
  }

 private:
  std::unique_ptr<ElasticWorld> world_;
  std::unique_ptr<Communicator> inner_;
  bool abandoned_ = false;
};

}  // namespace

std::unique_ptr<ElasticWorld> join_tcp_run(PeerOptions options) {
  options.all_pairs = true;
  return std::make_unique<TcpWorld>(options);
}

std::unique_ptr<Communicator> join_tcp_ranks(PeerOptions options, int size) {
  if (size < 1 || size > static_cast<int>(control::most_members))
    fail(ErrorKind::usage, fmt::format("a group has 1 to {} ranks", control::most_members));
  options.settings += fmt::format("\nranks {}", size);
  auto world = join_tcp_run(std::move(options));
  world->renew();
  // All members give the same answers, so they do the same.
  while (world->size() < size) {
    if (world->newcomers_wait()) {
      world->renew();
    } else {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  }
  if (world->size() > size)
    fail(ErrorKind::io, fmt::format("{} ranks came instead of {}", world->size(), size), "collective run");
  return std::make_unique<TcpRank>(std::move(world));
}

}  // namespace laconic
