// Messages between the members of a group over their bulk connections while one operation lasts: from each
// member to each other one stream, in which every message has its tag (u32) and length (u64), little-endian,
// in front.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/transport/tcp/abort_token.h"
#include "engine/transport/tcp/ring_all_reduce.h"

namespace laconic {

class MessageSession : private LinkWatcher {
 public:
  static constexpr std::uint64_t longest_message = std::uint64_t{1} << 36;

  // Connections to all members are there; where one is not, exchanges with it fail. The token may be aborted
  // at any time: whoever waits then gets Error(io).
  MessageSession(PeerLinks& links, Ring ring, std::uint64_t tag, std::uint64_t sequence,
                 std::shared_ptr<AbortToken> token);
  ~MessageSession() override;  // messages that nobody took are gone

  // From any thread. Error(io) when the operation was aborted or the member is lost. send() returns at once;
  // receive() waits `timeout` seconds at most (0: for ever).
  void send(std::size_t to, std::uint32_t tag, Bytes message);
  Bytes receive(std::size_t from, std::uint32_t tag, double timeout);
  void abort(const std::string& reason);
  // Frames included.
  std::uint64_t sent_bytes() const { return sent_bytes_; }
  std::uint64_t received_bytes() const;

 private:
  class Inbox;
  void lost(const PeerId& peer, const std::string& reason) override;
  void arrived(std::size_t from, std::uint32_t tag, Bytes message);
  void lost_member(std::size_t member, const std::string& reason);
  unsigned connection() const { return static_cast<unsigned>(sequence_ % 64); }

  PeerLinks& links_;
  Ring ring_;
  std::uint64_t tag_, sequence_;
  std::shared_ptr<AbortToken> token_;
  std::vector<std::unique_ptr<Inbox>> inboxes_;
  std::atomic<std::uint64_t> sent_bytes_ = 0;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::pair<std::size_t, std::uint32_t>, std::deque<Bytes>> messages_;  // by sender and tag
  std::vector<std::string> lost_;                                                // why, by member
  bool aborted_ = false;
  std::string reason_;
};

}  // namespace laconic
