// The memories of clients that have taken part, by client; those of others are zero and take no room. A
// memory that was made in a round is settled when the server has accepted the client's message, or undone.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/feedback/feedback.h"

namespace laconic {

class ClientMemories {
 public:
  // Without a form nothing is remembered: what is made is the input.
  ClientMemories(std::optional<FeedbackForm> form, int clients, std::size_t size);

  // Different clients may be used at the same time in make(), decoded() and undo().
  void make(int client, std::span<const float> input, std::span<float> to_send);
  // Room for what the message that was made decodes to, kept until the memory is settled.
  std::span<float> decoded(int client);
  void undo(int client);

  // For every client that has made one: settles it where `accepted` says so, else undoes it.
  void settle(const std::vector<bool>& accepted);

  // The estimator of a client; empty when it has none yet.
  std::span<const float> estimate(int client) const;
  const Feedback* memory(int client) const { return slots_[static_cast<std::size_t>(client)].memory.get(); }

  void write(ByteWriter& writer) const;
  // What write() wrote of memories like these; these stay as they are.
  ClientMemories read(ByteReader& reader, std::string_view where) const;

 private:
  struct Slot {
    std::unique_ptr<Feedback> memory;
    bool made = false, fresh = false;
    std::vector<float> decoded;
  };
  Slot& slot(int client) { return slots_[static_cast<std::size_t>(client)]; }

  std::optional<FeedbackForm> form_;
  std::size_t size_;
  std::vector<Slot> slots_;
};

}  // namespace laconic
