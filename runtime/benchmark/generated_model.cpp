#include "runtime/benchmark/generated_model.h"

#include <fmt/format.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/files.h"
#include "engine/base/random.h"
#include "engine/base/threads.h"
#include "engine/tensor/safetensors.h"
#include "runtime/model_config.h"

namespace laconic {
namespace {

std::string config_text(const GeneratedModel& model) {
  return fmt::format(
      "{{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": {},\n"
      " \"hidden_size\": {}, \"intermediate_size\": {}, \"num_hidden_layers\": {}, \"num_attention_heads\": "
      "{},\n"
      " \"num_key_value_heads\": {}, \"max_position_embeddings\": {}, \"rms_norm_eps\": 1e-05,\n"
      " \"rope_theta\": 10000.0, \"hidden_act\": \"silu\", \"tie_word_embeddings\": {},\n"
      " \"bos_token_id\": 1, \"eos_token_id\": 2}}\n",
      model.vocabulary, model.hidden, model.intermediate, model.layers, model.heads, model.kv_heads,
      model.context, model.tied);
}

std::vector<SafetensorsSlot> slots_of(const GeneratedModel& model) {
  const ModelConfig config = ModelConfig::parse(config_text(model), "generated model");
  std::vector<SafetensorsSlot> slots;
  slots.push_back({"model.embed_tokens.weight", model.dtype, {model.vocabulary, model.hidden}});
  for (std::int64_t layer = 0; layer < model.layers; ++layer) {
    const std::string prefix = fmt::format("model.layers.{}.", layer);
    slots.push_back({prefix + "input_layernorm.weight", model.dtype, {model.hidden}});
    slots.push_back({prefix + "post_attention_layernorm.weight", model.dtype, {model.hidden}});
    for (int slot = 0; slot < linear_slots; ++slot) {
      const LinearShape shape = linear_shape(config, static_cast<LinearSlot>(slot));
      slots.push_back(
          {linear_name(layer, static_cast<LinearSlot>(slot)), model.dtype, {shape.out, shape.in}});
    }
  }
  slots.push_back({"model.norm.weight", model.dtype, {model.hidden}});
  if (!model.tied) slots.push_back({"lm_head.weight", model.dtype, {model.vocabulary, model.hidden}});
  return slots;
}

Tensor weights_of(const SafetensorsSlot& slot, std::uint64_t seed) {
  Tensor tensor(slot.dtype, slot.shape);
  const bool norm = slot.shape.size() == 1;
  const float spread = norm ? 0.2f : std::sqrt(12.0f / static_cast<float>(slot.shape.back()));
  parallel_tiles(tensor.elements(), 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    RandomStream random(seed, "generated model", slot.name, static_cast<std::uint64_t>(begin));
    std::vector<float> values(static_cast<std::size_t>(end - begin));
    for (float& value : values) value = (norm ? 1.0f : 0.0f) + spread * (random.uniform() - 0.5f);
    convert_from_f32(values, slot.dtype,
                     tensor.data() + static_cast<std::size_t>(begin) * size_of(slot.dtype));
  });
  return tensor;
}

}  // namespace

std::uint64_t write_generated_model(const std::filesystem::path& directory, const GeneratedModel& model,
                                    const ProgressListener& progress) {
  std::filesystem::create_directories(directory);
  write_file(directory / "config.json", std::string_view(config_text(model)));
  std::vector<std::vector<SafetensorsSlot>> shards(1);
  std::uint64_t in_shard = 0, total = 0;
  const std::vector<SafetensorsSlot> slots = slots_of(model);
  for (const SafetensorsSlot& slot : slots) {
    if (in_shard > 0 && in_shard + slot.bytes() > model.shard_limit) {
      shards.emplace_back();
      in_shard = 0;
    }
    in_shard += slot.bytes();
    total += slot.bytes();
    shards.back().push_back(slot);
  }
  Progress done(progress, "generating a model", static_cast<std::int64_t>(slots.size()));
  std::string map;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    SafetensorsWriter writer(directory / name, shards[i], {{"format", "pt"}});
    for (const SafetensorsSlot& slot : shards[i]) {
      writer.append(weights_of(slot, model.seed).span());
      map += fmt::format("{}\n  \"{}\": \"{}\"", map.empty() ? "" : ",", slot.name, name);
      done.advance();
    }
    writer.commit();
  }
  write_file(directory / "model.safetensors.index.json",
             std::string_view(fmt::format(
                 "{{\"metadata\": {{\"total_size\": {}}}, \"weight_map\": {{{}}}}}\n", total, map)));
  return total;
}

}  // namespace laconic
