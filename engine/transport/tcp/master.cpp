#include "engine/transport/tcp/master.h"

#include <fmt/format.h>

#include <atomic>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>

#include "engine/base/error.h"
#include "engine/transport/tcp/background_ring_search.h"
#include "engine/transport/tcp/framed_link.h"
#include "engine/transport/tcp/link_server.h"
#include "engine/transport/tcp/standby_state.h"

namespace laconic {
namespace {

double seconds_of_clock() { return std::chrono::duration<double>(Clock::now().time_since_epoch()).count(); }

control::MasterSettings state_settings(const MasterOptions& options) {
  control::MasterSettings settings;
  // Peers of an earlier run must not be taken for those of this one.
  fill_random(std::as_writable_bytes(std::span(&settings.seed, 1)));
  settings.place = options.place;
  settings.stall_notice = options.stall_notice;
  settings.stall_limit = options.stall_limit;
  settings.ping_interval = options.ping_interval;
  settings.silence_limit = options.silence_limit;
  return settings;
}

void send_control(FramedLink& link, const control::ControlPacket& packet) {
  link.send(control::id_of(packet.body), control::encode(packet));
}

}  // namespace

std::vector<Endpoint> parse_masters(std::string_view text) {
  std::vector<Endpoint> masters;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    masters.push_back(parse_endpoint(text.substr(at, end - at), default_master_port));
    at = end + 1;
  }
  return masters;
}

MasterStatus ask_status(const std::vector<Endpoint>& masters, const LinkSettings& settings, double timeout) {
  std::optional<MasterStatus> best;
  std::string fault;
  for (const Endpoint& endpoint : masters) {
    try {
      FramedLink link(endpoint, LinkPurpose::control, settings, timeout);
      send_control(link, {0, control::AskStatus{}});
      const auto packet = link.receive(timeout);
      if (!packet) fail(ErrorKind::io, "does not answer", to_text(endpoint));
      const control::ControlPacket answer = control::decode(packet->id, packet->payload);
      const auto* status = std::get_if<control::Status>(&answer.body);
      if (status == nullptr) fail(ErrorKind::io, "does not tell its status", to_text(endpoint));
      // A standby knows the epoch of the master it follows, but no peers.
      if (!best || answer.epoch > best->epoch || status->peers.size() > best->status.peers.size())
        best = MasterStatus{answer.epoch, *status};
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::input || error.kind() == ErrorKind::usage) throw;
      fault = error.what();
    }
  }
  if (!best) fail(ErrorKind::io, "no master answers: " + fault, {}, "is `laconic master` running there?");
  return *best;
}

// -------------------------------------------------------------------------------------------------- state

struct Master::State {
  explicit State(const MasterOptions& given)
      : options(given),
        server(given.listen, given.ports, LinkPurpose::control, given.link,
               {.opened = [this](LinkId link, const Endpoint& from) { opened(link, from); },
                .packet = [this](LinkId link, std::uint16_t id, ByteSpan bytes) { packet(link, id, bytes); },
                .closed = [this](LinkId link, const std::string&) { closed(link); },
                .refused =
                    [this](const Endpoint& from, const std::string& reason) {
                      say(fmt::format("refused {}: {}", to_text(from), reason));
                    }}) {}

  void say(std::string_view text) const {
    if (options.message) options.message(text);
  }

  // Whichever of the two there is.
  template <class Use>
  void with_machine(const Use& use) {
    if (stopped) return;
    {
      const std::lock_guard lock(mutex);
      if (standby)
        use(*standby);
      else
        use(*first);
    }
    carry_out();
  }

  void opened(LinkId link, const Endpoint& from) {
    with_machine([&](auto& machine) {
      machine.link_opened(link, from.address, is_loopback(from.address), seconds_of_clock());
    });
  }

  void packet(LinkId link, std::uint16_t id, ByteSpan bytes) {
    std::optional<control::ControlPacket> decoded;
    std::string fault;
    try {
      decoded = control::decode(id, bytes);
    } catch (const Error& error) {
      fault = error.what();
    }
    with_machine([&](auto& machine) {
      if (decoded)
        machine.packet(link, *decoded, seconds_of_clock());
      else
        machine.malformed(link, fault, seconds_of_clock());
    });
  }

  void closed(LinkId link) {
    with_machine([&](auto& machine) { machine.link_closed(link, seconds_of_clock()); });
  }

