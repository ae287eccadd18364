#include "runtime/model_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/json.h"
#include "runtime/config_fields.h"

namespace laconic {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t most_layers = 4096, most_width = std::int64_t{1} << 20,
                       most_vocabulary = std::int64_t{1} << 24, most_positions = std::int64_t{1} << 31;

struct FamilyName {
  ModelFamily family;
  std::string_view model_type, architecture;
};
constexpr std::array<FamilyName, 4> family_names = {{{ModelFamily::llama, "llama", "LlamaForCausalLM"},
                                                     {ModelFamily::mistral, "mistral", "MistralForCausalLM"},
                                                     {ModelFamily::qwen2, "qwen2", "Qwen2ForCausalLM"},
                                                     {ModelFamily::qwen3, "qwen3", "Qwen3ForCausalLM"}}};

// Keys that this file reads, and keys that touch training, storage or speed but never a logit.
constexpr std::string_view understood_keys[] = {
    "model_type", "architectures", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
    "num_attention_heads", "num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps",
    "rope_theta", "rope_scaling", "rope_parameters", "tie_word_embeddings", "attention_bias", "mlp_bias",
    "hidden_act", "sliding_window", "use_sliding_window", "max_window_layers", "layer_types", "bos_token_id",
    "eos_token_id", "partial_rotary_factor", "rope_interleaved",
    // Without influence on the logits:
    "attention_dropout", "_attn_implementation", "attn_implementation", "_attn_implementation_autoset",
    "attention_probs_dropout_prob", "output_attentions", "head_mask", "pruned_heads", "is_encoder_decoder",
    "chunk_size_feed_forward", "initializer_range", "pretraining_tp", "prune_heads", "use_flash_attn",
    "use_flash_attention", "flash_attention", "flash_attn"};

// Parts of names that tell of an influence on the result: an unknown key with one of them is refused.
constexpr std::string_view influential_parts[] = {
    "rope",       "rotary", "softcap",   "expert", "moe",     "router", "quant",
    "norm",       "attn",   "attention", "window", "sparse",  "alibi",  "mlp",
    "multiplier", "scal",   "residual",  "shared", "adapter", "lora",   "interleave"};

bool understood(std::string_view key) {
  return std::find(std::begin(understood_keys), std::end(understood_keys), key) != std::end(understood_keys);
}

// False, 0, null and empty values switch a feature off, whatever it is.
bool switched_off(const Json& value) {
  return value.is_null() || value == Json(false) || (value.is_number() && value.get<double>() == 0) ||
         ((value.is_object() || value.is_array()) && value.empty());
}

void refuse_unsupported_keys(const Json& json, const ConfigFields& fields) {
  for (const auto& [key, value] : json.items()) {
    if (understood(key) || switched_off(value)) continue;
    const std::string_view name = key;
    const bool influential = std::any_of(std::begin(influential_parts), std::end(influential_parts),
                                         [&](std::string_view part) { return name.find(part) != name.npos; });
    // A factor of one multiplies nothing.
    const bool neutral = value.is_number() && value.get<double>() == 1 &&
                         (name.find("multiplier") != name.npos || name.find("scal") != name.npos);
    if (influential && !neutral) {
      fields.refuse(key, name.find("quant") != name.npos
                             ? "start from the model's unquantised weights"
                             : "the key may change the model's output, so it is not ignored");
    }
  }
  if (fields.number_or("partial_rotary_factor", 0, 1, 1) != 1) fields.refuse("partial_rotary_factor");
  if (fields.boolean_or("rope_interleaved", false)) fields.refuse("rope_interleaved");
}

ModelFamily read_family(const ConfigFields& fields) {
  const std::string type = fields.text_or("model_type", "");
  for (const FamilyName& name : family_names) {
    if (name.model_type != type) continue;
    if (fields.has("architectures")) {
      const Json& list = fields.at("architectures");
      if (!list.is_array()) fields.wrong("architectures", "a list");
      const bool listed = std::any_of(list.begin(), list.end(), [&](const Json& entry) {
        return entry.is_string() && entry.get<std::string>() == name.architecture;
      });
      if (!list.empty() && !listed) {
        fields.refuse("architectures", fmt::format("a model_type of {} needs {}", type, name.architecture));
      }
    }
    return name.family;
  }
  if (!fields.has("model_type")) fail(ErrorKind::input, "lacks the key \"model_type\"", fields.where());
  fields.refuse("model_type", "supported: llama, mistral, qwen2, qwen3");
}

// Refuses keys of a rope description that this kind does not know, so that none is silently without effect.
void check_rope_keys(const ConfigFields& fields, const Json& json,
                     std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : json.items()) {
    if (key == "type" || key == "rope_type" || key == "rope_theta" || value.is_null()) continue;
    if (key == "partial_rotary_factor" && value == Json(1.0)) continue;
    if (std::find(known.begin(), known.end(), key) == known.end()) fields.refuse(key);
  }
}

