#include "runtime/fingerprint.h"

#include "engine/base/bytes.h"
#include "engine/base/files.h"

namespace laconic {

Hash128 fingerprint(const SafetensorsDirectory& tensors) {
  StreamingHash128 hash;
  for (const std::string& name : tensors.names()) {
    const TensorView view = tensors.tensor(name);
    ByteWriter head;
    head.text(name);
    head.text(name_of(view.dtype));
    head.varint(view.shape.size());
    for (const std::int64_t side : view.shape) head.u64(static_cast<std::uint64_t>(side));
    hash.update(head.span());
    hash.update(view.span());
  }
  return hash.digest();
}

Hash128 fingerprint(const std::filesystem::path& model_directory) {
  return fingerprint(SafetensorsDirectory(model_directory));
}

Hash128 tokenizer_fingerprint(const std::filesystem::path& model_directory) {
  StreamingHash128 hash;
  std::error_code ignored;
  for (const char* name : {"tokenizer.json", "tokenizer.model", "tokenizer_config.json"}) {
    if (!std::filesystem::exists(model_directory / name, ignored)) continue;
    const MappedFile file(model_directory / name);
    ByteWriter head;
    head.text(name);
    head.varint(file.bytes().size());
    hash.update(head.span());
    hash.update(file.bytes());
  }
  return hash.digest();
}

}  // namespace laconic
