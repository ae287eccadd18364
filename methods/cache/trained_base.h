// What a cache method has learned about one model: tensors and facts in `kv/<name>.safetensors`, below the
// model's directory or another one. The file names the model it belongs to by its fingerprint and carries a
// checksum of everything in it.
//
// Metadata, all text: laconic_kv (format version), method, model (fingerprint in hex), made (the parameters
// it was made with), hash (XXH3-128 over the other metadata and the tensors), and facts of the method.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor/safetensors.h"
#include "methods/cache/cache_method.h"

namespace laconic {

std::filesystem::path base_file(const std::filesystem::path& directory, std::string_view name);

// Tensors that will be stored, in order.
class BaseWriter {
 public:
  // Error(input) when a number is not finite or does not fit.
  void add(std::string name, Shape shape, const std::vector<float>& values, DType dtype = DType::f16);
  void add_integers(std::string name, const std::vector<std::int32_t>& values);
  void add_bytes(std::string name, ByteSpan bytes);  // U8
  void fact(std::string name, std::string text) { facts_[std::move(name)] = std::move(text); }
  // Writes the file whole or not at all; its size. Error(usage) when it is there and not to be replaced.
  std::uint64_t write(const std::filesystem::path& file, std::string_view method, std::string_view model,
                      std::string_view made, bool replace) const;

 private:
  std::vector<std::pair<std::string, Tensor>> tensors_;
  std::map<std::string, std::string> facts_;
};

class TrainedBase {
 public:
  // The base that a cache of `method` needs: kv/<name>.safetensors of request.bases, else of request.model.
  // Error(input) that says how to make one where there is none, where it belongs to another model or method;
  // Error(corrupt) where it is damaged.
  TrainedBase(const CacheRequest& request, std::string_view method, std::string_view name);
  // A file, whatever model it belongs to.
  TrainedBase(const std::filesystem::path& file, std::string_view method);

  const std::string& made() const { return fact("made"); }
  const std::string& fact(std::string_view name) const;  // Error(input) when missing
  bool has(std::string_view tensor) const { return file_->find(tensor) != nullptr; }
  // Error(input) naming the file where the tensor is missing or has another shape.
  TensorView tensor(std::string_view name, const Shape& shape) const;
  TensorView tensor(std::string_view name) const;
  std::vector<float> numbers(std::string_view name, const Shape& shape) const;
  std::vector<std::int32_t> integers(std::string_view name) const;
  std::uint64_t bytes() const { return file_->file().bytes().size(); }
  std::uint64_t identity() const { return identity_; }
  const std::filesystem::path& path() const { return file_->file().path(); }
  // Keeps the mapped file alive for views into it.
  std::shared_ptr<const SafetensorsFile> file() const { return file_; }

 private:
  void open(const std::filesystem::path& file, std::string_view method);

  std::shared_ptr<const SafetensorsFile> file_;
  std::uint64_t identity_ = 0;
};

}  // namespace laconic
