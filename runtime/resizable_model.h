// A progressive model (docs/format.md) whose size changes while it runs. Its layers look up one immutable
// table of blocks, which resize() replaces as a whole: a model between two tokens is at one size or the
// other, never in between. Continuing a KV cache after a resize gives exactly the logits that a fresh load at
// that size gives from the same cache. Blocks that are dropped leave memory when no running product names
// them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "runtime/transformer.h"

namespace laconic {

class ResizableModel {
 public:
  // Error(usage) for a directory that is not a progressive model, or a size below the smallest possible.
  // `notice` as in LoadOptions.
  explicit ResizableModel(const std::filesystem::path& directory, std::optional<std::uint64_t> size = {},
                          const std::function<void(std::string_view)>& notice = {});
  ~ResizableModel();
  ResizableModel(ResizableModel&&) noexcept;

  // Copies follow every resize, too.
  const Transformer& model() const;
  // The longest prefix of the blocks that is loaded from at most `size` bytes of .safetensors files. To be
  // called when no product is wanted half at the old size: GenerationOptions::between_tokens. Blocks that
  // come are compared with the manifest first. On an error the model stays as it is.
  void resize(std::uint64_t size);

  std::uint64_t loaded_bytes() const;  // of .safetensors files, for the current prefix
  std::uint64_t smallest_bytes() const;
  std::uint64_t largest_bytes() const;
  std::size_t blocks() const;  // of the current prefix

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace laconic
