#include "engine/transport/tcp/ring_all_reduce.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "engine/base/error.h"

namespace laconic {
namespace {

// Large enough for few calls of the kernel, small enough to stay in the second cache until it is folded.
constexpr std::size_t piece_bytes = std::size_t{128} << 10;
constexpr std::size_t least_stripe_bytes = std::size_t{64} << 10;  // of a chunk

}  // namespace

std::vector<std::size_t> chunk_bounds(std::size_t count, std::size_t members) {
  std::vector<std::size_t> bounds = {0};
  for (std::size_t chunk = 0; chunk < members; ++chunk)
    bounds.push_back(bounds.back() + count / members + (chunk < count % members ? 1 : 0));
  return bounds;
}

// One stream from the predecessor: partial sums of P - 1 chunks, then P - 1 results.
class AllReduce::RingStripe : public StreamSink {
 public:
  RingStripe(AllReduce& operation, std::size_t stripe) : op_(operation), stripe_(stripe) {
    const std::size_t members = op_.ring_.members.size(), position = op_.ring_.position;
    const auto add = [&](std::size_t chunk, bool reduces, bool last) {
      const Range range = op_.stripe_range(chunk, stripe_);
      if (range.size() > 0) legs_.push_back({range, reduces, last, chunk == position});
    };
    for (std::size_t step = 0; step + 1 < members; ++step)
      add((position + 2 * members - step - 1) % members, true, step + 2 == members);
    for (std::size_t step = 0; step + 1 < members; ++step)
      add((position + members - step) % members, false, step + 2 == members);
    scratch_ = op_.links_.buffers().take(std::max(op_.form_.partial_bytes(op_.piece_), std::size_t{4096}));
    begin_leg();
  }

  bool empty() const { return legs_.empty(); }

  std::span<std::byte> space() override {
    if (leg_ == legs_.size()) return {};
    if (op_.failed()) return {scratch_.get(), 4096};
    const Leg& leg = legs_[leg_];
    if (leg.reduces) return {scratch_.get() + filled_, op_.form_.partial_bytes(piece()) - filled_};
    if (op_.form_.result_is_plain()) {
      // Up to the end of the leg, in place.
      const std::size_t bytes = (leg.range.end - at_) * op_.form_.element_bytes();
      return {op_.result(at_) + filled_, bytes - filled_};
    }
    if (passing_ == nullptr) passing_ = op_.links_.buffers().take(op_.form_.result_bytes(piece()));
    return {passing_.get() + filled_, op_.form_.result_bytes(piece()) - filled_};
  }

  void arrived(std::size_t bytes) override {
    if (op_.failed()) return;
    try {
      filled_ += bytes;
      while (leg_ < legs_.size()) {
        const Leg leg = legs_[leg_];
        const std::size_t count = piece();
        const std::size_t wanted =
            leg.reduces ? op_.form_.partial_bytes(count) : op_.form_.result_bytes(count);
        if (filled_ < wanted) return;
        leg.reduces ? fold_piece(leg, count) : pass_piece(leg, count);
        filled_ -= wanted;
        at_ += count;
        if (at_ == leg.range.end) {
          ++leg_;
          begin_leg();
        }
      }
    } catch (...) {
      op_.fail_with(std::current_exception());
      return;
    }
    op_.stripe_done();
  }

 private:
  struct Leg {
    Range range;
    bool reduces, last, first_own;
  };

  std::size_t piece() const { return std::min(op_.piece_, legs_[leg_].range.end - at_); }
  std::size_t successor() const { return (op_.ring_.position + 1) % op_.ring_.members.size(); }

  void begin_leg() {
    if (leg_ == legs_.size()) return;
    at_ = legs_[leg_].range.begin;
    // Results overwrite: all but what was saved when it was folded in place.
    const Leg& leg = legs_[leg_];
    if (!leg.reduces && (leg.first_own || !op_.form_.partial_is_plain())) op_.save(leg.range);
  }

