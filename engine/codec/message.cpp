#include "engine/codec/message.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "engine/base/error.h"

namespace laconic {
namespace {

// Part of the format: names are only ever added at the end.
constexpr std::array<std::string_view, 40> known_names = {
    "indices",   "values", "count",     "index_form", "rice_parameter", "scale",   "scales",
    "codes",     "signs",  "exponents", "block",      "bits",           "key",     "step",
    "peer",      "scaled", "norm",      "norms",      "offset",         "offsets", "rank",
    "left",      "right",  "group",     "kind",       "levels",         "labels",  "centroids",
    "positions", "length", "clusters",  "table",      "data",           "form",    "dtype",
    "zero",      "u",      "v",         "lengths",    "counts"};

constexpr std::uint64_t most_attributes = 4096, longest_text = 1 << 16, most_numbers = 1 << 24;

enum class Kind : std::uint8_t { no, yes, integer, number, text, integers, numbers };

void write_name(ByteWriter& writer, std::string_view name) {
  const auto found = std::find(known_names.begin(), known_names.end(), name);
  if (found == known_names.end()) {
    writer.varint(0);
    writer.text(name);
  } else {
    writer.varint(static_cast<std::uint64_t>(found - known_names.begin()) + 1);
  }
}

std::string read_name(ByteReader& reader) {
  const std::uint64_t index = reader.varint();
  if (index == 0) return reader.text(payload_limits.name);
  if (index > known_names.size()) reader.corrupt("a name that is not known");
  return std::string(known_names[static_cast<std::size_t>(index - 1)]);
}

struct AttributeWriter {
  ByteWriter& writer;
  void kind(Kind which) const { writer.u8(static_cast<std::uint8_t>(which)); }
  void operator()(bool value) const { kind(value ? Kind::yes : Kind::no); }
  void operator()(std::int64_t value) const {
    kind(Kind::integer);
    writer.signed_varint(value);
  }
  void operator()(double value) const {
    kind(Kind::number);
    writer.f64(value);
  }
  void operator()(const std::string& value) const {
    kind(Kind::text);
    writer.text(value);
  }
  void operator()(const std::vector<std::int64_t>& values) const {
    kind(Kind::integers);
    writer.varint(values.size());
    for (const std::int64_t value : values) writer.signed_varint(value);
  }
  void operator()(const std::vector<double>& values) const {
    kind(Kind::numbers);
    writer.varint(values.size());
    for (const double value : values) writer.f64(value);
  }
};

double read_finite(ByteReader& reader) {
  const double value = reader.f64();
  if (!std::isfinite(value)) reader.corrupt("a number that is not finite");
  return value;
}

AttributeValue read_value(ByteReader& reader) {
  switch (static_cast<Kind>(reader.u8())) {
    case Kind::no:
      return false;
    case Kind::yes:
      return true;
    case Kind::integer:
      return reader.signed_varint();
    case Kind::number:
      return read_finite(reader);
    case Kind::text:
      return reader.text(longest_text);
    case Kind::integers: {
      // A varint takes a byte at least, a number eight: nothing is allocated that is not there.
      std::vector<std::int64_t> values(
          reader.length(std::min<std::uint64_t>(most_numbers, reader.remaining())));
      for (std::int64_t& value : values) value = reader.signed_varint();
      return values;
    }
    case Kind::numbers: {
      std::vector<double> values(
          reader.length(std::min<std::uint64_t>(most_numbers, reader.remaining() / 8)));
      for (double& value : values) value = read_finite(reader);
      return values;
    }
  }
  reader.corrupt("an attribute of an unknown kind");
}

}  // namespace

void write_message(ByteWriter& writer, const Payload& payload) {
  const auto& attributes = payload.attributes.values();
  require(attributes.size() <= most_attributes, "at most 4096 attributes");
  writer.varint(attributes.size());
  for (const auto& [name, value] : attributes) {
    write_name(writer, name);
    std::visit(AttributeWriter{writer}, value);
  }
  writer.varint(payload.fields.size());
  for (const Field& field : payload.fields) {
    write_name(writer, field.name);
    writer.u8(static_cast<std::uint8_t>(field.data.dtype()));
    writer.varint(field.data.shape().size());
    for (const std::int64_t side : field.data.shape()) writer.varint(static_cast<std::uint64_t>(side));
    writer.append(field.data.span());
  }
}

Payload read_message(ByteReader& reader, std::string_view codec, DType dtype, const Shape& shape) {
  Payload payload;
  payload.codec = codec;
  payload.dtype = dtype;
  payload.shape = shape;
  for (std::uint64_t left = reader.length(most_attributes); left > 0; --left) {
    std::string name = read_name(reader);
    if (name.empty() || payload.attributes.contains(name))
      reader.corrupt("an attribute twice, or without name");
    payload.attributes.set(std::move(name), read_value(reader));
  }
  for (std::uint64_t left = reader.length(payload_limits.fields); left > 0; --left) {
    std::string name = read_name(reader);
    const std::uint8_t code = reader.u8();
    if (code > static_cast<std::uint8_t>(DType::c64)) reader.corrupt("an unknown dtype");
    Shape sides(reader.length(payload_limits.rank));
    for (std::int64_t& side : sides) side = static_cast<std::int64_t>(reader.length(std::uint64_t{1} << 48));
    const std::uint64_t length = checked_bytes(static_cast<DType>(code), sides, codec);
    const ByteSpan stored = reader.take(length);  // fails before anything is allocated
    Tensor data(static_cast<DType>(code), std::move(sides));
    if (length > 0) std::memcpy(data.data(), stored.data(), length);
    payload.fields.push_back(Field{std::move(name), std::move(data)});
  }
  validate(payload, codec);
  return payload;
}

}  // namespace laconic
