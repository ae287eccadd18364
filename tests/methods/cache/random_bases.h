// Bases of cache methods for shapes without a model: random, in a temporary folder of their own.
#pragma once

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "engine/base/random.h"
#include "methods/cache/cskv/latent_map.h"
#include "methods/cache/matryoshkakv/rotated_map.h"
#include "methods/cache/trained_base.h"
#include "runtime/rope.h"

namespace laconic {

class RandomBases {
 public:
  explicit RandomBases(const KvShape& shape, std::uint64_t seed = 1) : shape_(shape), seed_(seed) {
    static int made = 0;
    directory_ =
        std::filesystem::temp_directory_path() / fmt::format("laconic-bases-{}-{}", getpid(), made++);
  }
  ~RandomBases() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  const std::filesystem::path& directory() const { return directory_; }

  std::vector<float> numbers(const std::string& name, std::int64_t count, float deviation) const {
    RandomStream random(seed_, "random bases", name);
    std::vector<float> values(static_cast<std::size_t>(count));
    for (float& value : values) value = deviation * random.gaussian();
    return values;
  }

  // Ranks of keys and values per KV head.
  void cskv(std::int64_t key_rank, std::int64_t value_rank, bool nested = true, bool bias = false,
            const std::string& name = "cskv") const {
    BaseWriter writer;
    const std::int64_t outputs = shape_.kv_heads * shape_.head_dim;
    for (std::int64_t layer = 0; layer < shape_.layers; ++layer) {
      for (const KvSide side : {KvSide::keys, KvSide::values}) {
        const std::int64_t rank = shape_.kv_heads * (side == KvSide::keys ? key_rank : value_rank);
        const auto add = [&](const char* part, Shape shape, float deviation) {
          const std::string full = cskv::latent_name(layer, side, part);
          writer.add(full, shape, numbers(full, element_count(shape), deviation));
        };
        add("down", {rank, shape_.hidden}, 0.2f);
        add("up", {outputs, rank}, 0.3f);
        if (bias) add("bias", {outputs}, 0.5f);
      }
    }
    writer.fact("nested", nested ? "true" : "false");
    writer.write(base_file(directory_, name), "cskv", "none", "cskv", true);
  }

  void matryoshka(const std::vector<std::int32_t>& order = {},
                  const std::string& name = "matryoshkakv") const {
    BaseWriter writer;
    const std::int64_t d = shape_.head_dim;
    for (std::int64_t layer = 0; layer < shape_.layers; ++layer) {
      for (const KvSide side : {KvSide::keys, KvSide::values}) {
        const std::string free = matryoshkakv::rotation_name(layer, side, "free"),
                          mean = matryoshkakv::rotation_name(layer, side, "mean");
        writer.add(free, {shape_.kv_heads, d * (d - 1) / 2},
                   numbers(free, shape_.kv_heads * d * (d - 1) / 2, 0.3f));
        writer.add(mean, {shape_.kv_heads, d}, numbers(mean, shape_.kv_heads * d, 0.5f));
      }
    }
    if (!order.empty()) writer.add_integers("rank_order", order);
    writer.write(base_file(directory_, name), "matryoshkakv", "none", "matryoshkakv", true);
  }

 private:
  KvShape shape_;
  std::uint64_t seed_;
  std::filesystem::path directory_;
};

// A rotary table for heads of this width.
inline std::shared_ptr<const RopeTable> rope_of(std::int64_t head_dim) {
  ModelConfig config;
  config.head_dim = head_dim;
  config.max_positions = 512;
  return std::make_shared<RopeTable>(config);
}

}  // namespace laconic
