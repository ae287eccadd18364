// A peer of a sign exchange that sends any bytes, or edits of what a true peer sent, and states with edits;
// checksums are made right where the input says so. They are refused as corrupt, or the step is refused and
// leaves no trace, or it is taken: then sums and memories are finite, and a state is written back as it was.
#include <cstdlib>
#include <cstring>
#include <span>
#include <thread>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/hash.h"
#include "engine/base/random.h"
#include "engine/exchange/owned_sign_exchange.h"
#include "engine/transport/thread_world.h"
#include "tests/fuzz/edits.h"

namespace {

using namespace laconic;

constexpr int ranks = 2;
constexpr std::size_t numbers = 60;
using Messages = std::vector<Bytes>;

// Keeps what a rank sends.
class Recorder final : public Communicator {
 public:
  explicit Recorder(Communicator& inner) : Communicator(inner.rank(), inner.size()), inner_(inner) {}
  void abandon(std::string_view reason) override { inner_.abandon(reason); }
  Messages sent;

 private:
  void deliver(int to, std::uint32_t tag, Bytes message) override {
    sent.push_back(message);
    inner_.send(to, tag, std::move(message));
  }
  Bytes take(int from, std::uint32_t tag) override { return inner_.receive(from, tag); }

  Communicator& inner_;
};

// Rank 0, to whom rank 1 sends the given messages.
class Scripted final : public Communicator {
 public:
  explicit Scripted(Messages messages) : Communicator(0, ranks), messages_(std::move(messages)) {}
  void abandon(std::string_view) override {}

 private:
  void deliver(int, std::uint32_t, Bytes) override {}
  Bytes take(int, std::uint32_t) override {
    if (next_ == messages_.size()) std::abort();
    return std::move(messages_[next_++]);
  }

  Messages messages_;
  std::size_t next_ = 0;
};

OwnedSignExchange exchange_of(std::size_t kind, int rank) {
  OwnedSignSettings settings;
  settings.ranks = ranks;
  settings.rank = rank;
  if (kind == 1) {
    settings.scale = OwnedSignSettings::Scale::mean;
    settings.block = 10;
    settings.dense = {false, true, false};
  }
  if (kind == 2) settings.worker_error = settings.owner_error = false;
  if (kind == 3) settings.starts_dense = true;
  return OwnedSignExchange({{"a", {5, 7}, 0, 35}, {"b", {6}, 35, 6}, {"c", {19}, 41, 19}}, settings);
}
constexpr std::size_t exchange_kind_count = 4;

// The last kind leaves numbers out.
void start(OwnedSignExchange& exchange, std::size_t kind) {
  if (kind != 3) return;
  std::vector<std::uint8_t> carried(numbers, 1);
  carried[0] = carried[36] = carried[37] = 0;
  exchange.start_signs(std::move(carried));
}

std::vector<float> input_of(int rank, std::uint64_t step) {
  const RandomStream random(1, "fuzz", "signs", step, static_cast<std::uint16_t>(rank));
  std::vector<float> values(numbers);
  for (std::size_t j = 0; j < numbers; ++j) values[j] = random.gaussian_at(j);
  return values;
}

bool step_of(OwnedSignExchange& exchange, Communicator& communicator, std::uint64_t step,
             std::span<float> agreed) {
  const bool accepted = exchange.exchange(communicator, step, 0, input_of(communicator.rank(), step), agreed);
  exchange.end_step(accepted);
  return accepted;
}

struct Written {
  Bytes before;      // rank 0's state before the second step
  Messages to_zero;  // what rank 1 sent in that step
};

Written written_by(std::size_t kind) {
  Written written;
  ThreadWorld world(ranks);
  const auto body = [&](int rank) {
    const auto communicator = world.communicator(rank);
    OwnedSignExchange exchange = exchange_of(kind, rank);
    start(exchange, kind);
    std::vector<float> agreed(numbers);
    if (!step_of(exchange, *communicator, 1, agreed)) std::abort();
    if (rank == 0) written.before = exchange.save();
    Recorder recorder(*communicator);
    if (!step_of(exchange, recorder, 2, agreed)) std::abort();
    if (rank == 1) written.to_zero = recorder.sent;
  };
  std::thread other([&] { body(1); });
  body(0);
  other.join();
  return written;
}

template <class Hash>
void seal(Bytes& bytes) {
  if (bytes.size() < sizeof(Hash)) return;
  const std::size_t body = bytes.size() - sizeof(Hash);
  const auto hash = static_cast<Hash>(xxh3_64(ByteSpan(bytes).first(body)));
  std::memcpy(bytes.data() + body, &hash, sizeof(Hash));
}

void check_messages(std::size_t kind, const Written& written, Messages messages) {
  OwnedSignExchange exchange = exchange_of(kind, 0);
  exchange.restore(written.before, "fuzz");
  Scripted communicator(std::move(messages));
  std::vector<float> agreed(numbers);
  try {
    if (!step_of(exchange, communicator, 2, agreed)) {
      if (exchange.save() != written.before) std::abort();
      return;
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) std::abort();
    return;
  }
  if (!all_finite(agreed)) std::abort();
  // Refuses memories that are not finite.
  exchange_of(kind, 0).restore(exchange.save(), "fuzz");
}

void check_state(std::size_t kind, const Written& written, const Bytes& state) {
  OwnedSignExchange exchange = exchange_of(kind, 0);
  const Bytes fresh = exchange.save();
  try {
    exchange.restore(state, "fuzz");
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt && error.kind() != ErrorKind::usage) std::abort();
    if (exchange.save() != fresh) std::abort();
    return;
  }
  if (exchange.save() != state) std::abort();
  // What numbers it carries may be others than the peer's, which is then refused.
  Scripted communicator(written.to_zero);
  std::vector<float> agreed(numbers);
  try {
    step_of(exchange, communicator, 2, agreed);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<Written> all = [] {
    std::vector<Written> made;
    for (std::size_t kind = 0; kind < exchange_kind_count; ++kind) made.push_back(written_by(kind));
    return made;
  }();
  if (size < 3) return 0;
  const std::size_t kind = data[1] % all.size();
  const Written& written = all[kind];
  const bool any_bytes = data[0] % 2 == 0, right_checksum = data[0] / 2 % 2 == 0;
  const auto changed = [&](const Bytes& from) {
    Bytes bytes = from;
    if (any_bytes) {
      const auto* begin = reinterpret_cast<const std::byte*>(data + 3);
      bytes.assign(begin, begin + (size - 3));
    } else {
      apply_edits(std::span(data + 3, size - 3), bytes);
    }
    return bytes;
  };
  if (data[0] / 4 % 2 == 0) {
    Bytes state = changed(written.before);
    if (right_checksum) seal<std::uint64_t>(state);
    check_state(kind, written, state);
    return 0;
  }
  Messages messages = written.to_zero;
  const std::size_t index = data[2] % messages.size();
  messages[index] = changed(messages[index]);
  // Dense tensors travel first, in two messages without a checksum.
  if (right_checksum && index + 2 >= messages.size()) seal<std::uint32_t>(messages[index]);
  check_messages(kind, written, std::move(messages));
  return 0;
}
