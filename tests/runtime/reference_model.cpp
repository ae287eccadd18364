#include "reference_model.h"

#include <cmath>
#include <fstream>

#include "engine/base/random.h"
#include "engine/tensor/safetensors.h"

namespace laconic::reference {
namespace {

constexpr double pi = 3.14159265358979323846;
using Matrix = std::vector<std::vector<double>>;  // [rows][columns]

std::string layer_key(int layer, const std::string& rest) {
  return "model.layers." + std::to_string(layer) + "." + rest;
}

// y = W x + b, W [out, in].
Matrix linear(const Matrix& x, const Weights& weights, const std::string& name, bool bias) {
  const std::vector<double>& w = weights.at(name + ".weight");
  const std::size_t in = x[0].size(), out = w.size() / in;
  Matrix y(x.size(), std::vector<double>(out));
  for (std::size_t t = 0; t < x.size(); ++t) {
    for (std::size_t o = 0; o < out; ++o) {
      double sum = bias ? weights.at(name + ".bias")[o] : 0;
      for (std::size_t i = 0; i < in; ++i) sum += w[o * in + i] * x[t][i];
      y[t][o] = sum;
    }
  }
  return y;
}

std::vector<double> rms(const std::vector<double>& x, const std::vector<double>& weight, double eps) {
  double mean = 0;
  for (double v : x) mean += v * v / static_cast<double>(x.size());
  std::vector<double> y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] / std::sqrt(mean + eps) * weight[i];
  return y;
}

// Angle of pair `pair` at `position`, and the factor on sine and cosine.
double angle(const Description& d, int position, int pair, int sequence) {
  const double dim = d.head_dim, exponent = 2.0 * pair / dim;
  if (d.scaling == "linear") return position / d.factor / std::pow(d.theta, exponent);
  if (d.scaling == "dynamic") {
    double theta = d.theta;
    if (sequence > d.original_positions) {
      theta *= std::pow(d.factor * sequence / d.original_positions - (d.factor - 1), dim / (dim - 2));
    }
    return position / std::pow(theta, exponent);
  }
  const double frequency = 1 / std::pow(d.theta, exponent);
  if (d.scaling == "llama3") {
    const double wavelength = 2 * pi / frequency;
    const double longest = d.original_positions / d.low_freq, shortest = d.original_positions / d.high_freq;
    if (wavelength < shortest) return position * frequency;
    if (wavelength > longest) return position * frequency / d.factor;
    const double smooth = (d.original_positions / wavelength - d.low_freq) / (d.high_freq - d.low_freq);
    return position * ((1 - smooth) * frequency / d.factor + smooth * frequency);
  }
  if (d.scaling == "yarn") {
    const auto boundary = [&](double rotations) {
      return dim * std::log(d.original_positions / (rotations * 2 * pi)) / (2 * std::log(d.theta));
    };
    double low = std::floor(boundary(d.beta_fast)), high = std::ceil(boundary(d.beta_slow));
    if (low < 0) low = 0;
    if (high > dim - 1) high = dim - 1;
    if (low == high) high += 0.001;
    double ramp = (pair - low) / (high - low);
    ramp = ramp < 0 ? 0 : ramp > 1 ? 1 : ramp;
    return position * (frequency / d.factor * ramp + frequency * (1 - ramp));
  }
  return position * frequency;
}

double amplitude(const Description& d) {
  if (d.scaling != "yarn") return 1;
  return d.attention_factor > 0 ? d.attention_factor : 0.1 * std::log(d.factor) + 1;
}

void turn(const Description& d, double* head, int position, int sequence) {
  const int half = d.head_dim / 2;
  for (int i = 0; i < half; ++i) {
    const double a = angle(d, position, i, sequence), c = amplitude(d) * std::cos(a),
                 s = amplitude(d) * std::sin(a);
    const double x = head[i], y = head[i + half];
    head[i] = x * c - y * s;
    head[i + half] = x * s + y * c;
  }
}

Matrix attention(const Description& d, const Weights& weights, int layer, const Matrix& x) {
  Matrix q = linear(x, weights, layer_key(layer, "self_attn.q_proj"), d.qkv_bias);
  Matrix k = linear(x, weights, layer_key(layer, "self_attn.k_proj"), d.qkv_bias);
  const Matrix v = linear(x, weights, layer_key(layer, "self_attn.v_proj"), d.qkv_bias);
  const int tokens = static_cast<int>(x.size());
  const auto prepare = [&](Matrix& states, int heads, const std::string& norm) {
    for (int t = 0; t < tokens; ++t) {
      for (int h = 0; h < heads; ++h) {
        double* head = states[t].data() + h * d.head_dim;
        if (d.qk_norm) {
          const auto y =
              rms(std::vector<double>(head, head + d.head_dim), weights.at(layer_key(layer, norm)), d.eps);
          std::copy(y.begin(), y.end(), head);
        }
        turn(d, head, t, tokens);
      }
    }
  };
  prepare(q, d.heads, "self_attn.q_norm.weight");
  prepare(k, d.kv_heads, "self_attn.k_norm.weight");
  const int window = d.window.empty() ? 0 : d.window[layer];
  Matrix mixed(x.size(), std::vector<double>(static_cast<std::size_t>(d.heads * d.head_dim)));
  for (int t = 0; t < tokens; ++t) {
    for (int h = 0; h < d.heads; ++h) {
      const int kv = h / (d.heads / d.kv_heads);
      std::vector<double> weight(x.size(), 0.0);
      double total = 0;
      for (int s = 0; s <= t; ++s) {
        if (window > 0 && t - s >= window) continue;
        double dot = 0;
        for (int i = 0; i < d.head_dim; ++i) dot += q[t][h * d.head_dim + i] * k[s][kv * d.head_dim + i];
        weight[s] = std::exp(dot / std::sqrt(static_cast<double>(d.head_dim)));
        total += weight[s];
      }
      for (int s = 0; s <= t; ++s) {
        for (int i = 0; i < d.head_dim; ++i) {
          mixed[t][h * d.head_dim + i] += weight[s] / total * v[s][kv * d.head_dim + i];
        }
      }
    }
  }
  return linear(mixed, weights, layer_key(layer, "self_attn.o_proj"), d.output_bias);
}

Matrix mlp(const Description& d, const Weights& weights, int layer, const Matrix& x) {
  Matrix gate = linear(x, weights, layer_key(layer, "mlp.gate_proj"), d.mlp_bias);
  const Matrix up = linear(x, weights, layer_key(layer, "mlp.up_proj"), d.mlp_bias);
  for (std::size_t t = 0; t < x.size(); ++t) {
    for (std::size_t i = 0; i < gate[t].size(); ++i)
      gate[t][i] = gate[t][i] / (1 + std::exp(-gate[t][i])) * up[t][i];
  }
  return linear(gate, weights, layer_key(layer, "mlp.down_proj"), d.mlp_bias);
}

Matrix rms_rows(const Matrix& x, const std::vector<double>& weight, double eps) {
  Matrix y;
  for (const auto& row : x) y.push_back(rms(row, weight, eps));
  return y;
}

std::string config_text(const Description& d, DType dtype, const std::string& extra) {
  static const std::map<std::string, std::string> architecture = {{"llama", "LlamaForCausalLM"},
                                                                  {"mistral", "MistralForCausalLM"},
                                                                  {"qwen2", "Qwen2ForCausalLM"},
                                                                  {"qwen3", "Qwen3ForCausalLM"}};
  std::string text =
      "{\"architectures\": [\"" + architecture.at(d.family) + "\"], \"model_type\": \"" + d.family +
      "\", \"vocab_size\": " + std::to_string(d.vocabulary) +
      ", \"hidden_size\": " + std::to_string(d.hidden) +
      ", \"intermediate_size\": " + std::to_string(d.intermediate) +
      ", \"num_hidden_layers\": " + std::to_string(d.layers) +
      ", \"num_attention_heads\": " + std::to_string(d.heads) +
      ", \"num_key_value_heads\": " + std::to_string(d.kv_heads) +
      ", \"max_position_embeddings\": " + std::to_string(d.max_positions) +
      ", \"rms_norm_eps\": 1e-5, \"hidden_act\": \"silu\", \"bos_token_id\": 1, \"eos_token_id\": 2" +
      ", \"tie_word_embeddings\": " + (d.tied ? "true" : "false") + ", \"torch_dtype\": \"" +
      (dtype == DType::f32 ? "float32" : "bfloat16") + "\"";
  if (d.head_dim * d.heads != d.hidden) text += ", \"head_dim\": " + std::to_string(d.head_dim);
  return text + (extra.empty() ? "" : ", " + extra) + "}";
}

}  // namespace