  void fold_piece(const Leg& leg, std::size_t count) {
    const ReductionForm& form = op_.form_;
    const std::byte* own = op_.own(at_);
    const std::size_t bytes = count * form.element_bytes();
    if (leg.last) {
      op_.save({at_, at_ + count});
      const std::byte* parts[] = {scratch_.get(), nullptr};
      std::shared_ptr<std::byte[]> wire;
      if (!form.result_is_plain()) wire = op_.links_.buffers().take(form.result_bytes(count));
      form.finish(parts, own, at_, count, op_.result(at_), wire.get());
      if (wire == nullptr) return op_.post(successor(), stripe_, {op_.result(at_), bytes}, nullptr);
      return op_.post(successor(), stripe_, {wire.get(), form.result_bytes(count)}, wire);
    }
    if (form.partial_is_plain()) {
      op_.save({at_, at_ + count});
      form.fold(scratch_.get(), own, at_, count, op_.result(at_));
      return op_.post(successor(), stripe_, {op_.result(at_), bytes}, nullptr);
    }
    const std::shared_ptr<std::byte[]> next = op_.links_.buffers().take(form.partial_bytes(count));
    form.fold(scratch_.get(), own, at_, count, next.get());
    op_.post(successor(), stripe_, {next.get(), form.partial_bytes(count)}, next);
  }

  void pass_piece(const Leg& leg, std::size_t count) {
    const ReductionForm& form = op_.form_;
    if (form.result_is_plain()) {
      if (!leg.last) op_.post(successor(), stripe_, {op_.result(at_), count * form.element_bytes()}, nullptr);
      return;
    }
    const std::shared_ptr<std::byte[]> wire = std::exchange(passing_, nullptr);
    if (!leg.last) op_.post(successor(), stripe_, {wire.get(), form.result_bytes(count)}, wire);
    form.take_result(wire.get(), count, op_.result(at_));
  }

  AllReduce& op_;
  std::size_t stripe_;
  std::vector<Leg> legs_;
  std::size_t leg_ = 0, at_ = 0, filled_ = 0;
  std::shared_ptr<std::byte[]> scratch_, passing_;
};

// This member's chunk in the direct exchange: contributions come from all others, each on its own thread.
class AllReduce::DirectOwner {
 public:
  DirectOwner(AllReduce& operation, std::size_t stripe)
      : op_(operation), stripe_(stripe), range_(operation.stripe_range(operation.ring_.position, stripe)) {
    const std::size_t members = op_.ring_.members.size();
    contributions_.resize(members);
    arrived_.resize(members);
    for (std::size_t member = 0; member < members; ++member) {
      if (member != op_.ring_.position && range_.size() > 0)
        contributions_[member] = op_.links_.buffers().take(op_.form_.partial_bytes(range_.size()));
    }
  }

  std::size_t bytes() const { return op_.form_.partial_bytes(range_.size()); }
  std::byte* contribution(std::size_t member) const { return contributions_[member].get(); }

  // So much of a member's contribution has arrived in all.
  void advance(std::size_t member, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    arrived_[member] = bytes;
    const ReductionForm& form = op_.form_;
    while (done_ < range_.size()) {
      const std::size_t count = std::min(op_.piece_, range_.size() - done_);
      const std::size_t skip = form.partial_bytes(done_), wanted = skip + form.partial_bytes(count);
      std::vector<const std::byte*> parts;
      for (std::size_t i = 0; i < arrived_.size(); ++i) {
        if (i != op_.ring_.position && arrived_[i] < wanted) return;
        parts.push_back(i == op_.ring_.position ? nullptr : contributions_[i].get() + skip);
      }
      const std::size_t at = range_.begin + done_;
      op_.save({at, at + count});
      std::shared_ptr<std::byte[]> wire;
      if (!form.result_is_plain()) wire = op_.links_.buffers().take(form.result_bytes(count));
      form.finish(parts, op_.own(at), at, count, op_.result(at), wire.get());
      const ByteSpan payload = wire == nullptr ? ByteSpan(op_.result(at), count * form.element_bytes())
                                               : ByteSpan(wire.get(), form.result_bytes(count));
      for (std::size_t i = 1; i < arrived_.size(); ++i)
        op_.post((op_.ring_.position + i) % arrived_.size(), stripe_, payload, wire);
      done_ += count;
    }
  }

