#include "engine/transport/tcp/churn_member.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/progress.h"
#include "engine/base/random.h"
#include "engine/transport/tcp/authentication.h"

namespace laconic {
namespace {

constexpr std::string_view form_names[] = {"synchronous", "overlapping", "delayed"};
constexpr std::size_t state_size = 4096;

// The state that all hold alike.
struct ChurnState {
  std::uint64_t lineage = 0, step = 0;  // who began it, how often it was changed
  std::vector<float> values = std::vector<float>(state_size);

  SharedState shared(std::uint64_t revision) {
    SharedState state;
    state.revision = revision;
    const auto number = [](const char* key, std::uint64_t& value) {
      return SharedEntry{{key, NumberType::u64, std::as_writable_bytes(std::span(&value, 1))}, false};
    };
    state.entries = {number("lineage", lineage),
                     number("step", step),
                     {{"values", NumberType::f32, std::as_writable_bytes(std::span(values))}, false}};
    return state;
  }
};

class ChurnMember {
 public:
  ChurnMember(const PeerOptions& options, ChurnForm form, const std::filesystem::path& log)
      : form_(form),
        log_(::open(log.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)),
        peer_(options) {
    if (log_ < 0) fail(ErrorKind::io, std::string("cannot be opened: ") + std::strerror(errno), log.string());
    fill_random(std::as_writable_bytes(std::span(&state_.lineage, 1)));
    own_ = state_.lineage;
  }
  ~ChurnMember() { ::close(log_); }
  ChurnMember(const ChurnMember&) = delete;
  ChurnMember& operator=(const ChurnMember&) = delete;

  [[noreturn]] void run() {
    peer_.join();
    for (;;) {
      throw_if_interrupted();
      try {
        one_turn();
      } catch (const PeerError& error) {
        if (error.fault() != PeerFault::aborted && error.fault() != PeerFault::too_few_peers) throw;
      }
    }
  }

 private:
  void one_turn() {
    // Newcomers come to the state first, as do those who let them in.
    if (!must_synchronise_ && peer_.newcomers_pending()) {
      arrive();
      peer_.update_topology();
      must_synchronise_ = true;
    }
    if (must_synchronise_) {
      SharedState shared = state_.shared(revision_);
      peer_.synchronise(shared);
      revision_ = shared.revision;
      must_synchronise_ = false;
    }
    if (peer_.group_size() < 2 && !running_) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      return;
    }
    switch (form_) {
      case ChurnForm::synchronous:
        launch();
        arrive();
        break;
      case ChurnForm::overlapping:
        two_at_once();
        break;
      case ChurnForm::delayed:
        arrive();
        launch();
        break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));  // a step's computation
  }

  // Like gradients: of the member, the step and the place alone.
  std::vector<float> contribution(std::uint64_t part) {
    std::vector<float> values(state_size);
    const RandomStream random(own_, "churn", "", contributions_);
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(random.bits_at(i + part * values.size()) % 2000) * 1e-3f - 1.0f;
    return values;
  }
  static ReduceRequest mean_of(std::vector<float>& values, std::uint64_t tag) {
    ReduceRequest request;
    request.source = request.destination = values.data();
    request.count = values.size();
    request.op = ReduceOp::avg;
    request.tag = tag;
    return request;
  }

  void launch() {
    ++contributions_;
    travelling_ = contribution(0);
    running_ = peer_.start_all_reduce(mean_of(travelling_, 1));
  }
  // Of what was launched, if anything was. What failed is left out, by all.
  void arrive() {
    if (!running_) return;
    std::future<ReduceReport> running = std::move(*running_);
    running_.reset();
    const int world = running.get().world;
    commit(travelling_, nullptr, world);
  }
  void two_at_once() {
    ++contributions_;
    std::vector<float> first = contribution(0), second = contribution(1);
    std::vector<ReduceRequest> both = {mean_of(first, 1), mean_of(second, 2)};
    both[1].quantization.kind = QuantizationKind::min_max;
    const ManyReport report = peer_.all_reduce(both, 2);
    if (!report.too_few_peers) commit(first, &second, report.each[0]->world);
  }

  void commit(const std::vector<float>& first, const std::vector<float>* second, int world) {
    for (std::size_t i = 0; i < state_size; ++i)
      state_.values[i] = 0.5f * state_.values[i] + first[i] + (second != nullptr ? (*second)[i] : 0.0f);
    ++state_.step;
    const std::string line = fmt::format("{:016x} {} {} {:.6f} {} {}\n", state_.lineage, state_.step,
                                         to_hex(xxh3_128(std::as_bytes(std::span(state_.values)))),
                                         machine_seconds(), ::getpid(), world);
    if (::write(log_, line.data(), line.size()) != static_cast<ssize_t>(line.size()))
      fail(ErrorKind::io, "cannot be written", "log of the run");
  }

  ChurnForm form_;
  int log_;
  ChurnState state_;
  std::uint64_t own_ = 0, revision_ = 0, contributions_ = 0;
  bool must_synchronise_ = true;
  std::vector<float> travelling_;
  Peer peer_;  // after the memory that its operations use
  std::optional<std::future<ReduceReport>> running_;
};

}  // namespace

double machine_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

ChurnForm churn_form_named(std::string_view name) {
  for (std::size_t i = 0; i < std::size(form_names); ++i) {
    if (form_names[i] == name) return static_cast<ChurnForm>(i);
  }
  fail(ErrorKind::usage, "\"" + std::string(name) + "\" is not a form of steps", {},
       "there are synchronous, overlapping and delayed");
}

std::string_view name_of(ChurnForm form) { return form_names[static_cast<std::size_t>(form)]; }

void run_churn_member(const PeerOptions& options, ChurnForm form, const std::filesystem::path& log) {
  ChurnMember(options, form, log).run();
}

}  // namespace laconic
