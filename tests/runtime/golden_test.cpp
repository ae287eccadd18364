// Published models beside logits of an independent float64 forward pass.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "engine/tensor/safetensors.h"
#include "runtime/transformer.h"

namespace laconic {
namespace {

class Golden : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const char* data = std::getenv("LACONIC_DATA");
    if (data == nullptr) GTEST_SKIP() << "LACONIC_DATA does not name the folder of reference data";
    directory_ = std::filesystem::path(data) / "models" / GetParam();
  }
  std::filesystem::path directory_;
};

TEST_P(Golden, LogitsAgreeInPrefillAndDecode) {
  const Transformer model = Transformer::load(directory_);
  const SafetensorsFile golden(directory_ / "golden.safetensors");
  const TensorView tokens = golden.tensor("tokens");
  const std::vector<float> wanted = golden.tensor("logits").to_f32();
  const auto* ids = reinterpret_cast<const std::int32_t*>(tokens.data);
  const std::vector<std::int32_t> sequence(ids, ids + tokens.elements());
  double scale = 0;
  for (const float value : wanted) scale = std::max(scale, std::abs(static_cast<double>(value)));
  const auto worst = [&](std::span<const float> got, std::size_t from) {
    double most = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      most = std::max(most, std::abs(static_cast<double>(got[i]) - wanted[from + i]));
    }
    return most / scale;
  };
  const std::vector<float> prefill = model.forward(sequence, nullptr);
  ASSERT_EQ(prefill.size(), wanted.size());
  EXPECT_LT(worst(prefill, 0), 1e-4);

  const auto cache = model.make_cache();
  const auto vocabulary = static_cast<std::size_t>(model.config().vocabulary);
  double decode = 0;
  for (std::size_t t = 0; t < sequence.size(); ++t) {
    decode = std::max(decode, worst(model.forward({&sequence[t], 1}, cache.get()), t * vocabulary));
  }
  EXPECT_LT(decode, 1e-4);
  RecordProperty("prefill_error", std::to_string(worst(prefill, 0)));
  RecordProperty("decode_error", std::to_string(decode));
}

INSTANTIATE_TEST_SUITE_P(Models, Golden, testing::Values("stories260K-hf", "lm-5m"), [](const auto& name) {
  return std::string(name.param) == "lm-5m" ? "lm_5m" : "stories260K";
});

}  // namespace
}  // namespace laconic