 private:
  AllReduce& op_;
  std::size_t stripe_;
  Range range_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<std::byte[]>> contributions_;
  std::vector<std::size_t> arrived_;
  std::size_t done_ = 0;  // elements
};

// One stream from another member: its contribution to this member's chunk, then the result of its own chunk.
class AllReduce::DirectStripe : public StreamSink {
 public:
  DirectStripe(AllReduce& operation, DirectOwner& owner, std::size_t member, std::size_t stripe)
      : op_(operation), owner_(owner), member_(member), range_(operation.stripe_range(member, stripe)) {
    at_ = range_.begin;
    discarded_ = op_.links_.buffers().take(4096);
  }

  bool empty() const { return owner_.bytes() == 0 && range_.size() == 0; }

  std::span<std::byte> space() override {
    if (contributed_ == owner_.bytes() && at_ == range_.end) return {};
    if (op_.failed()) return {discarded_.get(), 4096};
    if (contributed_ < owner_.bytes())
      return {owner_.contribution(member_) + contributed_, owner_.bytes() - contributed_};
    const std::size_t count = std::min(op_.piece_, range_.end - at_);
    if (op_.form_.result_is_plain()) {
      if (at_ == range_.begin && filled_ == 0) op_.save(range_);
      return {op_.result(at_) + filled_, (range_.end - at_) * op_.form_.element_bytes() - filled_};
    }
    if (wire_ == nullptr) wire_ = op_.links_.buffers().take(op_.form_.result_bytes(op_.piece_));
    return {wire_.get() + filled_, op_.form_.result_bytes(count) - filled_};
  }

  void arrived(std::size_t bytes) override {
    if (op_.failed()) return;
    try {
      if (contributed_ < owner_.bytes()) {
        contributed_ += bytes;
        owner_.advance(member_, contributed_);
      } else {
        filled_ += bytes;
        while (at_ < range_.end) {
          const std::size_t count = std::min(op_.piece_, range_.end - at_);
          const std::size_t wanted = op_.form_.result_bytes(count);
          if (filled_ < wanted) return;
          if (!op_.form_.result_is_plain()) {
            op_.save({at_, at_ + count});
            op_.form_.take_result(wire_.get(), count, op_.result(at_));
          }
          filled_ -= wanted;
          at_ += count;
        }
      }
      if (contributed_ == owner_.bytes() && at_ == range_.end) op_.stripe_done();
    } catch (...) {
      op_.fail_with(std::current_exception());
    }
  }

