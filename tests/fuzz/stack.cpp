// Any text as what a progressive model says about its stack, in the base and in a shard.
#include <cstdlib>

#include "runtime/artifact/stack_layout.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto refuses = [](auto&& call) {
    try {
      call();
    } catch (const laconic::Error& error) {
      if (error.kind() == laconic::ErrorKind::internal) std::abort();
    }
  };
  refuses([&] {
    const auto metadata = laconic::StackMetadata::parse(text, "fuzz");
    // What is accepted is written again in the same words.
    if (laconic::StackMetadata::parse(metadata.text(), "fuzz").text() != metadata.text()) std::abort();
    for (const auto& [name, forms] : metadata.tensors) {
      for (const auto& form : forms) {
        if (laconic::block_bytes(form) % laconic::field_alignment != 0) std::abort();
      }
    }
  });
  refuses([&] {
    const auto metadata = laconic::StackShardMetadata::parse(text, "fuzz");
    if (laconic::StackShardMetadata::parse(metadata.text(), "fuzz").text() != metadata.text()) std::abort();
  });
  return 0;
}
