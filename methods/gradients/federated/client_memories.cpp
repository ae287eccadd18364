#include "methods/gradients/federated/client_memories.h"

#include <algorithm>

#include "engine/base/error.h"

namespace laconic {

ClientMemories::ClientMemories(std::optional<FeedbackForm> form, int clients, std::size_t size)
    : form_(form), size_(size), slots_(static_cast<std::size_t>(clients)) {
  if (form_) Feedback(*form_, 0);  // refuses a form that makes no sense before the first round
}

void ClientMemories::make(int client, std::span<const float> input, std::span<float> to_send) {
  Slot& own = slot(client);
  require(!own.made, "a client takes part once a round");
  if (!form_) {
    std::copy(input.begin(), input.end(), to_send.begin());
  } else {
    own.fresh = own.memory == nullptr;
    if (own.fresh) own.memory = std::make_unique<Feedback>(*form_, size_);
    own.memory->make(input, to_send);
  }
  own.made = true;
}

std::span<float> ClientMemories::decoded(int client) {
  Slot& own = slot(client);
  require(own.made, "what was made is decoded");
  own.decoded.resize(size_);
  return own.decoded;
}

void ClientMemories::undo(int client) {
  Slot& own = slot(client);
  require(own.made, "only what was made is undone");
  if (form_) own.memory->undo();
  if (form_ && own.fresh) own.memory.reset();
  own.made = own.fresh = false;
  own.decoded = {};
}

void ClientMemories::settle(const std::vector<bool>& accepted) {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    Slot& own = slots_[i];
    if (!own.made) continue;
    if (!accepted[i]) {
      undo(static_cast<int>(i));
      continue;
    }
    if (form_) own.memory->settle(own.decoded);
    own.made = own.fresh = false;
    own.decoded = {};
  }
}

std::span<const float> ClientMemories::estimate(int client) const {
  const Feedback* own = memory(client);
  return own == nullptr ? std::span<const float>() : own->estimate();
}

void ClientMemories::write(ByteWriter& writer) const {
  writer.varint(static_cast<std::uint64_t>(
      std::count_if(slots_.begin(), slots_.end(), [](const Slot& own) { return own.memory != nullptr; })));
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    require(!slots_[i].made, "memories are saved between rounds");
    if (slots_[i].memory == nullptr) continue;
    const Bytes bytes = slots_[i].memory->save();
    writer.varint(i);
    writer.varint(bytes.size());
    writer.append(bytes);
  }
}

ClientMemories ClientMemories::read(ByteReader& reader, std::string_view where) const {
  ClientMemories memories(form_, static_cast<int>(slots_.size()), size_);
  const std::uint64_t count = reader.length(form_ ? slots_.size() : 0);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t client = reader.varint();
    if (client >= slots_.size()) reader.corrupt("the memory of a client that is not there");
    Slot& own = memories.slot(static_cast<int>(client));
    if (own.memory != nullptr) reader.corrupt("two memories of one client");
    own.memory = std::make_unique<Feedback>(*form_, size_);
    own.memory->restore(reader.take(reader.length(reader.remaining())), where);
  }
  return memories;
}

}  // namespace laconic
