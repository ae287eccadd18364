// A model directory of a few tensors, and payloads for some of them.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/random.h"
#include "engine/codec/uniform_payload.h"
#include "engine/tensor/safetensors.h"

namespace laconic {

namespace fs = std::filesystem;

// A folder that goes away with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "laconic-test-XXXXXX").string();
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

inline Tensor random_tensor(const std::string& name, Shape shape, DType dtype) {
  RandomStream random(7, "small model", name);
  Tensor tensor(dtype, std::move(shape));
  if (is_real(dtype)) {
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    for (float& value : values) value = random.gaussian();
    convert_from_f32(values, dtype, tensor.data());
  } else {
    for (std::size_t i = 0; i < tensor.bytes(); ++i) tensor.data()[i] = static_cast<std::byte>(random.bits());
  }
  return tensor;
}

inline void make_small_model(const fs::path& directory) {
  fs::create_directories(directory / "assets" / "deep");
  write_file(directory / "config.json", std::string_view("{\"model_type\": \"llama\"}\n"));
  write_file(directory / "tokenizer.model", std::string_view("\x01\x02\x00\xff pieces", 11));
  write_file(directory / "assets" / "deep" / "note.txt", std::string_view("kept"));
  write_file(directory / "empty.txt", std::string_view(""));
  write_file(directory / "pytorch_model.bin", std::string_view("the same weights again"));
  write_file(directory / "other.safetensors", std::string_view("not part of the model"));
  std::map<std::string, Tensor> tensors;
  const auto add = [&](const std::string& name, Shape shape, DType dtype) {
    tensors.emplace(name, random_tensor(name, std::move(shape), dtype));
  };
  add("a.norm.weight", {7}, DType::bf16);
  add("b.bias", {3}, DType::f32);
  add("c.table", {4, 16}, DType::f16);
  add("d.counts", {3}, DType::i64);
  add("e.empty", {0, 5}, DType::f32);
  add("layers.0.weight", {6, 20}, DType::bf16);
  add("layers.1.weight", {5, 33}, DType::f32);
  add("layers.2.weight", {2, 8}, DType::f16);
  std::vector<SafetensorsItem> items;
  for (const auto& [name, tensor] : tensors) items.push_back({name, tensor.view()});
  write_safetensors(directory / "model.safetensors", items, {{"format", "pt"}});
}

inline Payload quantized(const SafetensorsDirectory& model, const std::string& name, int bits) {
  const TensorView view = model.tensor(name);
  const std::vector<float> weights = view.to_f32();
  UniformMatrix matrix;
  matrix.parameters = fit_grid(weights.data(), matrix_rows(view.shape), matrix_columns(view.shape),
                               {GridKind::affine_min, bits, 16});
  matrix.codes = quantize(weights.data(), matrix.parameters);
  return uniform_payload(matrix, "uniform(bits=" + std::to_string(bits) + ",group=16)", view.dtype,
                         view.shape);
}

// What the payload of quantized() decodes to.
inline std::vector<float> expected_weights(const Payload& payload) {
  const UniformMatrix matrix = parse_uniform(payload);
  return dequantize(matrix.codes, matrix.parameters);
}

inline std::map<std::string, std::string> contents_of(const fs::path& directory) {
  std::map<std::string, std::string> result;
  for (const auto& item : fs::recursive_directory_iterator(directory)) {
    if (item.is_regular_file()) {
      result[item.path().lexically_relative(directory).generic_string()] = read_text_file(item.path());
    }
  }
  return result;
}

}  // namespace laconic
