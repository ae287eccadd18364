#include "engine/codec/coded_fields.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>

#include "engine/base/error.h"
#include "engine/codec/codec.h"
#include "engine/coding/huffman.h"
#include "engine/coding/rans_bytes.h"
#include "engine/coding/zstd_bytes.h"

namespace laconic {
namespace {

constexpr std::string_view suffix = ".coded";

enum class Selector : std::uint8_t { stored = 0, rans = 1, huffman = 2, zstd = 3 };

struct PlaneCoder {
  FieldCoder name;
  Selector selector;
  Bytes (*encode)(ByteSpan plane);
  void (*decode)(ByteSpan coded, std::span<std::byte> plane, std::string_view where);
};

constexpr PlaneCoder plane_coders[] = {
    {FieldCoder::rans, Selector::rans, rans_compress, rans_expand},
    {FieldCoder::huffman, Selector::huffman, huffman_compress, huffman_expand},
    {FieldCoder::zstd, Selector::zstd, [](ByteSpan plane) { return zstd_compress(plane); }, zstd_expand},
};

struct CodedPlane {
  Selector selector = Selector::stored;
  Bytes bytes;
};

CodedPlane smallest_form(ByteSpan plane, FieldCoder wish) {
  CodedPlane best{Selector::stored, Bytes(plane.begin(), plane.end())};
  for (const PlaneCoder& coder : plane_coders) {
    if (wish != FieldCoder::best && wish != coder.name) continue;
    Bytes coded = coder.encode(plane);
    if (coded.size() < best.bytes.size()) best = {coder.selector, std::move(coded)};
  }
  return best;
}

bool is_coded(std::string_view name) {
  return name.size() > suffix.size() && name.substr(name.size() - suffix.size()) == suffix;
}

// No field of ours is larger: decoders refuse more before they allocate, encoders leave such fields uncoded.
bool plausible_size(std::uint64_t bytes, const Payload& payload) {
  const std::uint64_t elements =
      checked_bytes(payload.dtype, payload.shape, payload.codec) / size_of(payload.dtype);
  return bytes <= 16 * elements + (std::uint64_t{1} << 16);
}

std::optional<Tensor> coded_form(const Field& field, FieldCoder coder) {
  const std::size_t width = size_of(field.data.dtype());
  const auto count = static_cast<std::size_t>(field.data.elements());
  ByteWriter writer;
  writer.u8(static_cast<std::uint8_t>(field.data.dtype()));
  writer.varint(field.data.shape().size());
  for (std::int64_t side : field.data.shape()) writer.varint(static_cast<std::uint64_t>(side));
  Bytes plane(count);
  for (std::size_t byte = 0; byte < width; ++byte) {
    for (std::size_t i = 0; i < count; ++i) plane[i] = field.data.data()[i * width + byte];
    const CodedPlane coded = smallest_form(plane, coder);
    writer.u8(static_cast<std::uint8_t>(coded.selector));
    writer.varint(coded.bytes.size());
    writer.append(coded.bytes);
  }
  if (writer.size() >= field.data.bytes()) return std::nullopt;
  Tensor result(DType::u8, {static_cast<std::int64_t>(writer.size())});
  std::memcpy(result.data(), writer.span().data(), writer.size());
  return result;
}

void decode_plane(ByteReader& reader, std::span<std::byte> plane, std::string_view where) {
  const std::uint8_t selector = reader.u8();
  const ByteSpan coded = reader.take(reader.length(reader.remaining()));
  if (selector == static_cast<std::uint8_t>(Selector::stored)) {
    if (coded.size() != plane.size()) reader.corrupt("plane has the wrong size");
    std::copy(coded.begin(), coded.end(), plane.begin());
    return;
  }
  for (const PlaneCoder& coder : plane_coders) {
    if (selector == static_cast<std::uint8_t>(coder.selector)) return coder.decode(coded, plane, where);
  }
  reader.corrupt("plane is coded in an unknown way");
}

Tensor expanded_form(const Tensor& coded, const Payload& payload) {
  if (coded.dtype() != DType::u8) fail(ErrorKind::corrupt, "coded field is not u8", payload.codec);
  ByteReader reader(coded.span(), payload.codec);
  const std::uint8_t code = reader.u8();
  if (code > static_cast<std::uint8_t>(DType::c64)) reader.corrupt("unknown dtype");
  const auto dtype = static_cast<DType>(code);
  Shape shape(reader.length(payload_limits.rank));
  for (std::int64_t& side : shape) side = static_cast<std::int64_t>(reader.length(std::uint64_t{1} << 48));
  const std::uint64_t bytes = checked_bytes(dtype, shape, payload.codec);
  if (!plausible_size(bytes, payload)) reader.corrupt("coded field is too large for its tensor");
  Tensor result(dtype, std::move(shape));
  const std::size_t width = size_of(dtype);
  const auto count = static_cast<std::size_t>(result.elements());
  if (width == 1) {
    decode_plane(reader, {result.data(), count}, payload.codec);
    reader.expect_end();
    return result;
  }
  Bytes plane(count);
  for (std::size_t byte = 0; byte < width; ++byte) {
    decode_plane(reader, plane, payload.codec);
    for (std::size_t i = 0; i < count; ++i) result.data()[i * width + byte] = plane[i];
  }
  reader.expect_end();
  return result;
}

}  // namespace

std::string_view name_of(FieldCoder coder) {
  switch (coder) {
    case FieldCoder::rans:
      return "rans";
    case FieldCoder::huffman:
      return "huffman";
    case FieldCoder::zstd:
      return "zstd";
    case FieldCoder::best:
      return "best";
  }
  fail(ErrorKind::internal, "unknown coder");
}

FieldCoder field_coder_named(std::string_view name) {
  std::vector<std::string> known;
  for (const PlaneCoder& coder : plane_coders) {
    if (name_of(coder.name) == name) return coder.name;
    known.emplace_back(name_of(coder.name));
  }
  known.emplace_back("best");
  if (name == "best") return FieldCoder::best;
  const std::string nearest = nearest_name(name, known);
  std::string advice = "did you mean \"" + nearest + "\"?";
  if (nearest.empty()) {
    advice = "known:";
    for (const std::string& coder : known) advice += " " + coder;
  }
  fail(ErrorKind::usage, "unknown coder \"" + std::string(name) + "\"", {}, advice);
}

void code_fields(Payload& payload, FieldCoder coder, const std::function<bool(std::string_view)>& selects) {
  for (Field& field : payload.fields) {
    if (is_coded(field.name) || !selects(field.name) || !plausible_size(field.data.bytes(), payload))
      continue;
    if (std::optional<Tensor> coded = coded_form(field, coder)) {
      field.data = std::move(*coded);
      field.name += suffix;
    }
  }
}

Payload expand_fields(const Payload& payload) {
  require_decodable(payload);
  Payload result;
  result.codec = payload.codec;
  result.dtype = payload.dtype;
  result.shape = payload.shape;
  result.attributes = payload.attributes;
  for (const Field& field : payload.fields) {
    if (is_coded(field.name)) {
      result.fields.push_back(
          Field{field.name.substr(0, field.name.size() - suffix.size()), expanded_form(field.data, payload)});
    } else {
      result.fields.push_back(Field{field.name, Tensor::copy_of(field.data.view())});
    }
  }
  validate(result, payload.codec);
  return result;
}

}  // namespace laconic
