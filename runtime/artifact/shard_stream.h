// Writes one .safetensors file slot by slot from where the bytes lie, hashing what is handed to the system:
// the manifest states what was meant, and a later reading shows what arrived.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "engine/tensor/safetensors.h"
#include "runtime/artifact/manifest.h"

namespace laconic {

class ShardStream {
 public:
  ShardStream(const std::filesystem::path& path, std::vector<SafetensorsSlot> slots,
              const std::map<std::string, std::string>& metadata);
  // Bytes [offset, offset + bytes) of a mapped file, whose pages then leave the resident set.
  void append(const MappedFile& file, std::uint64_t offset, std::uint64_t bytes);
  void append(ByteSpan bytes);
  // Fills the slot with zeros to its length; it may lack less than 64 bytes.
  void end_slot();
  // All slots are ended. The entry of the manifest.
  ManifestFile commit();

 private:
  std::vector<SafetensorsSlot> slots_;
  SafetensorsWriter writer_;
  ManifestFile entry_;
  StreamingHash128 hash_;
  std::size_t slot_ = 0;
  std::uint64_t filled_ = 0;  // bytes of the current slot
};

}  // namespace laconic
