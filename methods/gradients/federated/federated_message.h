// What travels between the server and its clients.
//
//   down  varint round; u32 agreed; f32 vectors of the model's length; u32 checksum
//   up    varint round, client, examples; u32 agreed; body; u32 checksum
//
// `agreed` is the hash of what both sides must share (the model's layout, the codec), a checksum the low half
// of the XXH3-64 of everything before it. A message is read whole before anything is done with it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/exchange/tensor_layout.h"

namespace laconic {

struct UpdateHeader {
  std::uint64_t round = 0;
  int client = 0;
  std::int64_t examples = 0;
};

class FederatedWire {
 public:
  // `codec`: text of what bodies are written with.
  FederatedWire(const std::vector<TensorSlice>& tensors, int clients, std::string_view codec);

  Bytes broadcast(std::uint64_t round, const std::vector<std::vector<float>>& vectors) const;
  std::vector<std::vector<float>> read_broadcast(ByteSpan message, std::uint64_t round,
                                                 std::size_t vectors) const;

  // The body goes behind it, then sealed_update().
  ByteWriter begin_update(const UpdateHeader& header) const;
  static Bytes sealed_update(ByteWriter&& writer);

  // take(header, body) for every message of this round that is whole; it reads all it needs before it
  // changes anything. A message that is damaged, of another round, model or codec, from a client that is not
  // there or has sent one already, is left out. Returns one line for each of those.
  std::vector<std::string> for_each_update(
      std::uint64_t round, const std::vector<Bytes>& messages,
      const std::function<void(const UpdateHeader& header, ByteReader& body)>& take) const;

 private:
  std::size_t size_;
  int clients_;
  std::uint32_t agreed_;
};

// "fc1.weight is not finite", for the first tensor of which that is true; empty when there is none.
std::string not_finite(std::span<const float> vector, const std::vector<TensorSlice>& tensors);

}  // namespace laconic
