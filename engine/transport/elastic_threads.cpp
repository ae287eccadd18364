#include "engine/transport/elastic_threads.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/hash.h"

namespace laconic {
struct ElasticThreads::State {
  using MemberId = std::uint64_t;

  // What members agree on, in the order of their calls.
  enum class Meeting { none, begin, end, question, renewal, state, finish };

  struct Member {
    Meeting waits_for = Meeting::none;
    bool succeeded = true;  // its vote at the end of an operation
    std::uint64_t lives_for = 0;
    std::uint64_t revision = 0;  // of its state
    std::vector<SharedPart>* state = nullptr;
    SharedStateReport report;
  };

  std::mutex mutex;
  std::condition_variable changed;
  MemberId next = 1;
  std::map<MemberId, Member> alive;
  std::vector<MemberId> group;  // by rank; the dead stay until the group is renewed
  std::uint64_t revision = 0;
  bool aborted = false;  // the operation that runs, or ran last
  bool verdict = false, answer = false, finished = false;
  std::map<std::tuple<MemberId, MemberId, std::uint32_t>, std::deque<Bytes>> messages;  // from, to, tag

  bool in_group(MemberId id) const { return std::find(group.begin(), group.end(), id) != group.end(); }
  bool group_is_whole() const {
    return std::all_of(group.begin(), group.end(), [&](MemberId id) { return alive.count(id) > 0; });
  }

  // Called after every arrival and every death: a meeting takes place when all living members of the group
  // wait for it.
  void hold_meeting() {
    std::vector<Member*> members;
    for (const MemberId id : group) {
      const auto found = alive.find(id);
      if (found != alive.end()) members.push_back(&found->second);
    }
    const Meeting kind =
        members.empty() ? Meeting::renewal : members.front()->waits_for;  // newcomers alone begin a group
    if (kind == Meeting::none) return;
    for (const Member* member : members) {
      if (member->waits_for != kind) return;
    }
    switch (kind) {
      case Meeting::none:
        return;
      case Meeting::begin:
        aborted = !group_is_whole();
        messages.clear();
        break;
      case Meeting::end:
        verdict = !aborted && group_is_whole();
        for (const Member* member : members) verdict = verdict && member->succeeded;
        break;
      case Meeting::question:
        answer = std::any_of(alive.begin(), alive.end(), [&](const auto& member) {
          return member.second.waits_for == Meeting::renewal && !in_group(member.first);
        });
        break;
      case Meeting::renewal: {
        std::vector<MemberId> renewed;
        for (auto& [id, member] : alive) {
          if (member.waits_for != Meeting::renewal) continue;
          renewed.push_back(id);
          if (!in_group(id)) members.push_back(&member);
        }
        if (renewed.empty()) return;
        group = std::move(renewed);
        ++revision;
        messages.clear();
        break;
      }
      case Meeting::state:
        share_state(members);
        break;
      case Meeting::finish:
        finished = true;
        for (auto& member : alive) member.second.waits_for = Meeting::none;
        break;
    }
    for (Member* member : members) member->waits_for = Meeting::none;
    changed.notify_all();
  }

  static Hash128 hash_of(const std::vector<SharedPart>& state) {
    StreamingHash128 hash;
    for (const SharedPart& part : state) {
      hash.update(part.name);
      hash.update(part.bytes);
    }
    return hash.digest();
  }

  static void share_state(const std::vector<Member*>& members) {
    std::uint64_t furthest = 0;
    for (const Member* member : members) furthest = std::max(furthest, member->revision);
    std::map<Hash128, std::vector<Member*>> holders;
    for (Member* member : members) {
      if (member->revision == furthest) holders[hash_of(*member->state)].push_back(member);
    }
    const auto elected = std::max_element(holders.begin(), holders.end(), [](const auto& a, const auto& b) {
      return a.second.size() < b.second.size();
    });
    std::uint64_t bytes = 0;
    for (const SharedPart& part : *elected->second.front()->state) bytes += part.bytes.size();
    for (Member* member : members) {
      if (hash_of(*member->state) == elected->first) continue;
      *member->state = *elected->second.front()->state;
      member->report.received = true;
      member->report.received_bytes = bytes;
      elected->second.front()->report.sent_bytes += bytes;
    }
  }
};

namespace {

using RunState = ElasticThreads::State;
using Meeting = RunState::Meeting;
using Member = RunState::Member;
using MemberId = RunState::MemberId;

class ElasticThreadCommunicator : public Communicator {
 public:
  ElasticThreadCommunicator(std::shared_ptr<RunState> state, MemberId id, int rank, int size,
                            std::uint64_t revision)
      : Communicator(rank, size), state_(std::move(state)), id_(id), revision_(revision) {}

  void abandon(std::string_view) override {
    const std::lock_guard lock(state_->mutex);
    if (state_->revision == revision_) state_->aborted = true;
    state_->changed.notify_all();
  }

