#include "runtime/model_config.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"

namespace laconic {
namespace {

std::string config_with(const std::string& extra, const std::string& family = "llama") {
  const std::string architecture = family == "llama"     ? "LlamaForCausalLM"
                                   : family == "mistral" ? "MistralForCausalLM"
                                   : family == "qwen2"   ? "Qwen2ForCausalLM"
                                                         : "Qwen3ForCausalLM";
  return "{\"model_type\": \"" + family + "\", \"architectures\": [\"" + architecture +
         "\"], \"vocab_size\": 100, \"hidden_size\": 64, \"intermediate_size\": 96, \"num_hidden_layers\": "
         "4, "
         "\"num_attention_heads\": 8, \"num_key_value_heads\": 2, \"max_position_embeddings\": 256" +
         (extra.empty() ? "" : ", " + extra) + "}";
}

ModelConfig parsed(const std::string& extra, const std::string& family = "llama") {
  return ModelConfig::parse(config_with(extra, family), "config.json");
}

// The error that a text gives, or "" when it is accepted.
std::string refusal(const std::string& text, ErrorKind kind) {
  try {
    ModelConfig::parse(text, "config.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind) << error.what();
    return error.what();
  }
  return "";
}

TEST(ModelConfig, ReadsShapesAndDefaults) {
  const ModelConfig config = parsed("");
  EXPECT_EQ(config.family, ModelFamily::llama);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.kv_heads, 2);
  EXPECT_DOUBLE_EQ(config.rms_norm_eps, 1e-6);
  EXPECT_DOUBLE_EQ(config.rope_theta, 10000);
  EXPECT_FALSE(config.tied_embeddings);
  EXPECT_EQ(config.sliding_window, std::vector<std::int64_t>(4, 0));
  EXPECT_EQ(linear_name(3, LinearSlot::q), "model.layers.3.self_attn.q_proj.weight");
  EXPECT_EQ(linear_shape(config, LinearSlot::k).out, 16);
  EXPECT_EQ(linear_shape(config, LinearSlot::down).in, 96);
  EXPECT_EQ(parsed("", "qwen3").head_dim, 128);
  EXPECT_TRUE(parsed("", "qwen3").qk_norm);
  EXPECT_TRUE(parsed("", "qwen2").qkv_bias);
  EXPECT_FALSE(parsed("", "qwen2").output_bias);
  EXPECT_EQ(parsed("\"eos_token_id\": [3, 5], \"bos_token_id\": 1").eos_tokens,
            (std::vector<std::int64_t>{3, 5}));
}

TEST(ModelConfig, ReadsEverySpellingOfRotaryScaling) {
  for (const std::string key : {"type", "rope_type"}) {
    const ModelConfig linear = parsed("\"rope_scaling\": {\"" + key + "\": \"linear\", \"factor\": 2}");
    EXPECT_EQ(linear.rope_scaling.kind, RopeScaling::Kind::linear);
    EXPECT_DOUBLE_EQ(linear.rope_scaling.factor, 2);
  }
  EXPECT_EQ(parsed("\"rope_scaling\": null").rope_scaling.kind, RopeScaling::Kind::none);
  EXPECT_EQ(parsed("\"rope_scaling\": {\"rope_type\": \"default\"}").rope_scaling.kind,
            RopeScaling::Kind::none);
  EXPECT_DOUBLE_EQ(
      parsed("\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 5e5}").rope_theta, 5e5);
  const ModelConfig dynamic = parsed("\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 4.0}");
  EXPECT_EQ(dynamic.rope_scaling.original_max_positions, 256);
  const ModelConfig yarn = parsed(
      "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4.0, \"mscale\": 1.0, \"mscale_all_dim\": 1.0, "
      "\"original_max_position_embeddings\": 64}");
  EXPECT_DOUBLE_EQ(yarn.rope_scaling.attention_factor, 1);
}

TEST(ModelConfig, PlacesSlidingWindows) {
  using Windows = std::vector<std::int64_t>;
  EXPECT_EQ(parsed("", "mistral").sliding_window, Windows(4, 4096));
  EXPECT_EQ(parsed("\"sliding_window\": null", "mistral").sliding_window, Windows(4, 0));
  EXPECT_EQ(parsed("\"sliding_window\": 9", "mistral").sliding_window, Windows(4, 9));
  EXPECT_EQ(parsed("\"sliding_window\": 9, \"use_sliding_window\": false", "qwen2").sliding_window,
            Windows(4, 0));
  EXPECT_EQ(parsed("\"sliding_window\": 9, \"use_sliding_window\": true, \"max_window_layers\": 3", "qwen2")
                .sliding_window,
            (Windows{0, 0, 0, 9}));
  EXPECT_EQ(
      parsed("\"sliding_window\": 9, \"use_sliding_window\": true, \"layer_types\": [\"sliding_attention\", "
             "\"full_attention\", \"full_attention\", \"sliding_attention\"]",
             "qwen3")
          .sliding_window,
      (Windows{9, 0, 0, 9}));
}

TEST(ModelConfig, RefusesByNameWhatWouldChangeTheResult) {
  const std::vector<std::pair<std::string, std::string>> refused = {
      {"quantization_config", "\"quantization_config\": {\"quant_method\": \"gptq\"}"},
      {"hidden_act", "\"hidden_act\": \"gelu\""},
      {"partial_rotary_factor", "\"partial_rotary_factor\": 0.5"},
      {"final_logit_softcapping", "\"final_logit_softcapping\": 30.0"},
      {"attn_logit_softcapping", "\"attn_logit_softcapping\": 50.0"},
      {"num_experts", "\"num_experts\": 8"},
      {"num_local_experts", "\"num_local_experts\": 8"},
      {"moe_intermediate_size", "\"moe_intermediate_size\": 64"},
      {"embedding_multiplier", "\"embedding_multiplier\": 12.0"},
      {"logits_scaling", "\"logits_scaling\": 8.0"},
      {"residual_multiplier", "\"residual_multiplier\": 0.22"},
      {"sliding_window", "\"sliding_window\": 9"},
      {"rope_scaling", "\"rope_scaling\": {\"type\": \"longrope\", \"factor\": 2}"},
      {"mscale", "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2, \"mscale\": 0.7}"},
      {"truncate", "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 2, \"truncate\": false}"},
      {"low_freq_factor", "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2, \"low_freq_factor\": 1}"},
      {"full_attention", "\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\"}}"},
      {"layer_types",
       "\"layer_types\": [\"full_attention\", \"linear_attention\", \"full_attention\", "
       "\"full_attention\"]"},
      {"use_alibi", "\"use_alibi\": true"},
  };
  for (const auto& [name, extra] : refused) {
    const std::string message = refusal(config_with(extra), ErrorKind::unsupported);
    EXPECT_NE(message.find(name), std::string::npos) << extra << " -> " << message;
  }
  EXPECT_NE(refusal(R"({"model_type": "gpt2"})", ErrorKind::unsupported).find("gpt2"), std::string::npos);
  EXPECT_NE(refusal(R"({"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]})",
                    ErrorKind::unsupported)
                .find("LlamaForSequenceClassification"),
            std::string::npos);
}