  void tick() {
    armed = INFINITY;
    with_machine([&](auto& machine) { machine.tick(seconds_of_clock()); });
  }

  // Does what the machine wants done, and plans the next tick.
  void carry_out() {
    std::vector<control::LinkAction> actions;
    std::vector<control::UpstreamAction> upstream_actions;
    double deadline = 0;
    {
      const std::lock_guard lock(mutex);
      actions = standby ? standby->take_actions() : first->take_actions();
      if (standby) upstream_actions = standby->take_upstream_actions();
      deadline = standby ? standby->next_deadline() : first->next_deadline();
    }
    for (const control::LinkAction& action : actions) {
      if (action.packet) {
        if (const auto* kick = std::get_if<control::Kick>(&action.packet->body))
          say(fmt::format("link {} closed ({}): {}", action.link, control::name_of(kick->reason),
                          kick->text));
        server.send(action.link, control::id_of(action.packet->body), control::encode(*action.packet));
      }
      if (action.close) server.close(action.link, "closed by the master");
    }
    for (control::UpstreamAction& action : upstream_actions) follow(std::move(action));
    note_changes();
    search_rings();
    if (deadline < armed) {
      armed = deadline;
      server.after(std::max(0.001, deadline - seconds_of_clock()), [this, deadline] {
        if (armed == deadline) tick();
      });
    }
  }

  void note_changes() {
    std::string news;
    {
      const std::lock_guard lock(mutex);
      const control::MasterState* machine = leader();
      if (machine == nullptr) return;
      if (machine->active() && !leading.exchange(true)) {
        news = fmt::format("leads, with epoch {}", control::generation_of(machine->epoch()));
      } else if (!machine->active() && leading.exchange(false)) {
        down = true;
        news = "has stood down: there is a younger master, or may be";
      }
    }
    if (!news.empty()) say(news);
  }

  control::MasterState* leader() { return standby ? standby->master() : first.get(); }

  // Once for each measurement, while the ring that was found at once is in use.
  void search_rings() {
    if (rings == nullptr) return;
    const std::lock_guard lock(mutex);
    const control::MasterState* machine = leader();
    if (machine == nullptr || machine->measurements() == measurements) return;
    measurements = machine->measurements();
    for (const std::uint32_t group : machine->groups()) rings->search(group, machine->measured(group));
  }

  void adopt_ring(std::uint32_t group, const std::vector<control::PeerId>& order) {
    bool adopted = false;
    {
      const std::lock_guard lock(mutex);
      control::MasterState* machine = leader();
      adopted = machine != nullptr && machine->active() && machine->adopt_ring(group, order);
    }
    if (adopted) say(fmt::format("found a faster ring for group {}, from its next change on", group));
  }

  // ---- the link of a standby to the master it follows
  void follow(control::UpstreamAction action) {
    const std::lock_guard lock(upstream_mutex);
    upstream_work.push_back(std::move(action));
    upstream_changed.notify_all();
  }

  void run_upstream() {
    std::unique_lock lock(upstream_mutex);
    for (;;) {
      upstream_changed.wait(lock, [&] { return stopping || !upstream_work.empty(); });
      if (stopping) break;
      const control::UpstreamAction action = std::move(upstream_work.front());
      upstream_work.pop_front();
      lock.unlock();
      do_upstream(action);
      lock.lock();
    }
    lock.unlock();
    upstream.reset();
  }

  void do_upstream(const control::UpstreamAction& action) {
    using Kind = control::UpstreamAction::Kind;
    try {
      if (action.kind == Kind::send) {
        if (upstream) send_control(*upstream, action.packet);
        return;
      }
      upstream.reset();
      const std::uint64_t number = ++upstream_number;
      if (action.kind == Kind::close) return;
      upstream = std::make_unique<FramedLink>(options.masters.at(action.master), LinkPurpose::control,
                                              options.link, 2.0);
      // In the order of the server's thread, and never for a link that was given up.
      const auto post = [this, number](std::function<void()> work) {
        server.post([this, number, work = std::move(work)] {
          if (upstream_number == number) work();
        });
      };
      post([this] { with_standby([&](auto& machine) { machine.upstream_opened(seconds_of_clock()); }); });
      upstream->start(
          [this, post](Packet packet) {
            const control::ControlPacket decoded = control::decode(packet.id, packet.payload);
            post([this, decoded] {
              with_standby([&](auto& machine) { machine.upstream_packet(decoded, seconds_of_clock()); });
            });
          },
          [this, post](const std::string&) {
            post([this] {
              with_standby([&](auto& machine) { machine.upstream_closed(seconds_of_clock()); });
            });
          });
    } catch (const Error& error) {
      const std::uint64_t number = upstream_number;
      server.post([this, number] {
        if (upstream_number == number)
          with_standby([&](auto& machine) { machine.upstream_closed(seconds_of_clock()); });
      });
    }
  }

