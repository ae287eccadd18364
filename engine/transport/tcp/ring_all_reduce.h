// All-reduce between peers over their bulk connections, with the same bits at every member (Prime Collective
// Communications Library, arXiv 2505.14065: ring reduce-scatter, then ring all-gather).
//
// E numbers are cut into P chunks, chunk c of floor(E/P) + (c < E mod P). Member r of the ring ends the
// reduce-scatter with chunk (r + 1) mod P, folded in the order of members c, c+1, .., c-1; then chunks go
// around once more, unchanged. Work is done in pieces: what has arrived is folded and sent on at once, so all
// links of the ring are busy from the first piece on. A vector is striped over several connections, each of
// which carries the ring of its own part of every chunk; the order of folding does not depend on it.
//
// `direct` sends each contribution straight to the owner of its chunk (chunk c belongs to member c), who
// folds them in the order of members and sends the result to all. It needs connections between all pairs, and
// where numbers are quantised it rounds twice, not P times.
//
// Averages are divided once, by the owner of a chunk, before the result goes around; the published library
// divides everywhere afterwards, which gives the same bits where numbers are not quantised. Sums of f16 and
// bf16 travel as f32 until they are complete, which costs 3 (P - 1) / P of the vector in place of 2 (P - 1) /
// P.
//
// Nothing here knows of a master: it runs until it is done, a neighbour is lost, or the token is aborted.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/transport/tcp/abort_token.h"
#include "engine/transport/tcp/peer_links.h"
#include "engine/transport/tcp/reduction_form.h"

namespace laconic {

struct Ring {
  std::vector<PeerId> members;  // each sends to the next one, the last to the first
  std::size_t position = 0;     // of this peer
};

enum class AllReduceAlgorithm : std::uint8_t { ring, direct };

struct AllReduceRequest {
  NumberType type = NumberType::f32;
  ReduceOp op = ReduceOp::sum;
  const void* source = nullptr;
  void* destination = nullptr;  // the source itself, or memory that does not overlap it
  std::size_t count = 0;
  std::uint64_t tag = 0, sequence = 0;  // no two operations share a sequence number
  Quantization quantization;
  AllReduceAlgorithm algorithm = AllReduceAlgorithm::ring;
  // Connections that one operation uses at most; 1: connection `sequence mod pool`. Equal at all members.
  int stripes = 1;
};

struct AllReduceTraffic {
  std::uint64_t sent_bytes = 0, received_bytes = 0;  // frames included
};

// The chunk bounds: P + 1 of them.
std::vector<std::size_t> chunk_bounds(std::size_t count, std::size_t members);

class AllReduce : private LinkWatcher, private SendProgress {
 public:
  // Refuses what no member should start: Error(usage).
  AllReduce(PeerLinks& links, Ring ring, const AllReduceRequest& request);
  ~AllReduce() override;
  AllReduce(const AllReduce&) = delete;
  AllReduce& operator=(const AllReduce&) = delete;

  // Once. Throws Error(io) when a member is lost, Error(interrupted) when the token was aborted, Error(input)
  // for numbers that cannot be quantised. Then, and when others fail later, undo() brings an in-place source
  // back; a destination of its own is unspecified.
  AllReduceTraffic run(AbortToken& token);
  void undo();

 private:
  class RingStripe;
  class DirectStripe;
  class DirectOwner;
  struct Range {
    std::size_t begin = 0, end = 0;
    std::size_t size() const { return end - begin; }
  };

  void lost(const PeerId& peer, const std::string& reason) override;
  void left() override;
  void fail_with(std::exception_ptr fault);
  void stripe_done();
  void post(std::size_t member, std::size_t stripe, ByteSpan payload,
            std::shared_ptr<const std::byte[]> owner);
  void send_own(std::size_t member, std::size_t stripe, const Range& range);
  void save(const Range& range);
  Range stripe_range(std::size_t chunk, std::size_t stripe) const;
  StreamName stream(std::size_t stripe) const;
  unsigned connection(std::size_t stripe) const;
  const std::byte* own(std::size_t element) const { return source_ + element * form_.element_bytes(); }
  std::byte* result(std::size_t element) const { return destination_ + element * form_.element_bytes(); }
  bool failed() const { return failed_; }

  PeerLinks& links_;
  Ring ring_;
  AllReduceRequest request_;
  ReductionForm form_;
  const std::byte* source_;
  std::byte* destination_;
  std::vector<std::size_t> bounds_;
  std::size_t stripes_ = 1, piece_ = 0;  // elements of a piece
  std::shared_ptr<std::byte[]> backup_;
  std::vector<std::unique_ptr<DirectOwner>> owners_;
  std::vector<std::unique_ptr<StreamSink>> sinks_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t unfinished_ = 0;  // sinks
  std::size_t leaving_ = 0;     // frames
  std::exception_ptr fault_;
  std::atomic<bool> failed_ = false;
  std::vector<Range> saved_;
  std::atomic<std::uint64_t> sent_bytes_ = 0;
};

}  // namespace laconic