 protected:
  void deliver(int to, std::uint32_t tag, Bytes message) override {
    const std::lock_guard lock(state_->mutex);
    live_on();
    if (state_->revision != revision_ || state_->aborted) lose();
    state_->messages[{id_, state_->group[static_cast<std::size_t>(to)], tag}].push_back(std::move(message));
    state_->changed.notify_all();
  }

  Bytes take(int from, std::uint32_t tag) override {
    std::unique_lock lock(state_->mutex);
    live_on();
    if (state_->revision != revision_) lose();
    const std::tuple key{state_->group[static_cast<std::size_t>(from)], id_, tag};
    state_->changed.wait(lock, [&] {
      return state_->aborted || state_->revision != revision_ || state_->messages.count(key) > 0;
    });
    if (state_->aborted || state_->revision != revision_) lose();
    const auto found = state_->messages.find(key);
    Bytes message = std::move(found->second.front());
    found->second.pop_front();
    if (found->second.empty()) state_->messages.erase(found);
    return message;
  }

 private:
  // A death is seen by all at once.
  void live_on() {
    const auto own = state_->alive.find(id_);
    if (own != state_->alive.end() && own->second.lives_for-- > 0) return;
    if (own != state_->alive.end()) {
      state_->alive.erase(own);
      state_->aborted = true;
      state_->hold_meeting();
      state_->changed.notify_all();
    }
    throw ElasticThreads::Killed();
  }
  [[noreturn]] static void lose() {
    fail(ErrorKind::io, "the operation was stopped: a member failed or was lost", "elastic run");
  }

  std::shared_ptr<RunState> state_;
  MemberId id_;
  std::uint64_t revision_;
};

class ElasticThread : public ElasticWorld {
 public:
  ElasticThread(std::shared_ptr<RunState> state, MemberId id) : state_(std::move(state)), id_(id) {}
  ~ElasticThread() override {
    const std::lock_guard lock(state_->mutex);
    if (state_->alive.erase(id_) == 0) return;
    if (state_->in_group(id_)) state_->aborted = true;
    state_->hold_meeting();
    state_->changed.notify_all();
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::uint64_t revision() const override { return revision_; }

  std::unique_ptr<Communicator> communicator() override {
    return std::make_unique<ElasticThreadCommunicator>(state_, id_, rank_, size_, revision_);
  }

  void begin_operation() override { meet(Meeting::begin); }
  bool end_operation(bool succeeded) override {
    std::unique_lock lock(state_->mutex);
    Member& own = member();
    own.succeeded = succeeded;
    if (!succeeded) state_->aborted = true;
    state_->changed.notify_all();
    wait_for(Meeting::end, lock);
    return state_->verdict;
  }
  bool newcomers_wait() override {
    std::unique_lock lock(state_->mutex);
    wait_for(Meeting::question, lock);
    return state_->answer;
  }
  void renew() override {
    std::unique_lock lock(state_->mutex);
    if (!state_->finished) wait_for(Meeting::renewal, lock);
    if (state_->finished) fail(ErrorKind::io, "is complete: there is nothing to join", "elastic run");
    size_ = static_cast<int>(state_->group.size());
    rank_ =
        static_cast<int>(std::find(state_->group.begin(), state_->group.end(), id_) - state_->group.begin());
    revision_ = state_->revision;
  }
  void finish() override { meet(Meeting::finish); }
  SharedStateReport synchronise(std::uint64_t revision, std::vector<SharedPart>& state) override {
    std::unique_lock lock(state_->mutex);
    Member& own = member();
    own.revision = revision;
    own.state = &state;
    own.report = {};
    wait_for(Meeting::state, lock);
    return member().report;
  }

 private:
  void meet(Meeting kind) {
    std::unique_lock lock(state_->mutex);
    wait_for(kind, lock);
  }
  Member& member() {
    const auto own = state_->alive.find(id_);
    if (own == state_->alive.end()) throw ElasticThreads::Killed();
    return own->second;
  }
  // The next meeting of a kind cannot be held before this member has come back for it, so what the last one
  // decided is still there.
  void wait_for(Meeting kind, std::unique_lock<std::mutex>& lock) {
    Member& own = member();
    own.waits_for = kind;
    state_->hold_meeting();
    state_->changed.wait(lock, [&] { return own.waits_for == Meeting::none; });
  }

  std::shared_ptr<RunState> state_;
  MemberId id_;
  int rank_ = 0, size_ = 1;
  std::uint64_t revision_ = 0;
};

}  // namespace

ElasticThreads::ElasticThreads() : state_(std::make_shared<State>()) {}
ElasticThreads::~ElasticThreads() = default;

std::unique_ptr<ElasticWorld> ElasticThreads::join(std::uint64_t lives_for) {
  const std::lock_guard lock(state_->mutex);
  const MemberId id = state_->next++;
  state_->alive[id].lives_for = lives_for;
  return std::make_unique<ElasticThread>(state_, id);
}

}  // namespace laconic
