// Any bytes as a safetensors file: the header is refused, or every tensor it names lies inside the file and
// no two share a byte.
#include "engine/tensor/safetensors.h"

#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const laconic::ByteSpan bytes(reinterpret_cast<const std::byte*>(data), size);
  try {
    const auto header = laconic::SafetensorsHeader::parse(bytes, size, "fuzz");
    std::uint64_t covered = 0;
    for (const laconic::SafetensorsEntry& entry : header.entries) {
      if (entry.begin != covered || entry.end < entry.begin) std::abort();
      if (static_cast<std::uint64_t>(laconic::element_count(entry.shape)) * laconic::size_of(entry.dtype) !=
          entry.end - entry.begin) {
        std::abort();
      }
      covered = entry.end;
    }
    if (header.data_start + covered != size) std::abort();
  } catch (const laconic::Error& error) {
    if (error.kind() == laconic::ErrorKind::internal) std::abort();
  }
  return 0;
}
