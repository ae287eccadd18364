#include "engine/transport/tcp/message_session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/base/error.h"
#include "engine/transport/tcp/control_packets.h"

namespace laconic {
namespace {
constexpr std::size_t message_head = 12;
constexpr std::size_t first_room = std::size_t{4}
                                   << 20;  // memory follows what arrives, not what is announced
}  // namespace

// The stream of one member, cut into messages.
class MessageSession::Inbox : public StreamSink {
 public:
  Inbox(MessageSession& session, std::size_t from) : session_(session), from_(from) {}

  std::span<std::byte> space() override {
    if (broken_) return {};
    if (in_head_) return std::span(head_).subspan(filled_);
    if (filled_ == message_.size())
      message_.resize(std::min<std::uint64_t>(length_, std::max(first_room, 2 * message_.size())));
    return std::span(message_).subspan(filled_);
  }

  void arrived(std::size_t bytes) override {
    filled_ += bytes;
    if (in_head_) {
      if (filled_ < message_head) return;
      std::memcpy(&tag_, head_.data(), sizeof tag_);
      std::memcpy(&length_, head_.data() + sizeof tag_, sizeof length_);
      in_head_ = false;
      filled_ = 0;
      message_ = {};
      if (length_ > longest_message) {
        broken_ = true;
        return session_.lost_member(from_, "sent a message of impossible length");
      }
    }
    if (filled_ < length_) return;
    in_head_ = true;
    filled_ = 0;
    session_.arrived(from_, tag_, std::move(message_));
    message_ = {};
  }

 private:
  MessageSession& session_;
  std::size_t from_;
  std::array<std::byte, message_head> head_;
  std::size_t filled_ = 0;
  bool in_head_ = true, broken_ = false;
  std::uint32_t tag_ = 0;
  std::uint64_t length_ = 0;
  Bytes message_;
};

MessageSession::MessageSession(PeerLinks& links, Ring ring, std::uint64_t tag, std::uint64_t sequence,
                               std::shared_ptr<AbortToken> token)
    : links_(links),
      ring_(std::move(ring)),
      tag_(tag),
      sequence_(sequence),
      token_(std::move(token)),
      lost_(ring_.members.size()) {
  links_.watch(*this);
  for (std::size_t member = 0; member < ring_.members.size(); ++member) {
    inboxes_.push_back(std::make_unique<Inbox>(*this, member));
    if (member == ring_.position) continue;
    try {
      links_.expect(ring_.members[member], connection(), {tag_, sequence_, 0}, *inboxes_.back());
    } catch (const Error& error) {
      lost_member(member, error.what());
    }
  }
  token_->listen([this](const std::string& reason) { abort(reason); });
}

MessageSession::~MessageSession() {
  token_->listen(nullptr);
  links_.unwatch(*this);
  links_.end(tag_, sequence_);
}

void MessageSession::abort(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (std::exchange(aborted_, true)) return;
  reason_ = reason;
  changed_.notify_all();
}

void MessageSession::lost_member(std::size_t member, const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (lost_[member].empty()) lost_[member] = reason.empty() ? "is lost" : reason;
  changed_.notify_all();
}

void MessageSession::lost(const PeerId& peer, const std::string& reason) {
  const auto found = std::find(ring_.members.begin(), ring_.members.end(), peer);
  if (found != ring_.members.end())
    lost_member(static_cast<std::size_t>(found - ring_.members.begin()), reason);
}

void MessageSession::arrived(std::size_t from, std::uint32_t tag, Bytes message) {
  const std::lock_guard lock(mutex_);
  messages_[{from, tag}].push_back(std::move(message));
  changed_.notify_all();
}

namespace {
[[noreturn]] void lose_member(const PeerId& peer, const std::string& reason) {
  fail(ErrorKind::io, reason, fmt::format("member {}", control::name_of(peer)));
}
[[noreturn]] void lose_operation(const std::string& reason) {
  fail(ErrorKind::io, "the operation was stopped: " + reason, "collective run");
}
}  // namespace

void MessageSession::send(std::size_t to, std::uint32_t tag, Bytes message) {
  {
    const std::lock_guard lock(mutex_);
    if (aborted_) lose_operation(reason_);
    if (to == ring_.position) {
      messages_[{to, tag}].push_back(std::move(message));
      changed_.notify_all();
      return;
    }
    if (!lost_[to].empty()) lose_member(ring_.members[to], lost_[to]);
  }
  require(message.size() <= longest_message, "a message has a length that can be told");
  // Small messages leave in one frame.
  constexpr std::size_t small = std::size_t{64} << 10, largest_frame = std::size_t{1} << 29;
  const std::uint64_t length = message.size();
  const std::size_t joined = message.size() <= small ? message.size() : 0;
  const std::shared_ptr<std::byte[]> head(new std::byte[message_head + joined]);
  std::memcpy(head.get(), &tag, sizeof tag);
  std::memcpy(head.get() + sizeof tag, &length, sizeof length);
  if (joined > 0) std::memcpy(head.get() + message_head, message.data(), joined);
  const StreamName stream{tag_, sequence_, 0};
  const PeerId& peer = ring_.members[to];
  sent_bytes_ += links_.send(peer, connection(), stream, {head.get(), message_head + joined}, head, nullptr);
  if (joined == message.size()) return;
  const auto kept = std::make_shared<Bytes>(std::move(message));
  const std::shared_ptr<const std::byte[]> owner(kept, kept->data());
  for (std::size_t at = 0; at < kept->size(); at += largest_frame) {
    const ByteSpan piece = ByteSpan(*kept).subspan(at, std::min(largest_frame, kept->size() - at));
    sent_bytes_ += links_.send(peer, connection(), stream, piece, owner, nullptr);
  }
}

Bytes MessageSession::receive(std::size_t from, std::uint32_t tag, double timeout) {
  std::unique_lock lock(mutex_);
  const std::pair key(from, tag);
  const auto ready = [&] { return aborted_ || messages_.count(key) > 0 || !lost_[from].empty(); };
  if (timeout > 0) {
    if (!changed_.wait_for(lock, std::chrono::duration<double>(timeout), ready))
      lose_member(ring_.members[from], fmt::format("has sent nothing for {:.0f} s", timeout));
  } else {
    changed_.wait(lock, ready);
  }
  if (aborted_) lose_operation(reason_);
  const auto found = messages_.find(key);
  if (found == messages_.end()) lose_member(ring_.members[from], lost_[from]);
  Bytes message = std::move(found->second.front());
  found->second.pop_front();
  if (found->second.empty()) messages_.erase(found);
  return message;
}

std::uint64_t MessageSession::received_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& inbox : inboxes_) bytes += inbox->wire_bytes;
  return bytes;
}

}  // namespace laconic