  template <class Use>
  void with_standby(const Use& use) {
    {
      const std::lock_guard lock(mutex);
      use(*standby);
    }
    carry_out();
  }

  MasterOptions options;
  mutable std::mutex mutex;  // of the machine
  std::unique_ptr<control::MasterState> first;
  std::unique_ptr<control::StandbyState> standby;
  LinkServer server;
  // On the server's thread:
  double armed = INFINITY;  // when the next tick is planned
  bool stopped = false;     // links that this side closes are no peers that are gone
  std::uint64_t measurements = 0;
  std::atomic<bool> leading = false, down = false;

  std::mutex upstream_mutex;
  std::condition_variable upstream_changed;
  std::deque<control::UpstreamAction> upstream_work;
  bool stopping = false;
  std::atomic<std::uint64_t> upstream_number = 0;
  std::unique_ptr<FramedLink> upstream;  // of its thread
  std::thread upstream_thread, thread;
  std::unique_ptr<BackgroundRingSearch> rings;
};

Master::Master(const MasterOptions& options) : state_(std::make_unique<State>(options)) {
  const double now = seconds_of_clock();
  const auto masters = static_cast<std::uint32_t>(std::max<std::size_t>(1, options.masters.size()));
  if (options.place >= masters)
    fail(ErrorKind::usage, fmt::format("there is no place {} among {} masters", options.place, masters));
  bool stands_by = options.place > 0;
  if (masters > 1 && !stands_by) {
    // The first master that comes back after a takeover must not begin a second run.
    std::vector<Endpoint> others = options.masters;
    others.erase(others.begin());
    try {
      stands_by = ask_status(others, options.link, 1).epoch > control::make_epoch(1, options.place);
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::io) throw;
    }
  }
  if (stands_by) {
    control::StandbySettings settings;
    settings.master = state_settings(options);
    settings.masters = masters;
    settings.grace = options.takeover_grace;
    settings.election_limit = options.election_limit;
    state_->standby = std::make_unique<control::StandbyState>(settings, now);
    state_->upstream_thread = std::thread([this] { state_->run_upstream(); });
  } else {
    state_->first = std::make_unique<control::MasterState>(state_settings(options), now);
  }
  if (options.ring_search > 0) {
    state_->rings = std::make_unique<BackgroundRingSearch>(
        RingSearch{}, options.ring_search,
        [state = state_.get()](std::uint32_t group, const std::vector<control::PeerId>& order) {
          state->server.post([state, group, order] { state->adopt_ring(group, order); });
        });
  }
  state_->thread = std::thread([this] {
    try {
      state_->server.post([this] { state_->carry_out(); });
      state_->server.run();
    } catch (const std::exception& error) {
      state_->say(fmt::format("the master has failed: {}", error.what()));
      state_->down = true;
    }
  });
}

Master::~Master() { stop(); }

void Master::stop() {
  if (!state_->thread.joinable()) return;
  state_->server.post([this] { state_->stopped = true; });
  state_->server.stop();
  state_->thread.join();
  state_->rings.reset();
  {
    const std::lock_guard lock(state_->upstream_mutex);
    state_->stopping = true;
    state_->upstream_changed.notify_all();
  }
  if (state_->upstream_thread.joinable()) state_->upstream_thread.join();
}

std::uint16_t Master::port() const { return state_->server.port(); }
bool Master::leads() const { return state_->leading; }
bool Master::stood_down() const { return state_->down; }

control::Epoch Master::epoch() const {
  const std::lock_guard lock(state_->mutex);
  return state_->standby ? state_->standby->epoch() : state_->first->epoch();
}

control::Status Master::status() const {
  const std::lock_guard lock(state_->mutex);
  const control::MasterState* machine = state_->standby ? state_->standby->master() : state_->first.get();
  return machine != nullptr ? machine->status(seconds_of_clock()) : control::Status{};
}

}  // namespace laconic
