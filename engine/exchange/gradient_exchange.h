// One vector per rank becomes one agreed vector, the same bits on every rank: their mean, or what a lossy
// method has in its place. The vector is a model's gradient (or what an optimiser sends in its stead), cut
// into buckets of whole tensors.
//
//   begin_step          before the first bucket; may exchange (a new plan of levels, say)
//   exchange            per bucket, in the order of buckets(): encode, send, receive, decode
//   end_step(accepted)  memories are settled, or everything is as before begin_step
//
// A number that is not finite, on any rank, makes exchange() return false on every rank. The caller finishes
// the other buckets and ends the step with accepted = false: nothing of it remains anywhere.
//
// All calls come from one thread, which owns the communicator; see overlapped_exchange.h for the other side.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/exchange/tensor_layout.h"
#include "engine/transport/communicator.h"

namespace laconic {

struct CodecSeconds {
  double encode = 0, decode = 0;
};

class GradientExchange {
 public:
  GradientExchange(std::vector<TensorSlice> tensors, std::size_t bucket_bytes = 25'000'000);
  virtual ~GradientExchange() = default;
  GradientExchange(const GradientExchange&) = delete;
  GradientExchange& operator=(const GradientExchange&) = delete;

  const std::vector<TensorSlice>& tensors() const { return tensors_; }
  const std::vector<Bucket>& buckets() const { return buckets_; }
  std::size_t size() const { return size_; }  // numbers of the vector

  // Everything that decides the numbers, but for seed and rank: ranks compare it, states carry it.
  virtual std::string text() const = 0;

  // `step` counts accepted and refused steps from 1.
  virtual void begin_step(Communicator& /*communicator*/, std::uint64_t /*step*/) {}
  // `own` and `agreed` are whole vectors; only the bucket's part is read and written, and may be the same
  // memory. False: some rank had a number there that is not finite; `agreed` is then meaningless.
  virtual bool exchange(Communicator& communicator, std::uint64_t step, std::size_t bucket,
                        std::span<const float> own, std::span<float> agreed) = 0;
  virtual void end_step(bool /*accepted*/) {}

  // Of this rank, since it began.
  virtual CodecSeconds codec_seconds() const { return seconds_; }

  // The memories of this rank. restore() throws Error(corrupt) on damage and Error(usage) on the state of
  // another exchange. Neither may be called inside a step.
  virtual Bytes save() const { return {}; }
  virtual void restore(ByteSpan bytes, std::string_view where);

  // Where ranks come and go, each group has an exchange of its own. What all ranks hold alike and a newcomer
  // needs travels (empty: nothing); what a rank remembers of its own messages is inherited; what was about
  // the group as a whole, like a mean of memories, begins anew. Between steps only.
  virtual Bytes save_shared() const { return {}; }
  virtual void restore_shared(ByteSpan bytes, std::string_view where);
  // `before`: this rank's exchange in the group before, made with the same settings; it is used up.
  virtual void inherit(GradientExchange& /*before*/) {}

 protected:
  // Adds the time until its end to encode or decode.
  class Timing {
   public:
    explicit Timing(double& seconds);
    ~Timing();
    Timing(const Timing&) = delete;
    Timing& operator=(const Timing&) = delete;

   private:
    double& seconds_;
    double begin_;
  };
  Timing encoding() { return Timing(seconds_.encode); }
  Timing decoding() { return Timing(seconds_.decode); }

 private:
  std::vector<TensorSlice> tensors_;
  std::vector<Bucket> buckets_;
  std::size_t size_;
  CodecSeconds seconds_;
};

}  // namespace laconic
