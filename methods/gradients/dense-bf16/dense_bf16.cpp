// Half the bytes without an algorithm: what travels is rounded to bf16, sums are kept in f32.
#include "engine/exchange/dense_exchange.h"
#include "methods/gradients/gradient_method.h"

namespace laconic {

MethodDescription describe_dense_bf16() {
  MethodDescription method;
  method.slug = "dense-bf16";
  method.title = "Dense all-reduce in bf16";
  method.paper = "the common baseline";
  method.subject = "gradients";
  method.summary = "the mean gradient by a ring all-reduce, rounded to bf16 where it travels";
  method.exchange = [](const ExchangeRequest& request) {
    TrainingExchange made;
    made.exchange = dense_exchange(request.tensors, DenseForm::bf16, request.bucket_bytes);
    return made;
  };
  return method;
}

}  // namespace laconic
