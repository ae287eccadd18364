#include "runtime/benchmark/gradient_codecs.h"

#include <fmt/format.h>

#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/codec/composition.h"
#include "engine/coding/sign_bits.h"

namespace laconic {
namespace {

constexpr std::int64_t gradient_numbers = 25'000'000;
constexpr int gradient_count = 3;  // 300 MB

// Of heavier tails than a Gaussian, as gradients are.
std::shared_ptr<const std::vector<Tensor>> random_gradients() {
  auto gradients = std::make_shared<std::vector<Tensor>>();
  for (int i = 0; i < gradient_count; ++i) {
    Tensor& gradient = gradients->emplace_back(DType::f32, Shape{gradient_numbers});
    const std::span<float> values = gradient.f32();
    parallel_tiles(gradient_numbers, 1 << 18, [&](std::int64_t begin, std::int64_t end) {
      RandomStream random(1, "benchmark", "gradient", static_cast<std::uint64_t>(begin),
                          static_cast<std::uint16_t>(i));
      for (std::int64_t j = begin; j < end; ++j) {
        const float x = 2 * random.uniform() - 1;
        values[static_cast<std::size_t>(j)] = 1e-3f * x * x * x;
      }
    });
  }
  return gradients;
}

Pass encode_pass(const char* name, const char* codec_text, double wanted) {
  const auto gradients = random_gradients();
  const std::shared_ptr<const TensorCodec> codec = parse_codec(codec_text);
  Pass pass;
  pass.name = name;
  pass.bytes = std::uint64_t{4} * gradient_numbers * gradient_count;
  pass.items = pass.bytes / 4;
  pass.wanted_ratio = wanted;
  pass.per_core = true;
  pass.run = [gradients, codec] {
    for (const Tensor& gradient : *gradients) codec->encode(gradient.view(), {});
  };
  return pass;
}

Pass add_pass(const char* name, const char* codec_text) {
  const auto gradients = random_gradients();
  const std::shared_ptr<const TensorCodec> codec = parse_codec(codec_text);
  auto payloads = std::make_shared<std::vector<Payload>>();
  for (const Tensor& gradient : *gradients) payloads->push_back(codec->encode(gradient.view(), {}));
  auto sum = std::make_shared<std::vector<float>>(static_cast<std::size_t>(gradient_numbers));
  Pass pass;
  pass.name = name;
  pass.bytes = std::uint64_t{4} * gradient_numbers * gradient_count;
  pass.items = pass.bytes / 4;
  pass.per_core = true;
  pass.run = [payloads, codec, sum] {
    for (const Payload& payload : *payloads) codec->add_decoded(payload, *sum);
  };
  return pass;
}

Pass sign_pass(bool packs) {
  const auto gradients = random_gradients();
  const auto bits =
      std::make_shared<std::vector<std::uint8_t>>(sign_bytes(gradient_numbers), std::uint8_t{0x5A});
  const auto values = std::make_shared<std::vector<float>>(packs ? 0 : gradient_numbers);
  Pass pass;
  pass.name = packs ? "gradient signs, pack" : "gradient signs, unpack";
  pass.bytes = std::uint64_t{4} * gradient_numbers * gradient_count;
  pass.items = pass.bytes / 4;
  pass.wanted_ratio = 0.5;
  pass.per_core = true;
  if (packs) {
    pass.run = [gradients, bits] {
      for (const Tensor& gradient : *gradients) pack_signs(gradient.f32(), SignSum::squares, *bits);
    };
  } else {
    pass.run = [bits, values] {
      for (int i = 0; i < gradient_count; ++i) unpack_signs(*bits, 0.5f, *values);
    };
  }
  return pass;
}

}  // namespace

std::vector<PassMaker> gradient_codec_passes() {
  std::vector<PassMaker> makers;
  makers.push_back({"gradient signs, pack", [] { return sign_pass(true); }});
  makers.push_back({"gradient signs, unpack", [] { return sign_pass(false); }});
  makers.push_back({"gradient top-k 0.1 %, encode", [] {
                      return encode_pass("gradient top-k 0.1 %, encode", "outliers(fraction=0.001)", 0.25);
                    }});
  makers.push_back({"gradient top-k 0.1 %, add",
                    [] { return add_pass("gradient top-k 0.1 %, add", "outliers(fraction=0.001)"); }});
  makers.push_back({"gradient QSGD 4 bits, encode", [] {
                      return encode_pass("gradient QSGD 4 bits, encode", "qsgd(bits=4,block=512)", 1.0 / 3);
                    }});
  makers.push_back({"gradient QSGD 4 bits, add",
                    [] { return add_pass("gradient QSGD 4 bits, add", "qsgd(bits=4,block=512)"); }});
  return makers;
}

}  // namespace laconic
