// Small models for the lab's tests: random miniatures of each family, and the reference models.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/random.h"
#include "tests/runtime/reference_model.h"

namespace laconic {

namespace fs = std::filesystem;

// A folder that goes away with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "laconic-lab-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() {
    std::error_code error;
    fs::remove_all(path_, error);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Every linear layer of this Llama has a bias.
inline reference::Description biased_llama() {
  reference::Description d;
  d.qkv_bias = d.output_bias = d.mlp_bias = true;
  return d;
}
inline constexpr const char* biased_llama_keys = "\"attention_bias\": true, \"mlp_bias\": true";

inline std::vector<std::int32_t> random_tokens(int vocabulary, int count, std::uint64_t seed) {
  RandomStream random(seed, "tokens", "lab tests");
  std::vector<std::int32_t> tokens;
  for (int i = 0; i < count; ++i) {
    tokens.push_back(static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(vocabulary))));
  }
  return tokens;
}

// A model of the reference data; nothing without LACONIC_DATA.
inline std::optional<fs::path> reference_model(const std::string& name) {
  const char* data = std::getenv("LACONIC_DATA");
  if (data == nullptr) return std::nullopt;
  return fs::path(data) / "models" / name;
}

}  // namespace laconic
