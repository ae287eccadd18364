#include "runtime/linear_op.h"

#include <algorithm>
#include <string_view>

#include "engine/base/threads.h"
#include "engine/codec/composition.h"
#include "engine/codec/stored_values.h"
#include "runtime/sign_stack.h"
#include "runtime/sparse_linear.h"
#include "runtime/uniform_linear.h"

namespace laconic {
namespace {

using Linear = std::shared_ptr<LinearOp>;

// A field of real numbers as a dense matrix in its stored type.
Linear dense_field(const Payload& payload, std::string_view name, std::int64_t rows, std::int64_t columns) {
  load_values(payload, name, rows * columns);  // refuses what is missing, of another size, or not finite
  auto owner = std::make_shared<Tensor>(Tensor::copy_of(payload.find(name)->data.view()));
  return make_dense_linear({owner->dtype(), {rows, columns}, owner->data()}, owner);
}

Linear low_rank(const Payload& payload) {
  const std::int64_t rows = payload.shape[0], columns = payload.shape[1];
  if (payload.find("dense") != nullptr) return dense_field(payload, "dense", rows, columns);
  const std::int64_t rank =
      payload.attributes.integer("rank", 1, std::max<std::int64_t>(1, std::min(rows, columns)));
  return make_low_rank_linear(dense_field(payload, "left", rows, rank),
                              dense_field(payload, "right", rank, columns));
}

Linear expanded(const Payload& payload) {
  auto owner = std::make_shared<Tensor>(decode_payload(payload));
  return make_dense_linear(owner->view(), owner);
}

std::string_view codec_name(const Payload& payload) {
  return std::string_view(payload.codec).substr(0, payload.codec.find('('));
}

Linear stage_linear(const Payload& payload) {
  const std::string_view name = codec_name(payload);
  // gptq and decoupled choose codes differently, their payloads are the same.
  if (name == "uniform" || name == "gptq" || name == "decoupled") return make_uniform_linear(payload);
  if (name == "lowrank") return low_rank(payload);
  if (name == "raw") return dense_field(payload, "values", payload.shape[0], payload.shape[1]);
  if (name == "sparse" || name == "outliers") return make_sparse_linear(payload);
  return expanded(payload);
}

}  // namespace

Tensor LinearOp::expand() const {
  Tensor weights(DType::f32, {out_features(), in_features()});
  parallel_tiles(out_features(), 64, [&](std::int64_t begin, std::int64_t end) {
    expand_rows(begin, end, weights.f32().data() + begin * in_features());
  });
  return weights;
}

std::shared_ptr<LinearOp> make_linear(const Payload& payload) {
  require_decodable(payload);
  if (payload.shape.size() != 2) fail(ErrorKind::corrupt, "a linear weight is not a matrix", payload.codec);
  const std::vector<Payload> stages = stage_payloads(payload);
  std::vector<std::shared_ptr<const LinearOp>> terms;
  Linear last;
  for (std::size_t i = 0; i < stages.size();) {
    std::vector<std::shared_ptr<const PackedSignBlock>> blocks;
    for (; i < stages.size() && codec_name(stages[i]) == "sign"; ++i) {
      blocks.push_back(std::make_shared<PackedSignBlock>(stages[i]));
    }
    last = blocks.empty() ? stage_linear(stages[i++])
                          : make_sign_stack(payload.shape[0], payload.shape[1], std::move(blocks));
    terms.push_back(last);
  }
  return terms.size() == 1 ? last : make_sum_linear(std::move(terms));
}

}  // namespace laconic