TEST(ModelConfig, IgnoresHarmlessKeys) {
  EXPECT_NO_THROW(parsed(
      "\"torch_dtype\": \"bfloat16\", \"use_cache\": true, \"transformers_version\": \"4.40.0\", "
      "\"initializer_range\": 0.02, \"attention_dropout\": 0.1, \"pretraining_tp\": 1, \"_name_or_path\": "
      "\"x\", "
      "\"num_experts\": 0, \"quantization_config\": null, \"partial_rotary_factor\": 1.0, "
      "\"residual_multiplier\": 1.0, "
      "\"pad_token_id\": -1, \"unsloth_version\": \"1\", \"attention_bias\": false, \"mlp_bias\": false"));
}

TEST(ModelConfig, RefusesMissingWrongAndAbsurdValues) {
  const auto replaced = [](const std::string& from, const std::string& to) {
    std::string text = config_with("");
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  EXPECT_NE(refusal(replaced("\"vocab_size\": 100, ", ""), ErrorKind::input).find("vocab_size"),
            std::string::npos);
  for (const std::string value : {"-1", "0", "1e30", "\"64\"", "99999999999999999999", "7.5", "[64]"}) {
    const std::string message =
        refusal(replaced("\"hidden_size\": 64", "\"hidden_size\": " + value), ErrorKind::input);
    EXPECT_NE(message.find("hidden_size"), std::string::npos) << value;
  }
  EXPECT_NE(refusal(replaced("\"num_key_value_heads\": 2", "\"num_key_value_heads\": 3"), ErrorKind::input),
            "");
  EXPECT_NE(refusal(replaced("\"hidden_size\": 64", "\"hidden_size\": 63"), ErrorKind::input), "");
  EXPECT_NE(refusal(config_with("\"head_dim\": 7"), ErrorKind::unsupported), "");
  EXPECT_NE(refusal(config_with("\"bos_token_id\": 100"), ErrorKind::input), "");
  EXPECT_NE(refusal(config_with("\"rms_norm_eps\": \"small\""), ErrorKind::input), "");
  EXPECT_NE(refusal(config_with("\"rope_scaling\": {\"type\": \"linear\"}"), ErrorKind::input), "");
  EXPECT_NE(refusal(config_with("\"rope_scaling\": [1]"), ErrorKind::input), "");
  EXPECT_NE(refusal("[]", ErrorKind::input), "");
  EXPECT_NE(refusal("{\"model_type\": \"llama\"", ErrorKind::input), "");
}

}  // namespace
}  // namespace laconic