double yarn_magnitude(double factor, double scale) {
  return factor <= 1 ? 1 : 0.1 * scale * std::log(factor) + 1;
}

void read_yarn(const ConfigFields& fields, const Json& json, RopeScaling& scaling) {
  check_rope_keys(fields, json,
                  {"factor", "original_max_position_embeddings", "beta_fast", "beta_slow", "attention_factor",
                   "mscale", "mscale_all_dim", "truncate"});
  scaling.kind = RopeScaling::Kind::yarn;
  scaling.beta_fast = fields.number_or("beta_fast", 1e-3, 1e6, 32);
  scaling.beta_slow = fields.number_or("beta_slow", 1e-3, 1e6, 1);
  if (!fields.boolean_or("truncate", true)) fields.refuse("truncate");
  if (fields.has("attention_factor")) {
    scaling.attention_factor = fields.number("attention_factor", 1e-3, 1e3);
  } else if (fields.has("mscale") && fields.has("mscale_all_dim")) {
    scaling.attention_factor = yarn_magnitude(scaling.factor, fields.number("mscale", 1e-3, 1e3)) /
                               yarn_magnitude(scaling.factor, fields.number("mscale_all_dim", 1e-3, 1e3));
  } else if (fields.has("mscale") || fields.has("mscale_all_dim")) {
    fields.refuse(fields.has("mscale") ? "mscale" : "mscale_all_dim",
                  "one without the other has no agreed meaning");
  }
}

void read_rope_scaling(const Json& json, const std::string& where, ModelConfig& config) {
  const ConfigFields fields(json, where);
  RopeScaling& scaling = config.rope_scaling;
  for (const auto& [key, value] : json.items()) {
    if (value.is_object())
      fields.refuse(key, "rotary positions that differ between layers are not supported");
  }
  const std::string kind = fields.text_or("rope_type", fields.text_or("type", "default"));
  if (fields.has("type") && fields.text_or("type", "") != kind)
    fields.refuse("type", "it contradicts rope_type");
  if (fields.number_or("partial_rotary_factor", 0, 1, 1) != 1) fields.refuse("partial_rotary_factor");
  config.rope_theta = fields.number_or("rope_theta", 1, 1e12, config.rope_theta);
  if (kind == "default") {
    check_rope_keys(fields, json, {});
    return;
  }
  scaling.original_max_positions =
      fields.integer_or("original_max_position_embeddings", 1, most_positions, config.max_positions);
  if (kind != "linear" && kind != "dynamic" && kind != "llama3" && kind != "yarn") {
    fields.refuse(fields.has("rope_type") ? "rope_type" : "type",
                  "supported: default, linear, dynamic, llama3, yarn");
  }
  scaling.factor = fields.number("factor", 1, 1e6);
  if (kind == "linear") {
    check_rope_keys(fields, json, {"factor", "original_max_position_embeddings"});
    scaling.kind = RopeScaling::Kind::linear;
  } else if (kind == "dynamic") {
    check_rope_keys(fields, json, {"factor", "original_max_position_embeddings"});
    if (config.head_dim < 4) fields.refuse("rope_type", "dynamic scaling needs head_dim over 2");
    scaling.kind = RopeScaling::Kind::dynamic_ntk;
  } else if (kind == "llama3") {
    check_rope_keys(fields, json,
                    {"factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor"});
    scaling.kind = RopeScaling::Kind::llama3;
    scaling.original_max_positions = fields.integer("original_max_position_embeddings", 1, most_positions);
    scaling.low_freq_factor = fields.number("low_freq_factor", 1e-6, 1e6);
    scaling.high_freq_factor = fields.number("high_freq_factor", 1e-6, 1e6);
    if (scaling.high_freq_factor <= scaling.low_freq_factor) {
      fields.wrong("high_freq_factor", "over low_freq_factor");
    }
  } else {
    read_yarn(fields, json, scaling);
  }
}

