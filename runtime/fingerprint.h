// What a model is, in 16 bytes: XXH3-128 over (name, dtype, shape, bytes) of its tensors sorted by name. It
// does not depend on how the tensors are spread over files.
#pragma once

#include <filesystem>

#include "engine/base/hash.h"
#include "engine/tensor/safetensors.h"

namespace laconic {

// Per tensor: varint name length, name, varint dtype name length, dtype name ("BF16"), varint rank, u64
// sides, bytes.
Hash128 fingerprint(const SafetensorsDirectory& tensors);
Hash128 fingerprint(const std::filesystem::path& model_directory);
// Of what turns text into token ids: names and bytes of the tokenizer's file and its settings.
Hash128 tokenizer_fingerprint(const std::filesystem::path& model_directory);

}  // namespace laconic