std::map<std::string, std::vector<std::int64_t>> shapes(const Description& d) {
  std::map<std::string, std::vector<std::int64_t>> result;
  result["model.embed_tokens.weight"] = {d.vocabulary, d.hidden};
  if (!d.tied) result["lm_head.weight"] = {d.vocabulary, d.hidden};
  result["model.norm.weight"] = {d.hidden};
  const std::int64_t q = d.heads * d.head_dim, kv = d.kv_heads * d.head_dim;
  for (int layer = 0; layer < d.layers; ++layer) {
    const auto add = [&](const std::string& name, std::int64_t out, std::int64_t in, bool bias) {
      result[layer_key(layer, name + ".weight")] = {out, in};
      if (bias) result[layer_key(layer, name + ".bias")] = {out};
    };
    add("self_attn.q_proj", q, d.hidden, d.qkv_bias);
    add("self_attn.k_proj", kv, d.hidden, d.qkv_bias);
    add("self_attn.v_proj", kv, d.hidden, d.qkv_bias);
    add("self_attn.o_proj", d.hidden, q, d.output_bias);
    add("mlp.gate_proj", d.intermediate, d.hidden, d.mlp_bias);
    add("mlp.up_proj", d.intermediate, d.hidden, d.mlp_bias);
    add("mlp.down_proj", d.hidden, d.intermediate, d.mlp_bias);
    result[layer_key(layer, "input_layernorm.weight")] = {d.hidden};
    result[layer_key(layer, "post_attention_layernorm.weight")] = {d.hidden};
    if (d.qk_norm) {
      result[layer_key(layer, "self_attn.q_norm.weight")] = {d.head_dim};
      result[layer_key(layer, "self_attn.k_norm.weight")] = {d.head_dim};
    }
  }
  return result;
}

