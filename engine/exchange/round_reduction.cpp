#include "engine/exchange/round_reduction.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/finite.h"
#include "engine/base/saved_state.h"

namespace laconic {

// Whole pages of f32 numbers that can be made read-only.
class RoundReduction::Pages {
 public:
  explicit Pages(std::size_t numbers) : numbers_(numbers) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    bytes_ = std::max<std::size_t>((numbers * sizeof(float) + page - 1) / page * page, page);
    memory_ = ::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED)
      fail(ErrorKind::io, std::string("gives no memory: ") + std::strerror(errno), "mmap");
  }
  ~Pages() { ::munmap(memory_, bytes_); }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;

  std::span<float> numbers() const { return {static_cast<float*>(memory_), numbers_}; }
  void allow_writing(bool allowed) const {
    const int rights = allowed ? PROT_READ | PROT_WRITE : PROT_READ;
    if (::mprotect(memory_, bytes_, rights) != 0)
      fail(ErrorKind::io, std::string("does not protect memory: ") + std::strerror(errno), "mprotect");
  }

 private:
  std::size_t numbers_, bytes_;
  void* memory_;
};

RoundReduction::RoundReduction(std::size_t numbers, CommunicationThread& thread, Reduce reduce)
    : thread_(thread),
      reduce_(std::move(reduce)),
      numbers_(numbers),
      own_(std::make_unique<Pages>(numbers)),
      values_(numbers, std::numeric_limits<float>::quiet_NaN()),
      waited_for_(values_) {}

RoundReduction::~RoundReduction() {
  try {
    if (pending_ && !finished_) handle_.wait();
  } catch (...) {  // whoever wanted the result would have heard
  }
}

std::span<float> RoundReduction::contribution() {
  require(!pending_, "a contribution is written after the reduction before it was waited for");
  return own_->numbers();
}

void RoundReduction::launch(std::uint64_t round) {
  require(!pending_, "one reduction at a time");
  std::fill(values_.begin(), values_.end(), std::numeric_limits<float>::quiet_NaN());
  result_ = {};
  result_.round = round;
  own_->allow_writing(false);
  pending_ = true;
  finished_ = false;
  handle_ = thread_.submit("round", [this, round](Communicator& communicator) {
    const double begin = steady_seconds();
    const Traffic before = communicator.traffic();
    result_.accepted = reduce_(communicator, round, own_->numbers(), values_);
    result_.participants = communicator.size();
    const Traffic moved = communicator.traffic() - before;
    result_.sent_bytes = moved.sent_bytes;
    result_.received_bytes = moved.received_bytes;
    result_.seconds = steady_seconds() - begin;
  });
}

bool RoundReduction::pending() const { return pending_; }

bool RoundReduction::in_flight() const { return pending_ && !finished_; }

void RoundReduction::finish() {
  if (finished_) return;
  handle_.wait();
  finished_ = true;
  own_->allow_writing(true);
}

RoundReduction::Result RoundReduction::wait() {
  require(pending_, "there is a reduction to wait for");
  const double begin = steady_seconds();
  finish();
  waited_ += steady_seconds() - begin;
  pending_ = false;
  // The next reduction leaves what this one gave alone.
  values_.swap(waited_for_);
  result_.values = waited_for_;
  return result_;
}

void RoundReduction::drain() {
  if (pending_) finish();
}

Bytes RoundReduction::save() const {
  if (in_flight()) {
    fail(ErrorKind::usage, "cannot be saved while a reduction is in flight", "checkpoint",
         "drain it first: its result is kept");
  }
  ByteWriter writer;
  writer.u8(pending_ ? 1 : 0);
  writer.varint(numbers_);
  if (pending_) {
    writer.varint(result_.round);
    writer.varint(static_cast<std::uint64_t>(result_.participants));
    writer.u8(result_.accepted ? 1 : 0);
    writer.f64(result_.seconds);
    writer.varint(result_.sent_bytes);
    writer.varint(result_.received_bytes);
    if (result_.accepted) write_numbers(writer, values_);
  }
  return sealed(std::move(writer));
}

void RoundReduction::restore(ByteSpan bytes, std::string_view where) {
  require(!in_flight(), "what is in flight is not replaced");
  ByteReader reader(unsealed(bytes, where), std::string(where));
  const std::uint8_t pending = reader.u8();
  if (pending > 1) reader.corrupt("neither a reduction nor none");
  if (reader.varint() != numbers_) reader.corrupt("a reduction of another length");
  Result result;
  std::vector<float> values(numbers_, std::numeric_limits<float>::quiet_NaN());
  if (pending == 1) {
    result.round = reader.varint();
    result.participants = static_cast<int>(reader.length(1 << 20));
    const std::uint8_t accepted = reader.u8();
    if (accepted > 1) reader.corrupt("neither accepted nor refused");
    result.accepted = accepted == 1;
    result.seconds = reader.f64();
    if (!(result.seconds >= 0) || !std::isfinite(result.seconds)) reader.corrupt("a time that nothing takes");
    result.sent_bytes = reader.varint();
    result.received_bytes = reader.varint();
    if (result.accepted) values = read_numbers<float>(reader, numbers_);
  }
  reader.expect_end();
  pending_ = pending == 1;
  finished_ = true;
  result_ = result;
  values_ = std::move(values);
}

RoundReduction::Reduce reduce_by(GradientExchange& exchange) {
  return [&exchange](Communicator& communicator, std::uint64_t round, std::span<const float> own,
                     std::span<float> result) {
    exchange.begin_step(communicator, round);
    bool accepted = true;
    for (std::size_t bucket = 0; bucket < exchange.buckets().size(); ++bucket) {
      if (!exchange.exchange(communicator, round, bucket, own, result)) accepted = false;
    }
    exchange.end_step(accepted);
    return accepted;
  };
}

}  // namespace laconic
