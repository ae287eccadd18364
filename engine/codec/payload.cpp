#include "engine/codec/payload.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <set>

#include "engine/base/hash.h"

namespace laconic {
namespace {

constexpr std::uint64_t frame_schema = 1;
constexpr std::size_t checksum_bytes = 4;

std::atomic<std::int64_t> decode_limit{std::int64_t{1} << 36};

bool is_field_dtype(DType dtype) {
  return dtype == DType::u8 || dtype == DType::f16 || dtype == DType::bf16 || dtype == DType::f32 ||
         dtype == DType::i32 || dtype == DType::i64;
}

bool is_field_name(std::string_view name) {
  return !name.empty() && name.size() <= payload_limits.name &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.';
         });
}

void write_array_type(ByteWriter& writer, DType dtype, const Shape& shape) {
  writer.u8(static_cast<std::uint8_t>(dtype));
  writer.varint(shape.size());
  for (std::int64_t side : shape) writer.varint(static_cast<std::uint64_t>(side));
}

void read_array_type(ByteReader& reader, DType& dtype, Shape& shape) {
  const std::uint8_t code = reader.u8();
  if (code > static_cast<std::uint8_t>(DType::c64)) reader.corrupt("unknown dtype");
  dtype = static_cast<DType>(code);
  shape.resize(reader.length(payload_limits.rank));
  for (std::int64_t& side : shape) {
    side = static_cast<std::int64_t>(reader.length(std::uint64_t{1} << 48));
  }
}

std::uint32_t checksum(ByteSpan bytes) { return static_cast<std::uint32_t>(xxh3_64(bytes)); }

}  // namespace

const Field* Payload::find(std::string_view name) const {
  const auto found =
      std::find_if(fields.begin(), fields.end(), [&](const Field& field) { return field.name == name; });
  return found == fields.end() ? nullptr : &*found;
}

const Tensor& Payload::field(std::string_view name, DType want, std::int64_t elements) const {
  const Field* found = find(name);
  if (found == nullptr) fail(ErrorKind::corrupt, "field \"" + std::string(name) + "\" is missing", codec);
  if (found->data.dtype() != want || found->data.elements() != elements) {
    fail(ErrorKind::corrupt,
         "field \"" + std::string(name) + "\" holds " + std::to_string(found->data.elements()) + " " +
             std::string(name_of(found->data.dtype())) + " instead of " + std::to_string(elements) + " " +
             std::string(name_of(want)),
         codec);
  }
  return found->data;
}

void Payload::add(std::string name, Tensor data) {
  require(is_field_name(name) && find(name) == nullptr, "field names are plain and unique");
  require(is_field_dtype(data.dtype()), "fields are u8, f16, bf16, f32, i32 or i64");
  fields.push_back(Field{std::move(name), std::move(data)});
}

std::uint64_t Payload::field_bytes() const {
  std::uint64_t sum = 0;
  for (const Field& field : fields) sum += field.data.bytes();
  return sum;
}

Payload Payload::copy() const {
  Payload result;
  result.codec = codec;
  result.dtype = dtype;
  result.shape = shape;
  result.attributes = attributes;
  for (const Field& field : fields) {
    result.fields.push_back(Field{field.name, Tensor::copy_of(field.data.view())});
  }
  return result;
}

std::uint64_t checked_bytes(DType dtype, const Shape& shape, std::string_view where) {
  std::uint64_t count = 0;
  try {
    count = static_cast<std::uint64_t>(element_count(shape));
  } catch (const Error& error) {
    fail(ErrorKind::corrupt, error.what(), where);
  }
  return count * size_of(dtype);
}