Weights random_weights(const Description& d, std::uint64_t seed, DType dtype) {
  Weights weights;
  for (const auto& [name, shape] : shapes(d)) {
    std::int64_t size = 1;
    for (std::int64_t side : shape) size *= side;
    const bool norm = name.find("norm") != std::string::npos;
    // Wide enough that attention is far from uniform and that every feature changes the logits by much more
    // than 1e-4.
    const double spread = shape.size() == 2 ? 1.6 / std::sqrt(static_cast<double>(shape[1])) : 0.3;
    const RandomStream random(seed, "miniature", name);
    for (std::int64_t i = 0; i < size; ++i) {
      const double value = (norm ? 1.0 : 0.0) + spread * random.gaussian_at(static_cast<std::uint64_t>(i));
      weights[name].push_back(rounded_to(dtype, static_cast<float>(value)));
    }
  }
  return weights;
}

std::vector<double> logits(const Description& d, const Weights& weights, const std::vector<int>& tokens) {
  Matrix hidden;
  const std::vector<double>& embedding = weights.at("model.embed_tokens.weight");
  for (int token : tokens) {
    hidden.emplace_back(embedding.begin() + token * d.hidden, embedding.begin() + (token + 1) * d.hidden);
  }
  const auto add = [&](const Matrix& change) {
    for (std::size_t t = 0; t < hidden.size(); ++t) {
      for (std::size_t i = 0; i < hidden[t].size(); ++i) hidden[t][i] += change[t][i];
    }
  };
  for (int layer = 0; layer < d.layers; ++layer) {
    add(attention(d, weights, layer,
                  rms_rows(hidden, weights.at(layer_key(layer, "input_layernorm.weight")), d.eps)));
    add(mlp(d, weights, layer,
            rms_rows(hidden, weights.at(layer_key(layer, "post_attention_layernorm.weight")), d.eps)));
  }
  const Matrix last = rms_rows(hidden, weights.at("model.norm.weight"), d.eps);
  const Matrix out = linear(last, weights, d.tied ? "model.embed_tokens" : "lm_head", false);
  std::vector<double> flat;
  for (const auto& row : out) flat.insert(flat.end(), row.begin(), row.end());
  return flat;
}

void write_model(const std::filesystem::path& directory, const Description& d, const Weights& weights,
                 DType dtype, const std::string& extra, int shards) {
  std::filesystem::create_directories(directory);
  std::ofstream(directory / "config.json") << config_text(d, dtype, extra);
  const auto all = shapes(d);
  std::vector<Tensor> tensors;
  std::vector<std::vector<SafetensorsItem>> files(static_cast<std::size_t>(shards));
  std::string index;
  tensors.reserve(weights.size());
  for (const auto& [name, values] : weights) {
    const std::vector<float> narrow(values.begin(), values.end());
    const auto known = all.find(name);
    const Shape shape = known != all.end() ? known->second : Shape{static_cast<std::int64_t>(values.size())};
    tensors.push_back(Tensor::from_f32(shape, narrow, dtype));
    const std::size_t shard = tensors.size() % static_cast<std::size_t>(shards);
    files[shard].push_back({name, tensors.back().view()});
    index += (index.empty() ? "" : ", ") +
             ("\"" + name + "\": \"part-" + std::to_string(shard) + ".safetensors\"");
  }
  if (shards == 1) {
    write_safetensors(directory / "model.safetensors", files[0]);
    return;
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    write_safetensors(directory / ("part-" + std::to_string(i) + ".safetensors"), files[i]);
  }
  std::ofstream(directory / "model.safetensors.index.json") << "{\"weight_map\": {" << index << "}}";
}

}  // namespace laconic::reference
