// A linear layer y = W x, W [out, in], that multiplies straight from its compressed form.
#pragma once

#include <cstdint>
#include <memory>

#include "engine/codec/payload.h"

namespace laconic {

class LinearOp {
 public:
  virtual ~LinearOp() = default;
  virtual std::int64_t in_features() const = 0;
  virtual std::int64_t out_features() const = 0;
  // y [rows, out] = x [rows, in] W^T, f32 accumulation. Parallel inside; same bits at any thread count.
  virtual void multiply(const float* x, std::int64_t rows, float* y) const = 0;
  // W as f32 [out, in].
  virtual Tensor expand() const = 0;
  // Bytes of the weights as they are held in memory.
  virtual std::uint64_t resident_bytes() const = 0;
};

// W kept in its stored real dtype (f32, f16, bf16); `owner` keeps the mapped file alive.
std::shared_ptr<LinearOp> make_dense_linear(TensorView weight, std::shared_ptr<const void> owner);
// From a payload: a kernel on the packed form where one exists (uniform, sums of such), else expanded once to
// f32. Entropy-coded fields are expanded to their packed form here.
std::shared_ptr<LinearOp> make_linear(const Payload& payload);

}  // namespace laconic
