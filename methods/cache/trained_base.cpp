#include "methods/cache/trained_base.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "runtime/fingerprint.h"

namespace laconic {
namespace {

constexpr std::string_view base_format = "1";

// Over everything but the hash itself.
Hash128 hash_of_base(const std::map<std::string, std::string>& metadata,
                     const std::vector<SafetensorsItem>& items) {
  StreamingHash128 hash;
  for (const auto& [key, value] : metadata) {
    if (key == "hash") continue;
    ByteWriter line;
    line.text(key);
    line.text(value);
    hash.update(line.span());
  }
  for (const SafetensorsItem& item : items) {
    ByteWriter head;
    head.text(item.name);
    head.text(name_of(item.view.dtype));
    head.varint(item.view.shape.size());
    for (const std::int64_t side : item.view.shape) head.u64(static_cast<std::uint64_t>(side));
    hash.update(head.span());
    hash.update(item.view.span());
  }
  return hash.digest();
}

std::string how_to_make(const CacheRequest& request, std::string_view method) {
  return fmt::format("make one: laconic kv train {} -m {} --text FILE {}",
                     request.model.empty() ? std::string("MODEL") : request.model.string(), method,
                     request.bases.empty() ? std::string("--in-place") : "-o " + request.bases.string());
}

}  // namespace

std::filesystem::path base_file(const std::filesystem::path& directory, std::string_view name) {
  return directory / "kv" / (std::string(name) + ".safetensors");
}

void BaseWriter::add(std::string name, Shape shape, const std::vector<float>& values, DType dtype) {
  require_finite(values, name);
  Tensor tensor = Tensor::from_f32(std::move(shape), values, dtype);
  for (const float value : tensor.view().to_f32()) {
    if (!std::isfinite(value))
      fail(ErrorKind::input, "has a number that is too large for 16 bits", name,
           "calibrate with more text, or keep fewer numbers per token");
  }
  tensors_.emplace_back(std::move(name), std::move(tensor));
}

void BaseWriter::add_integers(std::string name, const std::vector<std::int32_t>& values) {
  Tensor tensor(DType::i32, {static_cast<std::int64_t>(values.size())});
  std::memcpy(tensor.data(), values.data(), tensor.bytes());
  tensors_.emplace_back(std::move(name), std::move(tensor));
}

void BaseWriter::add_bytes(std::string name, ByteSpan bytes) {
  Tensor tensor(DType::u8, {static_cast<std::int64_t>(bytes.size())});
  std::memcpy(tensor.data(), bytes.data(), bytes.size());
  tensors_.emplace_back(std::move(name), std::move(tensor));
}

std::uint64_t BaseWriter::write(const std::filesystem::path& file, std::string_view method,
                                std::string_view model, std::string_view made, bool replace) const {
  if (!replace && std::filesystem::exists(file))
    fail(ErrorKind::usage, "is there already", file.string(), "--force replaces it, --name keeps both");
  std::map<std::string, std::string> metadata = facts_;
  metadata["laconic_kv"] = base_format;
  metadata["method"] = method;
  metadata["model"] = model;
  metadata["made"] = made;
  std::vector<SafetensorsItem> items;
  for (const auto& [name, tensor] : tensors_) items.push_back({name, tensor.view()});
  metadata["hash"] = to_hex(hash_of_base(metadata, items));
  std::error_code error;
  std::filesystem::create_directories(file.parent_path(), error);
  if (error) fail(ErrorKind::io, "cannot be created: " + error.message(), file.parent_path().string());
  return write_safetensors(file, items, metadata);
}

TrainedBase::TrainedBase(const CacheRequest& request, std::string_view method, std::string_view name) {
  const std::filesystem::path& directory = request.bases.empty() ? request.model : request.bases;
  const std::filesystem::path file = base_file(directory, name);
  if (directory.empty() || !std::filesystem::exists(file)) {
    fail(ErrorKind::input,
         fmt::format("{} needs a base that is trained for the model, and there is none", method),
         directory.empty() ? std::string("--cache") : file.string(), how_to_make(request, method));
  }
  open(file, method);
  if (request.model.empty()) return;
  if (const std::string own = to_hex(fingerprint(request.model)); fact("model") != own) {
    fail(ErrorKind::input,
         fmt::format("belongs to another model (fingerprint {}, this one has {})", fact("model"), own),
         file.string(), how_to_make(request, method));
  }
}

TrainedBase::TrainedBase(const std::filesystem::path& file, std::string_view method) { open(file, method); }

void TrainedBase::open(const std::filesystem::path& file, std::string_view method) {
  file_ = std::make_shared<const SafetensorsFile>(file);
  if (const auto& metadata = file_->header().metadata; !metadata.contains("laconic_kv"))
    fail(ErrorKind::input, "is no base of a cache method", file.string());
  if (fact("laconic_kv") != base_format) {
    fail(ErrorKind::unsupported,
         fmt::format("has format {}, this version reads {}", fact("laconic_kv"), base_format), file.string(),
         "make it again, or use a newer version");
  }
  if (fact("method") != method)
    fail(ErrorKind::input, fmt::format("is a base of {}, not of {}", fact("method"), method), file.string());
  std::vector<SafetensorsItem> items;
  for (const SafetensorsEntry& entry : file_->header().entries)
    items.push_back({entry.name, file_->view(entry)});
  const Hash128 hash = hash_of_base(file_->header().metadata, items);
  if (fact("hash") != to_hex(hash))
    fail(ErrorKind::corrupt, "its checksum does not match", file.string(), "make it again");
  for (int i = 0; i < 8; ++i) identity_ = identity_ << 8 | hash[static_cast<std::size_t>(i)];
}

const std::string& TrainedBase::fact(std::string_view name) const {
  const auto& metadata = file_->header().metadata;
  const auto at = metadata.find(std::string(name));
  if (at == metadata.end())
    fail(ErrorKind::input, fmt::format("does not say \"{}\"", name), path().string(), "make it again");
  return at->second;
}

TensorView TrainedBase::tensor(std::string_view name) const { return file_->tensor(name); }

TensorView TrainedBase::tensor(std::string_view name, const Shape& shape) const {
  TensorView view = file_->tensor(name);
  if (view.shape != shape) {
    fail(ErrorKind::input,
         fmt::format("{} has shape {} and not {}", name, to_string(view.shape), to_string(shape)),
         path().string(), "it belongs to a model of another shape");
  }
  return view;
}

std::vector<float> TrainedBase::numbers(std::string_view name, const Shape& shape) const {
  std::vector<float> values = tensor(name, shape).to_f32();
  require_finite(values, path().string() + " " + std::string(name));
  return values;
}

std::vector<std::int32_t> TrainedBase::integers(std::string_view name) const {
  const TensorView view = file_->tensor(name);
  if (view.dtype != DType::i32) fail(ErrorKind::input, fmt::format("{} is not I32", name), path().string());
  std::vector<std::int32_t> values(static_cast<std::size_t>(view.elements()));
  std::memcpy(values.data(), view.data, view.bytes());
  return values;
}

}  // namespace laconic
