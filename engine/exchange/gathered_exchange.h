// Every rank tells all others what it has, in a codec's bytes: an all-gather of messages of varying size,
// which every rank decodes and adds in the order of the ranks.
//
//   q_i = memory_i(g_i), sent as C(q_i); memory_i is settled with the decoded d_i          (feedback.h)
//   agreed = (1/W) sum_i d_i,   or with an estimator  G += (1/W) sum_i d_i,  agreed = G = (1/W) sum_i h_i
// With a whole start, tensors with an estimator travel in f32 in the first step that is accepted: h_i begins
// at the first gradient. With weights w_i of the ranks: memory_i(g_i / (W w_i)), and sum_i w_i d_i in place
// of the mean (EF21-W).
//
// A rank sends (W - 1) times its message: right where messages are much smaller than the vector (top-k), or
// ranks few. Tensors that are not worth a codec (biases, norms) are summed in f32.
//
// Message of a bucket: u8 refused; per tensor its codec's bytes (codec/message.h) or f32 numbers; u32 of the
// XXH3-64 of what is before it.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "engine/codec/codec.h"
#include "engine/exchange/gradient_exchange.h"
#include "engine/feedback/feedback.h"

namespace laconic {

// How one tensor travels.
struct TensorTravel {
  std::shared_ptr<const TensorCodec> codec;  // null: f32, and no memory
  std::optional<FeedbackForm> feedback;      // with a codec
  bool flat = false;                         // the codec sees one row, whatever the shape
};

struct GatheredSettings {
  std::uint64_t seed = 0;
  int rank = 0;
  std::size_t bucket_bytes = 25'000'000;
  // Steps between comparisons of G among ranks (card 03), where there is one.
  std::uint64_t compare_every = 1000;
  // By rank, positive, of sum 1, the same everywhere; empty: 1 / W each. Only where every codec has a memory.
  std::vector<double> weights;
  bool whole_start = false;  // the first message of an estimator carries all numbers
};

class GatheredExchange : public GradientExchange {
 public:
  GatheredExchange(std::vector<TensorSlice> tensors, std::vector<TensorTravel> travel,
                   const GatheredSettings& settings);

  // Between steps, and the same on all ranks: another level for a tensor that has a codec. Memories stay.
  void set_codec(std::size_t tensor, std::shared_ptr<const TensorCodec> codec);
  const TensorTravel& travel(std::size_t tensor) const { return travel_[tensor]; }
  // Is told what is to be sent, q_i, of every tensor that has a codec while its bucket is exchanged.
  void watch(std::function<void(std::size_t tensor, std::span<const float> to_send)> watcher) {
    watcher_ = std::move(watcher);
  }
  // This rank's memory of a tensor; null where it has none.
  const Feedback* feedback(std::size_t tensor) const { return memories_[tensor].get(); }

  std::string text() const override;
  void begin_step(Communicator& communicator, std::uint64_t step) override;
  bool exchange(Communicator& communicator, std::uint64_t step, std::size_t bucket,
                std::span<const float> own, std::span<float> agreed) override;
  void end_step(bool accepted) override;
  Bytes save() const override;
  void restore(ByteSpan bytes, std::string_view where) override;
  // Errors and velocities go on; estimators, whose mean is the group's, begin anew.
  void inherit(GradientExchange& before) override;

 private:
  // What a tensor has made in this step and not settled yet.
  struct Pending {
    bool made = false;
    std::vector<float> decoded;  // own message
    std::vector<std::int64_t> positions;
    bool all_positions = true;
    std::vector<float> change;  // of G
  };

  Bytes encode_bucket(std::uint64_t step, const Bucket& bucket, std::span<const float> own);
  // Adds a rank's message to the bucket's part of `sum`; false when it refuses.
  bool add_message(ByteSpan message, int source, const Bucket& bucket, std::span<float> sum);
  bool in_message(std::size_t tensor) const;
  bool goes_whole(std::size_t tensor) const;  // though it has a codec
  Shape shape_of(std::size_t tensor) const;   // as its codec sees it

  std::vector<TensorTravel> travel_;
  GatheredSettings settings_;
  std::vector<std::unique_ptr<Feedback>> memories_;
  std::vector<std::vector<float>> estimates_;  // G by tensor; empty without an estimator
  std::vector<Pending> pending_;
  bool begun_ = false;  // a step was accepted
  std::vector<float> dense_, weighted_;
  std::function<void(std::size_t, std::span<const float>)> watcher_;
};

}  // namespace laconic
