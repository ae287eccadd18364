#include "engine/transport/tcp/state_transfer.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <memory>
#include <thread>
#include <utility>

#include "engine/base/error.h"
#include "engine/transport/tcp/big_endian.h"

namespace laconic {
namespace {

constexpr std::uint16_t ask_packet = 1, refusal_packet = 2, chunk_packet = 3;
constexpr std::size_t chunk_bytes = std::size_t{1} << 20;
constexpr std::size_t longest_key = 1024;

Bytes text_bytes(std::string_view text) { return {as_byte_span(text).begin(), as_byte_span(text).end()}; }

// One range of one key that has still to come.
struct StateWork {
  std::size_t request = 0;
  std::uint64_t begin = 0, end = 0;
};

// What the threads of a fetch share.
struct StateFetch {
  std::mutex mutex;
  std::condition_variable changed;
  std::deque<StateWork> waiting;
  std::size_t running = 0;
  std::vector<std::uint64_t> missing;  // bytes of each key
  std::string abort_reason, last_fault;
  bool aborted = false;
  std::vector<std::size_t> lost;
  std::uint64_t received = 0;
};

void fetch_range(FramedLink& link, const StateRequest& request, std::uint64_t sync, const StateWork& work,
                 double timeout, StateFetch& fetch) {
  link.send(ask_packet, encode_state_request({sync, request.array.bytes.size(), work.begin, work.end,
                                              request.array.type, request.array.key}));
  std::uint64_t at = work.begin;
  while (at < work.end) {
    const auto packet = link.receive(timeout);
    if (!packet) fail(ErrorKind::io, fmt::format("sent nothing for {:.0f} seconds", timeout));
    {
      const std::lock_guard lock(fetch.mutex);
      fetch.received += packet->payload.size() + 10;
      if (fetch.aborted) return;
    }
    if (packet->id == refusal_packet)
      fail(ErrorKind::io, "refused: " + std::string(as_text(packet->payload)).substr(0, 300));
    const std::size_t size = std::min<std::uint64_t>(chunk_bytes, work.end - at);
    if (packet->id != chunk_packet || packet->payload.size() != size + sizeof(Hash128))
      fail(ErrorKind::corrupt, "sent something else than the next chunk");
    const ByteSpan bytes = ByteSpan(packet->payload).first(size);
    Hash128 hash;
    std::memcpy(hash.data(), packet->payload.data() + size, sizeof hash);
    if (xxh3_128(bytes) != hash) fail(ErrorKind::corrupt, "a chunk does not match its hash");
    std::memcpy(request.array.bytes.data() + at, bytes.data(), size);
    at += size;
  }
}

}  // namespace

Bytes encode_state_request(const StateRangeRequest& request) {
  Bytes bytes;
  for (const std::uint64_t value : {request.sync, request.size, request.begin, request.end})
    append_big_endian(bytes, value);
  append_big_endian(bytes, static_cast<std::uint8_t>(request.type));
  bytes.insert(bytes.end(), as_byte_span(request.key).begin(), as_byte_span(request.key).end());
  return bytes;
}

StateRangeRequest decode_state_request(ByteSpan bytes) {
  ByteReader reader(bytes, "request for a shared state");
  StateRangeRequest request;
  for (std::uint64_t* value : {&request.sync, &request.size, &request.begin, &request.end})
    *value = load_big_endian<std::uint64_t>(reader.take(8).data());
  const std::uint8_t type = reader.u8();
  if (type >= number_types) reader.corrupt("an unknown type");
  request.type = static_cast<NumberType>(type);
  if (request.begin >= request.end || request.end > request.size) reader.corrupt("a range outside its key");
  if (reader.remaining() == 0 || reader.remaining() > longest_key)
    reader.corrupt("a key of impossible length");
  request.key = as_text(reader.take(reader.remaining()));
  return request;
}

// --------------------------------------------------------------------------------------------- server
StateServer::StateServer(const Endpoint& listen, int ports, const LinkSettings& settings)
    : settings_(check_settings(settings, listen.address)),
      port_(listen, ports, [this](Socket socket) { serve(std::move(socket)); }) {}

void StateServer::begin_sync(std::uint64_t sync, std::vector<StateArray> arrays) {
  const std::lock_guard lock(mutex_);
  require(!open_, "one sync at a time");
  open_ = true;
  sync_ = sync;
  arrays_ = std::move(arrays);
}

void StateServer::end_sync() {
  {
    const std::lock_guard lock(mutex_);
    open_ = false;
  }
  port_.cut_all();
  const std::lock_guard lock(mutex_);
  arrays_.clear();
}

void StateServer::serve(Socket socket) {
  FramedLink link(std::move(socket), LinkPurpose::state, settings_);
  for (;;) {
    const auto packet = link.receive(-1);
    if (!packet || packet->id != ask_packet) return;
    answer(link, packet->payload);
  }
}

void StateServer::answer(FramedLink& link, ByteSpan bytes) {
  const auto refuse = [&](const std::string& reason) { link.send(refusal_packet, text_bytes(reason)); };
  StateRangeRequest request;
  try {
    request = decode_state_request(bytes);
  } catch (const Error& error) {
    return refuse(error.what());
  }
  ByteSpan content;
  {
    const std::lock_guard lock(mutex_);
    if (!open_) return refuse("no sync of shared state is on");
    if (request.sync != sync_) return refuse(fmt::format("sync {} is on, not {}", sync_, request.sync));
    const auto found = std::find_if(arrays_.begin(), arrays_.end(),
                                    [&](const StateArray& a) { return a.key == request.key; });
    if (found == arrays_.end()) return refuse("there is no such key: " + request.key);
    if (found->bytes.size() != request.size || found->type != request.type)
      return refuse("has another size or type here: " + request.key);
    content = found->bytes;
  }
  // end_sync() joins this thread before the arrays may change.
  for (std::uint64_t at = request.begin; at < request.end; at += chunk_bytes) {
    const std::size_t size = std::min<std::uint64_t>(chunk_bytes, request.end - at);
    const ByteSpan piece = content.subspan(static_cast<std::size_t>(at), size);
    const Hash128 hash = xxh3_128(piece);
    Bytes payload(piece.begin(), piece.end());
    payload.insert(payload.end(), std::as_bytes(std::span(hash)).begin(),
                   std::as_bytes(std::span(hash)).end());
    // Counted before: who receives the last chunk may end the sync before this thread goes on.
    sent_bytes_ += payload.size() + 10;
    link.send(chunk_packet, payload);
  }
}

// ---------------------------------------------------------------------------------------------- fetch
StateTraffic fetch_state(std::span<const Endpoint> holders, std::uint64_t sync,
                         std::span<StateRequest> requests, const LinkSettings& settings,
                         const StateFetchOptions& options, AbortToken& token,
                         const std::function<void(std::size_t, const std::string&)>& holder_lost) {
  require(!holders.empty() && options.stripe_bytes > 0, "a state is fetched from somebody");
  StateFetch fetch;
  std::vector<Bytes> backups;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const std::span<std::byte> bytes = requests[i].array.bytes;
    backups.emplace_back(bytes.begin(), bytes.end());
    fetch.missing.push_back(bytes.size());
    for (std::uint64_t at = 0; at < bytes.size(); at += options.stripe_bytes)
      fetch.waiting.push_back({i, at, std::min<std::uint64_t>(bytes.size(), at + options.stripe_bytes)});
  }
  std::vector<std::unique_ptr<FramedLink>> links(holders.size());
  token.listen([&](const std::string& reason) {
    const std::lock_guard lock(fetch.mutex);
    fetch.aborted = true;
    fetch.abort_reason = reason;
    for (const auto& link : links) {
      if (link != nullptr) link->close();
    }
    fetch.changed.notify_all();
  });
  const auto work_with = [&](std::size_t holder) {
    StateWork work;
    bool has_work = false;
    try {
      auto link =
          std::make_unique<FramedLink>(holders[holder], LinkPurpose::state, settings, options.timeout);
      FramedLink& used = *link;
      {
        const std::lock_guard lock(fetch.mutex);
        links[holder] = std::move(link);
      }
      for (;;) {
        {
          std::unique_lock lock(fetch.mutex);
          // A range that another holder has begun may come back.
          fetch.changed.wait(lock,
                             [&] { return fetch.aborted || !fetch.waiting.empty() || fetch.running == 0; });
          if (fetch.aborted || fetch.waiting.empty()) return;
          work = fetch.waiting.front();
          fetch.waiting.pop_front();
          ++fetch.running;
          has_work = true;
        }
        fetch_range(used, requests[work.request], sync, work, options.timeout, fetch);
        const std::lock_guard lock(fetch.mutex);
        has_work = false;
        --fetch.running;
        if (fetch.aborted) return;
        fetch.missing[work.request] -= work.end - work.begin;
        fetch.changed.notify_all();
      }
    } catch (const Error& error) {
      const std::lock_guard lock(fetch.mutex);
      if (has_work) {
        fetch.waiting.push_back(work);
        --fetch.running;
      }
      fetch.changed.notify_all();
      if (fetch.aborted) return;
      fetch.last_fault = to_text(holders[holder]) + ": " + error.what();
      fetch.lost.push_back(holder);
      if (holder_lost) holder_lost(holder, error.what());
    }
  };
  std::vector<std::thread> threads;
  for (std::size_t holder = 0; holder < holders.size(); ++holder)
    threads.emplace_back([&work_with, holder] { work_with(holder); });
  for (std::thread& thread : threads) thread.join();
  token.listen(nullptr);

  std::string mismatch;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const StateRequest& request = requests[i];
    const bool whole = fetch.missing[i] == 0;
    if (whole && content_hash(request.hash_kind, request.array.type, request.array.bytes) == request.hash)
      continue;
    if (whole && mismatch.empty()) mismatch = request.array.key;
    std::copy(backups[i].begin(), backups[i].end(), request.array.bytes.begin());
  }
  if (fetch.aborted) fail(ErrorKind::interrupted, "the transfer was aborted: " + fetch.abort_reason);
  if (!mismatch.empty()) {
    fail(ErrorKind::corrupt, "what came is not what was agreed on", "shared state " + mismatch,
         "does a holder change it while it is synchronised?");
  }
  if (std::any_of(fetch.missing.begin(), fetch.missing.end(), [](std::uint64_t bytes) { return bytes > 0; }))
    fail(ErrorKind::io, "no holder is left: " + fetch.last_fault, "shared state");
  return {fetch.received, fetch.lost};
}

}  // namespace laconic