// rope_scaling of older files; rope_parameters of newer ones, which holds rope_theta too.
void read_rope(const ConfigFields& fields, ModelConfig& config) {
  config.rope_theta = fields.number_or("rope_theta", 1, 1e12, 10000);
  if (fields.has("rope_scaling") && fields.has("rope_parameters") &&
      fields.at("rope_scaling") != fields.at("rope_parameters")) {
    fields.refuse("rope_scaling", "rope_parameters says something else");
  }
  for (std::string_view key : {"rope_parameters", "rope_scaling"}) {
    if (!fields.has(key)) continue;
    read_rope_scaling(fields.at(key), fmt::format("{}: {}", fields.where(), key), config);
    return;
  }
}

// A list of layer kinds decides where it stands; else the family's older switches do.
void read_sliding_window(const ConfigFields& fields, ModelConfig& config) {
  const auto layers = static_cast<std::size_t>(config.layers);
  config.sliding_window.assign(layers, 0);
  const bool qwen = config.family == ModelFamily::qwen2 || config.family == ModelFamily::qwen3;
  if (config.family == ModelFamily::llama) {
    if (fields.has("sliding_window")) fields.refuse("sliding_window", "Llama models have full attention");
    if (fields.boolean_or("use_sliding_window", false)) fields.refuse("use_sliding_window");
  }
  bool used =
      config.family == ModelFamily::mistral || (qwen && fields.boolean_or("use_sliding_window", false));
  // A Mistral file without the key means the window of the first release; null means none.
  std::int64_t window = fields.integer_or("sliding_window", 1, most_positions, 0);
  const bool named_null = window == 0 && fields.key_present("sliding_window");
  if (window == 0 && !named_null) window = 4096;
  used = used && !named_null;
  std::size_t first = 0;
  if (qwen) first = static_cast<std::size_t>(fields.integer_or("max_window_layers", 0, most_positions, 28));
  if (used) {
    for (std::size_t layer = first; layer < layers; ++layer) config.sliding_window[layer] = window;
  }
  if (!fields.has("layer_types")) return;
  const Json& types = fields.at("layer_types");
  if (!types.is_array() || types.size() != layers)
    fields.wrong("layer_types", "a list with one entry per layer");
  for (std::size_t layer = 0; layer < layers; ++layer) {
    if (types[layer] == "full_attention") {
      config.sliding_window[layer] = 0;
    } else if (types[layer] == "sliding_attention") {
      if (!used)
        fields.refuse("layer_types", "it asks for sliding attention, but no sliding_window is in use");
      config.sliding_window[layer] = window;
    } else {
      fields.refuse("layer_types", "supported: full_attention, sliding_attention");
    }
  }
}

void read_tokens(const ConfigFields& fields, ModelConfig& config) {
  const auto token = [&](const Json& value, std::string_view key) {
    if (!value.is_number_integer() || value.get<std::int64_t>() < 0 ||
        value.get<std::int64_t>() >= config.vocabulary) {
      fields.wrong(key, "a token id inside the vocabulary");
    }
    return value.get<std::int64_t>();
  };
  if (fields.has("bos_token_id")) config.bos_token = token(fields.at("bos_token_id"), "bos_token_id");
  if (!fields.has("eos_token_id")) return;
  const Json& eos = fields.at("eos_token_id");
  if (eos.is_array()) {
    for (const Json& value : eos) config.eos_tokens.push_back(token(value, "eos_token_id"));
  } else {
    config.eos_tokens.push_back(token(eos, "eos_token_id"));
  }
}

