// Any text as config.json: refused, or a shape whose numbers are in range.
#include <cstdlib>

#include "engine/base/error.h"
#include "runtime/model_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const auto config = laconic::ModelConfig::parse({reinterpret_cast<const char*>(data), size}, "fuzz");
    if (config.layers <= 0 || config.hidden <= 0 || config.vocabulary <= 0 || config.heads <= 0 ||
        config.kv_heads <= 0 || config.heads % config.kv_heads != 0 || config.head_dim <= 0 ||
        config.head_dim % 2 != 0 || config.intermediate <= 0 || config.max_positions <= 0) {
      std::abort();
    }
    for (int slot = 0; slot < laconic::linear_slots; ++slot) {
      const laconic::LinearShape shape =
          laconic::linear_shape(config, static_cast<laconic::LinearSlot>(slot));
      if (shape.in <= 0 || shape.out <= 0) std::abort();
    }
    if (static_cast<std::int64_t>(config.sliding_window.size()) != config.layers) std::abort();
  } catch (const laconic::Error& error) {
    if (error.kind() == laconic::ErrorKind::internal) std::abort();
  }
  return 0;
}