void validate(const Payload& payload, std::string_view where) {
  if (payload.codec.empty() || payload.codec.size() > payload_limits.codec_text) {
    fail(ErrorKind::corrupt, "codec text is empty or too long", where);
  }
  if (!is_real(payload.dtype)) fail(ErrorKind::corrupt, "payload of a tensor that is not real", where);
  if (payload.shape.size() > payload_limits.rank) fail(ErrorKind::corrupt, "shape has too many sides", where);
  checked_bytes(payload.dtype, payload.shape, where);
  if (payload.fields.size() > payload_limits.fields) fail(ErrorKind::corrupt, "too many fields", where);
  std::set<std::string_view> names;
  for (const Field& field : payload.fields) {
    if (!is_field_name(field.name)) fail(ErrorKind::corrupt, "field name is not plain", where);
    if (!names.insert(field.name).second) {
      fail(ErrorKind::corrupt, "field \"" + field.name + "\" stands twice", where);
    }
    if (!is_field_dtype(field.data.dtype())) {
      fail(ErrorKind::corrupt, "field \"" + field.name + "\" has a dtype that fields do not have", where);
    }
    if (field.data.shape().size() > payload_limits.rank) {
      fail(ErrorKind::corrupt, "field \"" + field.name + "\" has too many sides", where);
    }
  }
}

std::int64_t set_decode_limit(std::int64_t elements) { return decode_limit.exchange(elements); }

void require_decodable(const Payload& payload) {
  const std::uint64_t bytes = checked_bytes(payload.dtype, payload.shape, payload.codec);
  const std::uint64_t elements = bytes / size_of(payload.dtype);
  const std::uint64_t plausible = (std::uint64_t{1} << 28) + (payload.field_bytes() << 14);
  const std::uint64_t limit =
      std::min(plausible, static_cast<std::uint64_t>(decode_limit.load(std::memory_order_relaxed)));
  if (elements > limit) {
    fail(ErrorKind::corrupt,
         "payload of " + std::to_string(payload.field_bytes()) + " bytes claims a tensor " +
             to_string(payload.shape) + ", over the limit of " + std::to_string(limit) + " elements",
         payload.codec);
  }
}

Bytes to_frame(const Payload& payload) {
  validate(payload, "payload");
  ByteWriter writer;
  writer.varint(frame_schema);
  writer.text(payload.codec);
  write_array_type(writer, payload.dtype, payload.shape);
  payload.attributes.write(writer);
  writer.varint(payload.fields.size());
  for (const Field& field : payload.fields) {
    writer.text(field.name);
    write_array_type(writer, field.data.dtype(), field.data.shape());
  }
  for (const Field& field : payload.fields) writer.append(field.data.span());
  writer.u32(checksum(writer.span()));
  return writer.take();
}

Payload parse_frame(ByteSpan bytes, std::string_view where) {
  if (bytes.size() < checksum_bytes) fail(ErrorKind::corrupt, "is too short to be a frame", where);
  const ByteSpan body = bytes.first(bytes.size() - checksum_bytes);
  ByteReader tail(bytes.last(checksum_bytes), std::string(where));
  if (tail.u32() != checksum(body)) {
    fail(ErrorKind::corrupt, "checksum of the frame does not fit its bytes", where, "fetch it again");
  }
  ByteReader reader(body, std::string(where));
  const std::uint64_t schema = reader.varint();
  if (schema != frame_schema) {
    fail(ErrorKind::unsupported,
         "frame of schema " + std::to_string(schema) + ", this version reads " + std::to_string(frame_schema),
         where, "use a newer laconic");
  }
  Payload payload;
  payload.codec = reader.text(payload_limits.codec_text);
  read_array_type(reader, payload.dtype, payload.shape);
  payload.attributes = Attributes::read(reader);
  struct Declared {
    std::string name;
    DType dtype = DType::u8;
    Shape shape;
  };
  std::vector<Declared> declared(reader.length(payload_limits.fields));
  for (Declared& field : declared) {
    field.name = reader.text(payload_limits.name);
    read_array_type(reader, field.dtype, field.shape);
  }
  for (Declared& field : declared) {
    const std::uint64_t length = checked_bytes(field.dtype, field.shape, where);
    const ByteSpan stored = reader.take(length);  // fails before anything is allocated
    Tensor data(field.dtype, std::move(field.shape));
    if (length > 0) std::memcpy(data.data(), stored.data(), length);
    payload.fields.push_back(Field{std::move(field.name), std::move(data)});
  }
  reader.expect_end();
  validate(payload, where);
  return payload;
}

}  // namespace laconic
