// Any bytes as the saved state of a search, with a checksum made right: refused, or a state that is written
// back as the same bytes.
#include <cstdlib>

#include "engine/allocate/evolution.h"
#include "engine/base/error.h"
#include "engine/base/hash.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  laconic::Bytes bytes(reinterpret_cast<const std::byte*>(data),
                       reinterpret_cast<const std::byte*>(data) + size);
  const std::uint64_t sum = laconic::xxh3_64(bytes);
  const auto* raw = reinterpret_cast<const std::byte*>(&sum);
  bytes.insert(bytes.end(), raw, raw + sizeof(sum));
  try {
    const laconic::EvolutionState state = laconic::load_evolution(bytes, "fuzz");
    if (laconic::save_evolution(state) != bytes) std::abort();
  } catch (const laconic::Error& error) {
    if (error.kind() == laconic::ErrorKind::internal) std::abort();
  }
  return 0;
}
