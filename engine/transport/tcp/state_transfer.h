// Moving a shared state (named arrays) from the peers that hold it to one that does not: one-shot links of
// purpose `state`, on which keys are asked for and their bytes come straight into the receiver's memory.
//
// A request names a sync, a key and a range of its bytes; the answer is a status, and, for good ones, the
// bytes of the range in chunks of 1 MiB, each with its XXH3-128. Large keys are striped: every holder is
// asked for other ranges, the next range going to whoever is done first. A holder that dies or sends what
// does not match is left out and its ranges go to the others. When all bytes of a key are there, its content
// hash must be the one that was agreed on; else the key's memory is what it was before.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "engine/transport/tcp/abort_token.h"
#include "engine/transport/tcp/content_hash.h"
#include "engine/transport/tcp/framed_link.h"
#include "engine/transport/tcp/visited_port.h"

namespace laconic {

struct StateArray {
  std::string key;
  NumberType type = NumberType::f32;
  std::span<std::byte> bytes;  // the server only reads them
};

// Serves the arrays of this peer while a sync is on, and refuses otherwise.
class StateServer {
 public:
  // Listens from now on. Error(io).
  StateServer(const Endpoint& listen, int ports, const LinkSettings& settings);

  std::uint16_t port() const { return port_.port(); }
  // From now on the arrays are served to whoever names the same sync. They stay as they are until end_sync(),
  // which waits until nobody reads them any more (connections in the middle are cut).
  void begin_sync(std::uint64_t sync, std::vector<StateArray> arrays);
  void end_sync();

  std::uint64_t sent_bytes() const { return sent_bytes_; }  // of all syncs, frames included

 private:
  void serve(Socket socket);
  void answer(FramedLink& link, ByteSpan request);

  LinkSettings settings_;
  std::atomic<std::uint64_t> sent_bytes_ = 0;
  std::mutex mutex_;  // of all below
  bool open_ = false;
  std::uint64_t sync_ = 0;
  std::vector<StateArray> arrays_;
  VisitedPort port_;  // the last: its visitors need the rest
};

struct StateRequest {
  StateArray array;  // where the bytes go; its size and type must be the holders'
  ContentHashKind hash_kind = ContentHashKind::xxh3_128;
  Hash128 hash{};  // agreed on
};

struct StateTraffic {
  std::uint64_t received_bytes = 0;  // frames included
  std::vector<std::size_t> lost;     // holders that were of no use, by index
};

struct StateFetchOptions {
  double timeout = 10;                               // seconds in which a holder sends nothing
  std::size_t stripe_bytes = std::size_t{16} << 20;  // of one request
};

// Fetches all requested keys from `holders` (at least one). Error(io) when no holder is left, Error(corrupt)
// when the content is not what was agreed on, Error(interrupted) when aborted; keys that were not complete
// then are as they were before. `holder_lost` hears of holders that failed, as it happens.
StateTraffic fetch_state(
    std::span<const Endpoint> holders, std::uint64_t sync, std::span<StateRequest> requests,
    const LinkSettings& settings, const StateFetchOptions& options, AbortToken& token,
    const std::function<void(std::size_t holder, const std::string& reason)>& holder_lost = {});

// What a request for a range of a key says; Error(corrupt) for bytes that say no such thing.
struct StateRangeRequest {
  std::uint64_t sync = 0, size = 0;  // of the whole key
  std::uint64_t begin = 0, end = 0;
  NumberType type = NumberType::f32;
  std::string key;
};
Bytes encode_state_request(const StateRangeRequest& request);
StateRangeRequest decode_state_request(ByteSpan bytes);

}  // namespace laconic
