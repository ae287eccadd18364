// A program of someone else: built against the installed headers and package, not the source tree.
#include <cstdio>
#include <vector>

#include "engine/codec/composition.h"

int main() {
  std::vector<float> weights(64 * 64);
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i % 7) - 3.0f;
  const laconic::Tensor tensor = laconic::Tensor::from_f32({64, 64}, weights);
  const auto codec = laconic::parse_codec("uniform(bits=4,group=64)");
  const laconic::Bytes frame = laconic::to_frame(codec->encode(tensor.view(), {}));
  const laconic::Tensor back = laconic::decode_payload(laconic::parse_frame(frame, "frame"));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const float error = back.f32()[i] - weights[i];
    if (error > 0.21f || error < -0.21f) return 1;
  }
  std::printf("%zu bytes\n", frame.size());
  return frame.size() < weights.size() ? 0 : 1;
}
