// One bit a number in both directions, without a server: the vector of a bucket is cut into one part per
// rank, every rank sends the signs of each part to the part's owner, and owners send the signs of the mean to
// all (compressed all-reduce of 1-bit Adam, Tang et al. 2021, arXiv 2102.02888; card 02). Both sides remember
// what their signs left out (convention C8):
//
//   rank i:    u = x_i + e_i,             c_i = s_i sign(u),   e_i = u - c_i
//   owner r:   a = (1/W) sum_i c_i + f_r, c   = s_r sign(a),   f_r = a - c       (its part; i = 0 .. W-1)
//   agreed     = c of all owners
//
// sign(0) is +1. Scales: root mean square (as published; no contraction on heavy tails) or mean magnitude (a
// contraction), of a whole tensor at a rank, of the tensor's share of the part at its owner; or of blocks.
// What was sent so far equals the sum of the mean inputs less mean(e_i) and f: nothing is lost, only late.
//
// A rank sends 2 (W-1)/W of n/8 bytes, and to each other rank twice a scale per tensor and 5 bytes. Any
// tensors may travel dense instead (a ring in f32), and all may until start_signs(): the warm-up of 1-bit
// Adam.
//
// Message of a part: u8 refused; f32 scale of each piece (a tensor's or block's share of the part); the signs
// of each piece in whole bytes (sign_bits.h); u32 of the XXH3-64 of what is before it. A refusal has no
// pieces.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/exchange/gradient_exchange.h"

namespace laconic {

struct OwnedSignSettings {
  enum class Scale { rms, mean } scale = Scale::rms;
  std::size_t block = 0;  // numbers of a tensor that share a scale; 0: all of them
  bool worker_error = true, owner_error = true;
  // By tensor: always dense; empty: none is.
  std::vector<bool> dense;
  bool starts_dense = false;  // all tensors, until start_signs()
  int ranks = 1, rank = 0;
  // Parts are multiples of it; 8 fills whole bytes.
  std::size_t align = 8;
  std::size_t bucket_bytes = 25'000'000;
};

class OwnedSignExchange final : public GradientExchange {
 public:
  OwnedSignExchange(std::vector<TensorSlice> tensors, const OwnedSignSettings& settings);

  // Between steps, and the same on all ranks (the next step compares): from now on tensors travel as signs,
  // with errors at 0. `carried`, by number of the vector: where it is 0, nothing is sent and 0 is agreed (a
  // number that is always 0 has no sign), but for dense tensors; empty: everything is carried.
  void start_signs(std::vector<std::uint8_t> carried = {});
  bool sends_signs() const { return sends_signs_; }

  // Of a bucket, in the order of what it carries: e of this rank, and f of its part.
  std::span<const float> worker_error(std::size_t bucket) const { return states_[bucket].worker.error; }
  std::span<const float> owner_error(std::size_t bucket) const { return states_[bucket].owner.error; }
  // Bounds of the parts of a bucket, W + 1 of them.
  const std::vector<std::size_t>& bounds(std::size_t bucket) const { return states_[bucket].bounds; }

  std::string text() const override;
  void begin_step(Communicator& communicator, std::uint64_t step) override;
  bool exchange(Communicator& communicator, std::uint64_t step, std::size_t bucket,
                std::span<const float> own, std::span<float> agreed) override;
  void end_step(bool accepted) override;
  Bytes save() const override;
  void restore(ByteSpan bytes, std::string_view where) override;
  // How tensors travel is shared; e is this rank's own; f, of a part that others own now, begins anew.
  Bytes save_shared() const override;
  void restore_shared(ByteSpan bytes, std::string_view where) override;
  void inherit(GradientExchange& before) override;

 private:
  // Consecutive numbers of the whole vector.
  struct Run {
    std::size_t offset = 0, size = 0;
  };
  // The share that a part has of a tensor or block, whose scale is that of unit `unit`.
  struct Piece {
    std::size_t offset = 0, size = 0;  // in what the bucket carries
    std::size_t unit = 0;
    std::size_t bits = 0;  // where its signs begin in the message
  };
  struct Part {
    std::vector<Piece> pieces;
    std::size_t message_size = 0;
  };
  struct Memory {
    std::vector<float> error, next;  // next: error once the step is accepted
  };
  struct BucketState {
    std::vector<Run> dense, carried, left_out;
    std::size_t dense_size = 0, carried_size = 0;
    std::vector<std::size_t> bounds;
    std::vector<std::size_t> units;  // sizes
    std::vector<Part> parts;
    Memory worker, owner;
    bool made = false;
  };

  void write_travel(ByteWriter& writer) const;
  // A new exchange of these settings that travels as written.
  std::unique_ptr<OwnedSignExchange> read_travel(ByteReader& reader) const;
  void become(OwnedSignExchange& other);

  void plan();
  void plan_tensor(std::size_t tensor, BucketState& state) const;
  void plan_parts(BucketState& state) const;
  float scale_of(double sum, std::size_t count) const;
  bool exchange_signs(Communicator& communicator, BucketState& state, std::span<const float> input,
                      std::span<float> agreed);
  std::vector<Bytes> encode_parts(BucketState& state, std::span<const float> input);
  Bytes encode_mean(BucketState& state, std::span<const float> sum, int ranks);
  // The pieces' scales and signs; false when the message refuses.
  bool read_part(ByteSpan message, const Part& part, const std::string& where,
                 std::vector<float>& scales) const;
  std::uint64_t travel_hash() const;

  OwnedSignSettings settings_;
  bool sends_signs_;
  std::vector<std::uint8_t> is_carried_;  // by number; empty: all
  std::vector<BucketState> states_;
  bool compared_ = false;  // how tensors travel, with the other ranks
  std::vector<float> dense_, gathered_;
};

}  // namespace laconic
