// The JSON description of a payload, for carriers that keep the fields elsewhere (safetensors entries). The
// fields themselves are not in it: {"codec": text, "dtype": "F32", "shape": [..], "attributes": {..},
// "fields": [{"name": .., "dtype": "U8", "shape": [..]}, ..]}, the shapes being the true ones, before
// padding.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "engine/codec/payload.h"

namespace laconic {

nlohmann::json describe(const Payload& payload);

// The stored bytes of a field: as long as the true field, or longer by zero bytes up to the next multiple
// of 64.
using FieldLookup = std::function<ByteSpan(std::string_view field)>;

// The inverse: copies the fields out of what `lookup` returns. `where` names the tensor in errors. Throws
// Error(corrupt) on a description that describe() does not write, a field too short or too long, or padding
// that is not zero.
Payload parse_description(const nlohmann::json& description, const FieldLookup& lookup,
                          std::string_view where);

}  // namespace laconic
