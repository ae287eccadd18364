// Random-weight miniatures of every family with its special features on, against the float64 reference.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "reference_model.h"
#include "runtime/transformer.h"

namespace laconic {
namespace {

using reference::Description;

struct Miniature {
  std::string name;
  Description description;
  std::string extra;  // members of config.json beyond the shape
  DType dtype = DType::f32;
  int shards = 1;
  int tokens = 29;
  bool decode_agrees =
      true;  // dynamic scaling beyond its context changes earlier keys' angles in a prefill only
};

Description with(const std::string& family, void (*change)(Description&)) {
  Description d;
  d.family = family;
  change(d);
  return d;
}

std::vector<Miniature> miniatures() {
  std::vector<Miniature> list;
  list.push_back({"LlamaTiedGqa", with("llama", [](Description&) {}), "\"rope_theta\": 10000.0"});
  list.push_back({"LlamaUntiedBiasesShardedF16",
                  with("llama",
                       [](Description& d) {
                         d.tied = false;
                         d.qkv_bias = d.output_bias = d.mlp_bias = true;
                         d.theta = 500000;
                       }),
                  "\"rope_theta\": 500000.0, \"attention_bias\": true, \"mlp_bias\": true", DType::f16, 3});
  list.push_back({"LlamaHeadDimApart", with("llama", [](Description& d) { d.head_dim = 10; }), ""});
  list.push_back({"LlamaEveryHeadItsOwnKeys", with("llama", [](Description& d) { d.kv_heads = 4; }), ""});
  list.push_back({"LlamaLinear",
                  with("llama",
                       [](Description& d) {
                         d.scaling = "linear";
                         d.factor = 2.5;
                       }),
                  "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.5}"});
  list.push_back({"LlamaDynamicInsideItsContext",
                  with("llama",
                       [](Description& d) {
                         d.scaling = "dynamic";
                         d.factor = 2;
                         d.original_positions = 32;
                       }),
                  "\"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 2.0}"});
  list.push_back({"LlamaDynamicBeyondItsContext",
                  with("llama",
                       [](Description& d) {
                         d.scaling = "dynamic";
                         d.factor = 2;
                         d.original_positions = 16;
                         d.max_positions = 16;
                       }),
                  "\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2.0}", DType::f32, 1, 29, false});
  list.push_back({"Llama3Bf16",
                  with("llama",
                       [](Description& d) {
                         d.head_dim = 12;
                         d.scaling = "llama3";
                         d.factor = 8;
                         d.original_positions = 64;
                       }),
                  "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, "
                  "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 64}",
                  DType::bf16});
  list.push_back({"LlamaYarn",
                  with("llama",
                       [](Description& d) {
                         d.head_dim = 16;
                         d.scaling = "yarn";
                         d.factor = 4;
                         d.original_positions = 128;
                         d.beta_fast = 8;
                       }),
                  "\"rope_parameters\": {\"rope_type\": \"yarn\", \"rope_theta\": 10000.0, \"factor\": 4.0, "
                  "\"beta_fast\": 8, \"original_max_position_embeddings\": 128}"});
  list.push_back({"LlamaYarnAttentionFactor",
                  with("llama",
                       [](Description& d) {
                         d.head_dim = 16;
                         d.scaling = "yarn";
                         d.factor = 4;
                         d.original_positions = 4096;
                         d.attention_factor = 1.3;
                       }),
                  "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0, \"attention_factor\": 1.3, "
                  "\"original_max_position_embeddings\": 4096}"});
  list.push_back({"MistralSlidingWindow",
                  with("mistral",
                       [](Description& d) {
                         d.tied = false;
                         d.window = {7, 7, 7};
                       }),
                  "\"sliding_window\": 7", DType::bf16, 1, 150});
  list.push_back({"MistralFullAttention", with("mistral", [](Description& d) { d.tied = false; }),
                  "\"sliding_window\": null"});
  list.push_back({"Qwen2BiasAndLateWindow",
                  with("qwen2",
                       [](Description& d) {
                         d.qkv_bias = true;
                         d.window = {0, 0, 5};
                         d.theta = 1e6;
                       }),
                  "\"rope_theta\": 1000000.0, \"use_sliding_window\": true, \"sliding_window\": 5, "
                  "\"max_window_layers\": 2"});
  list.push_back({"Qwen2UnusedWindow", with("qwen2", [](Description& d) { d.qkv_bias = true; }),
                  "\"use_sliding_window\": false, \"sliding_window\": 5, \"max_window_layers\": 0",
                  DType::bf16, 2});
  list.push_back({"Qwen3HeadNormsLayerTypes",
                  with("qwen3",
                       [](Description& d) {
                         d.head_dim = 8;
                         d.qk_norm = true;
                         d.window = {0, 9, 0};
                         d.theta = 1e6;
                       }),
                  "\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 1000000}, "
                  "\"use_sliding_window\": true, \"sliding_window\": 9, \"max_window_layers\": 3, "
                  "\"layer_types\": [\"full_attention\", \"sliding_attention\", \"full_attention\"]"});
  list.push_back({"Qwen3YarnBiasUntied",
                  with("qwen3",
                       [](Description& d) {
                         d.head_dim = 16;
                         d.tied = false;
                         d.qk_norm = true;
                         d.qkv_bias = d.output_bias = true;
                         d.scaling = "yarn";
                         d.factor = 3;
                         d.original_positions = 256;
                       }),
                  "\"attention_bias\": true, \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 3.0, "
                  "\"original_max_position_embeddings\": 256}",
                  DType::f16});
  return list;
}

class Family : public testing::TestWithParam<Miniature> {};

double largest_difference(std::span<const float> a, std::span<const double> b) {
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - b[i]));
  return worst;
}

