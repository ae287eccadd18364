// The lab's copy of a model is the runtime's model.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/base/error.h"
#include "lab_models.h"
#include "methods/lab_plugin.h"
#include "runtime/transformer.h"

namespace laconic {
namespace {

using reference::Description;

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
  }
  return worst;
}

void expect_agreement(const fs::path& directory, const std::vector<std::int32_t>& tokens) {
  const std::vector<float> lab = load_lab().logits(directory, tokens);
  const std::vector<float> runtime = Transformer::load(directory).forward(tokens, nullptr);
  EXPECT_LT(largest_difference(lab, runtime), 1e-4);
  double spread = 0;
  for (const float value : runtime) spread = std::max(spread, std::abs(static_cast<double>(value)));
  EXPECT_GT(spread, 0.1) << "logits near zero would agree whatever they are";
}

struct Case {
  std::string name;
  Description description;
  std::string keys;
};

std::vector<Case> cases() {
  Description mistral, qwen2, qwen3, untied;
  mistral.family = "mistral";
  mistral.tied = false;
  mistral.window = {7, 7, 7};
  qwen2.family = "qwen2";
  qwen2.qkv_bias = true;
  qwen3.family = "qwen3";
  qwen3.head_dim = 8;
  qwen3.qk_norm = true;
  untied.tied = false;
  untied.kv_heads = 4;
  return {{"LlamaTiedGqa", Description{}, ""},
          {"LlamaBiases", biased_llama(), biased_llama_keys},
          {"LlamaUntied", untied, ""},
          {"MistralWindow", mistral, "\"sliding_window\": 7"},
          {"Qwen2", qwen2, "\"use_sliding_window\": false"},
          {"Qwen3", qwen3, ""}};
}

class LabLogits : public testing::TestWithParam<Case> {};

TEST_P(LabLogits, AgreeWithTheRuntime) {
  const TemporaryFolder folder;
  const Case& model = GetParam();
  reference::write_model(folder.path() / "model", model.description,
                         reference::random_weights(model.description, 5, DType::f32), DType::f32, model.keys);
  expect_agreement(folder.path() / "model", random_tokens(model.description.vocabulary, 30, 1));
}
INSTANTIATE_TEST_SUITE_P(Miniatures, LabLogits, testing::ValuesIn(cases()),
                         [](const auto& item) { return item.param.name; });

class LabReferenceLogits : public testing::TestWithParam<const char*> {};

TEST_P(LabReferenceLogits, AgreeWithTheRuntime) {
  const auto directory = reference_model(GetParam());
  if (!directory) GTEST_SKIP() << "LACONIC_DATA does not name the folder of reference data";
  expect_agreement(*directory, random_tokens(500, 200, 2));
}
INSTANTIATE_TEST_SUITE_P(Models, LabReferenceLogits, testing::Values("stories260K-hf", "lm-5m"),
                         [](const auto& item) {
                           return std::string(item.param) == "lm-5m" ? "lm_5m" : "stories260K";
                         });

TEST(Lab, RefusesWhatItsModelCannotDo) {
  const TemporaryFolder folder;
  const fs::path directory = folder.path() / "model";
  Description scaled;
  scaled.scaling = "linear";
  scaled.factor = 2;
  reference::write_model(directory, scaled, reference::random_weights(scaled, 5, DType::f32), DType::f32,
                         "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}");
  const std::vector<std::int32_t> tokens = {1, 2};
  try {
    load_lab().logits(directory, tokens);
    FAIL() << "rotary scaling was ignored";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
  }
  const Description plain;
  reference::write_model(folder.path() / "plain", plain, reference::random_weights(plain, 5, DType::f32),
                         DType::f32, "");
  const std::vector<std::int32_t> outside = {1, plain.vocabulary}, none;
  EXPECT_THROW(load_lab().logits(folder.path() / "plain", outside), Error);
  EXPECT_THROW(load_lab().logits(folder.path() / "plain", none), Error);
}

}  // namespace
}  // namespace laconic
