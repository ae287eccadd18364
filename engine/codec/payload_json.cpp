#include "engine/codec/payload_json.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"

namespace laconic {
namespace {

using Json = nlohmann::json;

const Json& member(const Json& json, const char* key, std::string_view where) {
  const auto found = json.find(key);
  if (found == json.end()) {
    fail(ErrorKind::corrupt, "payload description has no \"" + std::string(key) + "\"", where);
  }
  return *found;
}

const std::string& text_member(const Json& json, const char* key, std::string_view where) {
  const Json& value = member(json, key, where);
  if (!value.is_string()) fail(ErrorKind::corrupt, "\"" + std::string(key) + "\" is not text", where);
  return value.get_ref<const std::string&>();
}

DType dtype_member(const Json& json, std::string_view where) {
  const std::string& name = text_member(json, "dtype", where);
  const auto dtype = dtype_named(name);
  if (!dtype) fail(ErrorKind::corrupt, "unknown dtype \"" + name + "\"", where);
  return *dtype;
}

Shape shape_member(const Json& json, std::string_view where) {
  const Json& sides = member(json, "shape", where);
  if (!sides.is_array() || sides.size() > payload_limits.rank) {
    fail(ErrorKind::corrupt,
         "shape is not a list of at most " + std::to_string(payload_limits.rank) + " sides", where);
  }
  Shape shape;
  for (const Json& side : sides) {
    const bool is_count = side.is_number_unsigned()
                              ? side.get<std::uint64_t>() <= std::uint64_t{INT64_MAX}
                              : side.is_number_integer() && side.get<std::int64_t>() >= 0;
    if (!is_count) {
      fail(ErrorKind::corrupt, "shape has a side that is not a count", where);
    }
    shape.push_back(side.get<std::int64_t>());
  }
  return shape;
}

}  // namespace

Json describe(const Payload& payload) {
  validate(payload, "payload");
  Json fields = Json::array();
  for (const Field& field : payload.fields) {
    fields.push_back({{"name", field.name},
                      {"dtype", std::string(name_of(field.data.dtype()))},
                      {"shape", field.data.shape()}});
  }
  return {{"codec", payload.codec},
          {"dtype", std::string(name_of(payload.dtype))},
          {"shape", payload.shape},
          {"attributes", payload.attributes.to_json()},
          {"fields", std::move(fields)}};
}

Payload parse_description(const Json& description, const FieldLookup& lookup, std::string_view where) {
  if (!description.is_object() || description.size() != 5) {
    fail(ErrorKind::corrupt, "payload description is not {codec, dtype, shape, attributes, fields}", where);
  }
  Payload payload;
  payload.codec = text_member(description, "codec", where);
  payload.dtype = dtype_member(description, where);
  payload.shape = shape_member(description, where);
  payload.attributes = Attributes::from_json(member(description, "attributes", where), where);
  const Json& fields = member(description, "fields", where);
  if (!fields.is_array() || fields.size() > payload_limits.fields) {
    fail(ErrorKind::corrupt, "fields are not a list of at most " + std::to_string(payload_limits.fields),
         where);
  }
  for (const Json& entry : fields) {
    if (!entry.is_object() || entry.size() != 3) {
      fail(ErrorKind::corrupt, "field description is not {name, dtype, shape}", where);
    }
    const std::string& name = text_member(entry, "name", where);
    const DType dtype = dtype_member(entry, where);
    const Shape shape = shape_member(entry, where);
    const ByteSpan stored = lookup(name);
    const std::uint64_t bytes = checked_bytes(dtype, shape, where);
    if (stored.size() != bytes && stored.size() != (bytes + 63) / 64 * 64) {
      fail(ErrorKind::corrupt,
           "field \"" + name + "\" needs " + std::to_string(bytes) + " bytes, " +
               std::to_string(stored.size()) + " are stored",
           where);
    }
    const ByteSpan padding = stored.subspan(bytes);
    if (std::any_of(padding.begin(), padding.end(), [](std::byte byte) { return byte != std::byte{0}; })) {
      fail(ErrorKind::corrupt, "padding of field \"" + name + "\" is not zero", where);
    }
    Tensor data(dtype, shape);
    if (bytes > 0) std::memcpy(data.data(), stored.data(), bytes);
    payload.fields.push_back(Field{name, std::move(data)});
  }
  validate(payload, where);
  return payload;
}

}  // namespace laconic
