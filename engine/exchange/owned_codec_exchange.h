// A mean through owners in a codec's bytes: each rank encodes its part for every owner, the owner adds what
// it decodes in the order of the ranks and encodes the mean once, and all ranks decode the same bytes. Two
// encodings whatever the number of ranks W, and 2 (W - 1) / W messages of a part where an all-gather
// (gathered_exchange.h) sends W - 1 whole vectors: right for codecs that keep every number, like 8-bit grids.
//
//   part p of rank i   q = memory_i(g), sent as C(q); memory_i is settled with what C(q) decodes to
//   owner of p         mean = (1/W) sum_i decoded_i;  q = memory_o(mean), told to all as C(q)
//
// The codec sees the share that a part has of a tensor as one row. With error feedback both sides remember
// what their encoding lost (feedback.h).
//
// Message of a part: u8 refused; per piece its codec's bytes (codec/message.h); u32 of the XXH3-64 of what is
// before it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "engine/codec/codec.h"
#include "engine/exchange/gradient_exchange.h"
#include "engine/feedback/feedback.h"

namespace laconic {

struct OwnedCodecSettings {
  std::optional<FeedbackForm> feedback;
  std::uint64_t seed = 0;
  int ranks = 1, rank = 0;
  std::size_t bucket_bytes = 25'000'000;
};

class OwnedCodecExchange final : public GradientExchange {
 public:
  // By tensor; all have one.
  OwnedCodecExchange(std::vector<TensorSlice> tensors, std::vector<std::shared_ptr<const TensorCodec>> codecs,
                     const OwnedCodecSettings& settings);

  std::string text() const override;
  bool exchange(Communicator& communicator, std::uint64_t step, std::size_t bucket,
                std::span<const float> own, std::span<float> agreed) override;
  void end_step(bool accepted) override;
  Bytes save() const override;
  void restore(ByteSpan bytes, std::string_view where) override;

 private:
  // The share of a part in a tensor.
  struct Piece {
    std::size_t tensor = 0;
    std::size_t first = 0, size = 0;  // in the part
    std::string name;                 // keys random numbers
  };
  struct Memory {
    std::unique_ptr<Feedback> feedback;
    std::vector<float> decoded;
    bool made = false;
  };
  struct BucketState {
    std::vector<std::size_t> bounds;
    std::vector<std::vector<Piece>> pieces;   // by part
    std::vector<std::vector<Memory>> worker;  // by part and piece
    std::vector<Memory> owner;                // of this rank's part, by piece
  };

  Bytes encode(std::uint64_t step, const std::vector<Piece>& pieces, std::vector<Memory>& memories,
               std::span<const float> values, std::uint16_t peer);
  // False when it refuses. Writes every number.
  bool decode(ByteSpan message, const std::vector<Piece>& pieces, const std::string& where,
              std::span<float> values);
  std::vector<const Memory*> memories() const;

  std::vector<std::shared_ptr<const TensorCodec>> codecs_;
  OwnedCodecSettings settings_;
  std::vector<BucketState> states_;
};

}  // namespace laconic
