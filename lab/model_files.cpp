// config.json of models that the lab writes.
#include <nlohmann/json.hpp>

#include "lab/language_model.h"

namespace laconic::lab {

std::string llama_config_json(const ModelConfig& config) {
  nlohmann::ordered_json json;
  json["architectures"] = {"LlamaForCausalLM"};
  json["model_type"] = "llama";
  json["vocab_size"] = config.vocabulary;
  json["hidden_size"] = config.hidden;
  json["intermediate_size"] = config.intermediate;
  json["num_hidden_layers"] = config.layers;
  json["num_attention_heads"] = config.heads;
  json["num_key_value_heads"] = config.kv_heads;
  json["head_dim"] = config.head_dim;
  json["max_position_embeddings"] = config.max_positions;
  json["rms_norm_eps"] = config.rms_norm_eps;
  json["rope_theta"] = config.rope_theta;
  json["hidden_act"] = "silu";
  json["attention_bias"] = false;
  json["mlp_bias"] = false;
  json["tie_word_embeddings"] = config.tied_embeddings;
  json["bos_token_id"] = config.bos_token;
  json["eos_token_id"] = config.eos_tokens.empty() ? config.bos_token : config.eos_tokens.front();
  json["torch_dtype"] = "bfloat16";
  return json.dump(2) + "\n";
}

}  // namespace laconic::lab
