// A linear layer y = W x, W [out, in], that multiplies straight from its compressed form.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "engine/codec/payload.h"

namespace laconic {

class LinearOp {
 public:
  virtual ~LinearOp() = default;
  virtual std::int64_t in_features() const = 0;
  virtual std::int64_t out_features() const = 0;
  // y [rows, out] = x [rows, in] W^T, f32 accumulation. Parallel inside; same bits at any thread count.
  virtual void multiply(const float* x, std::int64_t rows, float* y) const = 0;
  // Rows [begin, end) of W as f32 [end - begin, in].
  virtual void expand_rows(std::int64_t begin, std::int64_t end, float* weights) const = 0;
  // W as f32 [out, in]; parallel.
  virtual Tensor expand() const;
  // Bytes of the weights as they are held in memory.
  virtual std::uint64_t resident_bytes() const = 0;
};

// W kept in its stored real dtype (f32, f16, bf16); `owner` keeps the mapped file alive.
std::shared_ptr<LinearOp> make_dense_linear(TensorView weight, std::shared_ptr<const void> owner);
// W = left right, y = left (right x).
std::shared_ptr<LinearOp> make_low_rank_linear(std::shared_ptr<const LinearOp> left,
                                               std::shared_ptr<const LinearOp> right);
// W = sum of terms of one shape, at least one: y is the sum of the terms' products, in order.
std::shared_ptr<LinearOp> make_sum_linear(std::vector<std::shared_ptr<const LinearOp>> terms);
// From the payload of a matrix, on the packed form: a residual chain multiplies as the sum of its stages,
// runs of sign stages as one stack. Entropy-coded fields are expanded to their packed form here. A stage of a
// codec without a kernel is expanded once to f32. Throws Error(corrupt).
std::shared_ptr<LinearOp> make_linear(const Payload& payload);

}  // namespace laconic