void read_shape(const ConfigFields& fields, ModelConfig& config) {
  config.vocabulary = fields.integer("vocab_size", 1, most_vocabulary);
  config.hidden = fields.integer("hidden_size", 1, most_width);
  config.intermediate = fields.integer("intermediate_size", 1, most_width);
  config.layers = fields.integer("num_hidden_layers", 1, most_layers);
  config.heads = fields.integer("num_attention_heads", 1, most_width);
  const bool llama = config.family == ModelFamily::llama;
  config.kv_heads = llama ? fields.integer_or("num_key_value_heads", 1, config.heads, config.heads)
                          : fields.integer("num_key_value_heads", 1, config.heads);
  if (config.heads % config.kv_heads != 0)
    fields.wrong("num_key_value_heads", "a divisor of num_attention_heads");
  if (fields.has("head_dim")) {
    config.head_dim = fields.integer("head_dim", 2, 65536);
  } else if (config.family == ModelFamily::qwen3) {
    config.head_dim = 128;
  } else {
    if (config.hidden % config.heads != 0) fields.wrong("hidden_size", "a multiple of num_attention_heads");
    config.head_dim = config.hidden / config.heads;
  }
  if (config.head_dim % 2 != 0) {
    fail(ErrorKind::unsupported,
         fmt::format("head_dim {} is odd, but rotary positions turn pairs", config.head_dim), fields.where());
  }
  if (config.heads * config.head_dim > most_width)
    fields.wrong("num_attention_heads", "a sensible number of heads");
  const std::int64_t usual_positions = llama ? 2048 : config.family == ModelFamily::mistral ? 131072 : 32768;
  config.max_positions = fields.integer_or("max_position_embeddings", 1, most_positions, usual_positions);
}

}  // namespace

ModelConfig ModelConfig::parse(std::string_view json_text, std::string_view where) {
  const Json json = parse_json(json_text, where, {32, std::size_t{16} << 20});
  const ConfigFields fields(json, std::string(where));
  ModelConfig config;
  config.family = read_family(fields);
  config.model_type = fields.text_or("model_type", "");
  refuse_unsupported_keys(json, fields);
  read_shape(fields, config);
  const std::string activation = fields.text_or("hidden_act", "silu");
  if (activation != "silu" && activation != "swish") fields.refuse("hidden_act", "supported: silu");
  config.rms_norm_eps = fields.number_or("rms_norm_eps", 0, 1, 1e-6);
  config.tied_embeddings = fields.boolean_or("tie_word_embeddings", false);

  const bool attention_bias = fields.boolean_or("attention_bias", false);
  const bool mlp_bias = fields.boolean_or("mlp_bias", false);
  switch (config.family) {
    case ModelFamily::llama:
      config.qkv_bias = config.output_bias = attention_bias;
      config.mlp_bias = mlp_bias;
      break;
    case ModelFamily::qwen3:
      config.qkv_bias = config.output_bias = attention_bias;
      break;
    case ModelFamily::qwen2:
      config.qkv_bias = true;
      break;
    case ModelFamily::mistral:
      break;
  }
  if (attention_bias && config.family == ModelFamily::mistral) fields.refuse("attention_bias");
  if (mlp_bias && config.family != ModelFamily::llama) fields.refuse("mlp_bias");
  config.qk_norm = config.family == ModelFamily::qwen3;
  read_rope(fields, config);
  read_sliding_window(fields, config);
  read_tokens(fields, config);
  return config;
}

ModelConfig ModelConfig::load(const std::filesystem::path& model_directory) {
  const std::filesystem::path path = model_directory / "config.json";
  if (!std::filesystem::exists(path)) {
    fail(ErrorKind::input, "holds no config.json", model_directory.string(),
         "give a Hugging Face model directory");
  }
  return parse(read_text_file(path, std::size_t{16} << 20), path.string());
}

std::string linear_name(std::int64_t layer, LinearSlot slot) {
  static constexpr std::array<std::string_view, linear_slots> names = {
      "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
      "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};
  return fmt::format("model.layers.{}.{}.weight", layer, names[static_cast<std::size_t>(slot)]);
}

LinearShape linear_shape(const ModelConfig& config, LinearSlot slot) {
  switch (slot) {
    case LinearSlot::q:
      return {config.heads * config.head_dim, config.hidden};
    case LinearSlot::k:
    case LinearSlot::v:
      return {config.kv_heads * config.head_dim, config.hidden};
    case LinearSlot::o:
      return {config.hidden, config.heads * config.head_dim};
    case LinearSlot::gate:
    case LinearSlot::up:
      return {config.intermediate, config.hidden};
    case LinearSlot::down:
      return {config.hidden, config.intermediate};
  }
  fail(ErrorKind::internal, "unknown linear slot");
}

}  // namespace laconic