TEST_P(Family, AgreesWithTheReferenceInPrefillChunksAndDecode) {
  const Miniature& mini = GetParam();
  const std::filesystem::path directory =
      std::filesystem::path(testing::TempDir()) / ("laconic_" + std::to_string(::getpid()) + "_" + mini.name);
  std::filesystem::remove_all(directory);
  const reference::Weights weights = reference::random_weights(mini.description, 7, mini.dtype);
  reference::write_model(directory, mini.description, weights, mini.dtype, mini.extra, mini.shards);
  RandomStream random(3, "tokens", mini.name);
  std::vector<int> tokens;
  for (int i = 0; i < mini.tokens; ++i) {
    tokens.push_back(static_cast<int>(random.below(static_cast<std::uint32_t>(mini.description.vocabulary))));
  }
  const std::vector<double> wanted = reference::logits(mini.description, weights, tokens);
  const Transformer model = Transformer::load(directory);
  const std::vector<std::int32_t> ids(tokens.begin(), tokens.end());

  EXPECT_LT(largest_difference(model.forward(ids, nullptr), wanted), 1e-4);
  const auto vocabulary = static_cast<std::size_t>(mini.description.vocabulary);
  EXPECT_LT(largest_difference(model.forward(ids, nullptr, true),
                               std::span(wanted).subspan((ids.size() - 1) * vocabulary)),
            1e-4);
  if (!mini.decode_agrees) return;
  for (const std::size_t step : {std::size_t{1}, std::size_t{9}}) {
    const auto cache = model.make_cache();
    for (std::size_t t = 0; t < ids.size(); t += step) {
      const std::size_t rows = std::min(step, ids.size() - t);
      const std::vector<float> got = model.forward({&ids[t], rows}, cache.get());
      ASSERT_LT(largest_difference(got, std::span(wanted).subspan(t * vocabulary, rows * vocabulary)), 1e-4)
          << "token " << t << " in steps of " << step;
    }
    EXPECT_EQ(cache->length(), static_cast<std::int64_t>(ids.size()));
  }
}

// A feature that changed the logits by less than the tolerance would be tested by nothing.
TEST_P(Family, FeaturesShowInTheReference) {
  const Miniature& mini = GetParam();
  const reference::Weights weights = reference::random_weights(mini.description, 7, mini.dtype);
  std::vector<int> tokens;
  for (int i = 0; i < mini.tokens; ++i) tokens.push_back(i * 11 % mini.description.vocabulary);
  const std::vector<double> wanted = reference::logits(mini.description, weights, tokens);
  const auto changes = [&](const Description& without) {
    const std::vector<double> other = reference::logits(without, weights, tokens);
    double worst = 0;
    for (std::size_t i = 0; i < wanted.size(); ++i) worst = std::max(worst, std::abs(wanted[i] - other[i]));
    return worst;
  };
  const Description& d = mini.description;
  Description without = d;
  if (!d.scaling.empty() && !(d.scaling == "dynamic" && d.original_positions >= mini.tokens)) {
    without.scaling.clear();
    EXPECT_GT(changes(without), 1e-2) << d.scaling;
  }
  if (!d.window.empty()) {
    without = d;
    for (int& window : without.window) window = window > 0 ? window + 1 : 0;
    EXPECT_GT(changes(without), 1e-2) << "window";
  }
  if (d.qkv_bias) {
    without = d;
    without.qkv_bias = false;
    EXPECT_GT(changes(without), 1e-2) << "bias";
  }
  if (d.qk_norm) {
    without = d;
    without.qk_norm = false;
    EXPECT_GT(changes(without), 1e-2) << "head norms";
  }
  if (d.theta != 10000) {
    without = d;
    without.theta = 10000;
    EXPECT_GT(changes(without), 1e-2) << "theta";
  }
}

TEST_P(Family, BitsDoNotDependOnTheThreadCount) {
  const Miniature& mini = GetParam();
  const std::filesystem::path directory = std::filesystem::path(testing::TempDir()) /
                                          ("laconic_bits_" + std::to_string(::getpid()) + "_" + mini.name);
  std::filesystem::remove_all(directory);
  reference::write_model(directory, mini.description,
                         reference::random_weights(mini.description, 8, mini.dtype), mini.dtype, mini.extra,
                         mini.shards);
  const Transformer model = Transformer::load(directory);
  std::vector<std::int32_t> ids;
  for (int i = 0; i < mini.tokens; ++i) ids.push_back(i * 7 % mini.description.vocabulary);
  set_thread_count(1);
  const std::vector<float> one = model.forward(ids, nullptr);
  set_thread_count(5);
  const std::vector<float> five = model.forward(ids, nullptr);
  set_thread_count(0);
  EXPECT_EQ(one, five);
}

INSTANTIATE_TEST_SUITE_P(Miniatures, Family, testing::ValuesIn(miniatures()),
                         [](const auto& mini) { return mini.param.name; });

}  // namespace
}  // namespace laconic