 private:
  AllReduce& op_;
  DirectOwner& owner_;
  std::size_t member_;
  Range range_;
  std::size_t contributed_ = 0, at_ = 0, filled_ = 0;
  std::shared_ptr<std::byte[]> wire_, discarded_;
};

AllReduce::AllReduce(PeerLinks& links, Ring ring, const AllReduceRequest& request)
    : links_(links),
      ring_(std::move(ring)),
      request_(request),
      form_(request.type, request.op, request.quantization, ring_.members.size(),
            RandomStream(request.quantization.seed, "all-reduce", std::to_string(request.tag),
                         request.sequence, static_cast<std::uint16_t>(ring_.position))),
      source_(static_cast<const std::byte*>(request.source)),
      destination_(static_cast<std::byte*>(request.destination)) {
  require(!ring_.members.empty() && ring_.position < ring_.members.size(), "a member of the ring reduces");
  if (request.count == 0) fail(ErrorKind::usage, "there is nothing to reduce: the count is 0");
  if (source_ == nullptr || destination_ == nullptr)
    fail(ErrorKind::usage, "a buffer of a reduction is null");
  if (static_cast<int>(request.type) >= number_types || static_cast<int>(request.op) >= reduce_ops)
    fail(ErrorKind::usage, "an unknown type or operation of a reduction");
  const std::size_t bytes = request.count * form_.element_bytes();
  if (source_ != destination_ && source_ < destination_ + bytes && destination_ < source_ + bytes)
    fail(ErrorKind::usage, "source and destination of a reduction overlap", {},
         "give the same buffer twice, or two");
  if (request.stripes < 1 || request.stripes > 64)
    fail(ErrorKind::usage, "an operation uses 1 to 64 connections");
  bounds_ = chunk_bounds(request.count, ring_.members.size());
  const std::size_t chunk = form_.partial_bytes(bounds_[1]);
  stripes_ =
      std::clamp<std::size_t>(chunk / least_stripe_bytes, 1, static_cast<std::size_t>(request.stripes));
  const std::size_t grain_bytes = form_.partial_bytes(form_.grain());
  piece_ = std::max<std::size_t>(1, piece_bytes / grain_bytes) * form_.grain();
}

AllReduce::~AllReduce() { links_.end(request_.tag, request_.sequence); }

AllReduce::Range AllReduce::stripe_range(std::size_t chunk, std::size_t stripe) const {
  const std::size_t begin = bounds_[chunk], size = bounds_[chunk + 1] - begin;
  const std::size_t grains = (size + form_.grain() - 1) / form_.grain();
  const auto place = [&](std::size_t i) {
    return begin + std::min(size, i * grains / stripes_ * form_.grain());
  };
  return {place(stripe), place(stripe + 1)};
}

StreamName AllReduce::stream(std::size_t stripe) const {
  return {request_.tag, request_.sequence, static_cast<std::uint8_t>(stripe)};
}

unsigned AllReduce::connection(std::size_t stripe) const {
  return static_cast<unsigned>((request_.sequence + stripe) % (std::uint64_t{1} << 31));
}

void AllReduce::save(const Range& range) {
  if (backup_ == nullptr || range.size() == 0) return;
  const std::size_t skip = range.begin * form_.element_bytes(), bytes = range.size() * form_.element_bytes();
  std::memcpy(backup_.get() + skip, source_ + skip, bytes);
  const std::lock_guard lock(mutex_);
  if (!saved_.empty() && saved_.back().end == range.begin) {
    saved_.back().end = range.end;
  } else {
    saved_.push_back(range);
  }
}

void AllReduce::undo() {
  if (backup_ == nullptr) return;
  for (const Range& range : saved_) {
    const std::size_t skip = range.begin * form_.element_bytes();
    std::memcpy(destination_ + skip, backup_.get() + skip, range.size() * form_.element_bytes());
  }
  saved_.clear();
}

void AllReduce::post(std::size_t member, std::size_t stripe, ByteSpan payload,
                     std::shared_ptr<const std::byte[]> owner) {
  {
    const std::lock_guard lock(mutex_);
    ++leaving_;
  }
  try {
    sent_bytes_ += links_.send(ring_.members[member], connection(stripe), stream(stripe), payload,
                               std::move(owner), this);
  } catch (...) {
    left();
    throw;
  }
}

void AllReduce::send_own(std::size_t member, std::size_t stripe, const Range& range) {
  for (std::size_t at = range.begin; at < range.end && !failed(); at += piece_) {
    const std::size_t count = std::min(piece_, range.end - at);
    if (form_.partial_is_plain()) {
      post(member, stripe, {own(at), count * form_.element_bytes()}, nullptr);
      continue;
    }
    const std::shared_ptr<std::byte[]> wire = links_.buffers().take(form_.partial_bytes(count));
    form_.begin(own(at), at, count, wire.get());
    post(member, stripe, {wire.get(), form_.partial_bytes(count)}, wire);
  }
}

void AllReduce::left() {
  const std::lock_guard lock(mutex_);
  if (--leaving_ == 0) changed_.notify_all();
}

void AllReduce::stripe_done() {
  const std::lock_guard lock(mutex_);
  if (--unfinished_ == 0) changed_.notify_all();
}

void AllReduce::fail_with(std::exception_ptr fault) {
  const std::lock_guard lock(mutex_);
  if (fault_ == nullptr) fault_ = fault;
  failed_ = true;
  changed_.notify_all();
}

void AllReduce::lost(const PeerId& peer, const std::string& reason) {
  const std::size_t members = ring_.members.size(), position = ring_.position;
  const bool direct = request_.algorithm == AllReduceAlgorithm::direct;
  const bool concerned =
      direct ? std::find(ring_.members.begin(), ring_.members.end(), peer) != ring_.members.end()
             : peer == ring_.members[(position + 1) % members] ||
                   peer == ring_.members[(position + members - 1) % members];
  if (!concerned) return;
  fail_with(std::make_exception_ptr(
      Error(ErrorKind::io, reason,
            fmt::format("peer {:02x}{:02x}{:02x}{:02x}", peer[0], peer[1], peer[2], peer[3]))));
}

AllReduceTraffic AllReduce::run(AbortToken& token) {
  const std::size_t members = ring_.members.size(), position = ring_.position;
  const std::size_t bytes = request_.count * form_.element_bytes();
  if (members == 1) {
    if (source_ != destination_) std::memcpy(destination_, source_, bytes);
    return {};
  }
  if (source_ == destination_) backup_ = links_.buffers().take(bytes);
  links_.watch(*this);
  token.listen([this](const std::string& reason) {
    fail_with(std::make_exception_ptr(Error(ErrorKind::interrupted, "the operation was aborted: " + reason)));
  });
  try {
    std::vector<std::pair<std::size_t, std::size_t>> places;  // member, stripe of each sink
    for (std::size_t stripe = 0; stripe < stripes_; ++stripe) {
      if (request_.algorithm == AllReduceAlgorithm::ring) {
        auto sink = std::make_unique<RingStripe>(*this, stripe);
        if (sink->empty()) continue;
        sinks_.push_back(std::move(sink));
        places.emplace_back((position + members - 1) % members, stripe);
        continue;
      }
      owners_.push_back(std::make_unique<DirectOwner>(*this, stripe));
      for (std::size_t step = 1; step < members; ++step) {
        const std::size_t member = (position + step) % members;
        auto sink = std::make_unique<DirectStripe>(*this, *owners_.back(), member, stripe);
        if (sink->empty()) continue;
        sinks_.push_back(std::move(sink));
        places.emplace_back(member, stripe);
      }
    }
    unfinished_ = sinks_.size();
    // A stream begins with this member's own numbers, and what arrives is sent on at once: in this order.
    for (std::size_t stripe = 0; stripe < stripes_; ++stripe) {
      if (request_.algorithm == AllReduceAlgorithm::ring) {
        send_own((position + 1) % members, stripe, stripe_range(position, stripe));
      } else {
        for (std::size_t step = 1; step < members; ++step)
          send_own((position + step) % members, stripe, stripe_range((position + step) % members, stripe));
      }
      for (std::size_t i = 0; i < sinks_.size(); ++i) {
        if (places[i].second == stripe)
          links_.expect(ring_.members[places[i].first], connection(stripe), stream(stripe), *sinks_[i]);
      }
    }
  } catch (...) {
    fail_with(std::current_exception());
  }
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return failed_ || (unfinished_ == 0 && leaving_ == 0); });
  }
  token.listen(nullptr);
  links_.unwatch(*this);
  links_.end(request_.tag, request_.sequence);
  AllReduceTraffic traffic;
  traffic.sent_bytes = sent_bytes_;
  for (const auto& sink : sinks_) traffic.received_bytes += sink->wire_bytes;
  // The destination is settled now; what failed is not written to any more.
  if (fault_ != nullptr) {
    undo();
    std::rethrow_exception(fault_);
  }
  return traffic;
}

}  // namespace laconic
