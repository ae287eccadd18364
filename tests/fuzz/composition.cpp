// Any text as a composition and as layer rules: refused as bad usage, or printed in a text that parses to
// itself.
#include <cstdlib>

#include "engine/base/error.h"
#include "engine/codec/composition.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const std::string canonical = laconic::parse_codec(text)->canonical();
    if (laconic::parse_codec(canonical)->canonical() != canonical) std::abort();
  } catch (const laconic::Error& error) {
    if (error.kind() != laconic::ErrorKind::usage) std::abort();
  }
  try {
    const laconic::LayerRules rules = laconic::LayerRules::parse(text);
    const std::string canonical = rules.canonical();
    const laconic::LayerRules again = laconic::LayerRules::parse(canonical);
    if (again.canonical() != canonical) std::abort();
    const char* name = "model.layers.1.mlp.down_proj.weight";
    if ((rules.codec_for(name) == nullptr) != (again.codec_for(name) == nullptr)) std::abort();
  } catch (const laconic::Error& error) {
    if (error.kind() != laconic::ErrorKind::usage) std::abort();
  }
  return 0;
}
