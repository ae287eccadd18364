// The baseline of all exchanges: the mean in f32, by a ring.
#include "engine/exchange/dense_exchange.h"
#include "methods/gradients/gradient_method.h"

namespace laconic {

MethodDescription describe_dense() {
  MethodDescription method;
  method.slug = "dense";
  method.title = "Dense all-reduce";
  method.paper = "Patarasuk & Yuan 2009 (ring)";
  method.subject = "gradients";
  method.summary = "the mean gradient in f32, uncompressed, by a ring all-reduce";
  method.exchange = [](const ExchangeRequest& request) {
    TrainingExchange made;
    made.exchange = dense_exchange(request.tensors, DenseForm::f32, request.bucket_bytes);
    return made;
  };
  return method;
}

}  // namespace laconic
