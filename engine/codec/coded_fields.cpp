#include "engine/codec/coded_fields.h"

#include <algorithm>
#include <array>
#include <cmath>
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

constexpr std::string_view coded_suffix = ".coded";

enum class Selector : std::uint8_t { stored = 0, rans = 1, huffman = 2, zstd = 3, interleaved = 4 };

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

void write(ByteWriter& writer, const CodedPlane& plane) {
  writer.u8(static_cast<std::uint8_t>(plane.selector));
  writer.varint(plane.bytes.size());
  writer.append(plane.bytes);
}

// Bytes of a plane whose place in their row is `phase` modulo `period`. Rows of codes of 3, 5, 6 or 7 bits
// repeat the way in which codes lie in bytes every 3, 5, 3 or 7 bytes, and each place has its own
// distribution.
template <class Visit>
void for_each_of_phase(std::size_t count, std::size_t row, std::size_t period, std::size_t phase,
                       Visit visit) {
  for (std::size_t begin = 0; begin < count; begin += row) {
    for (std::size_t i = phase; i < row; i += period) visit(begin + i);
  }
}

std::size_t phase_size(std::size_t count, std::size_t row, std::size_t period, std::size_t phase) {
  return phase < row ? count / row * ((row - phase + period - 1) / period) : 0;
}

Bytes phase_of(ByteSpan plane, std::size_t row, std::size_t period, std::size_t phase) {
  Bytes bytes;
  bytes.reserve(phase_size(plane.size(), row, period, phase));
  for_each_of_phase(plane.size(), row, period, phase, [&](std::size_t i) { bytes.push_back(plane[i]); });
  return bytes;
}

// Bits of the plane under one order-0 model per phase, tables left out.
double phase_entropy(ByteSpan plane, std::size_t row, std::size_t period) {
  double bits = 0;
  for (std::size_t phase = 0; phase < period; ++phase) {
    std::array<std::uint64_t, 256> counts{};
    for_each_of_phase(plane.size(), row, period, phase,
                      [&](std::size_t i) { ++counts[static_cast<std::size_t>(plane[i])]; });
    const auto size = static_cast<double>(phase_size(plane.size(), row, period, phase));
    for (const std::uint64_t count : counts) {
      const auto seen = static_cast<double>(count);
      if (count > 0) bits += seen * std::log2(size / seen);
    }
  }
  return bits;
}

constexpr std::size_t longest_period = 8;

// The plane cut into phases where one model for all bytes would cost over 1 % more.
std::optional<CodedPlane> interleaved_form(ByteSpan plane, std::size_t row, FieldCoder wish) {
  const double whole = phase_entropy(plane, row, 1);
  double least = 0.99 * whole;
  std::size_t best = 1;
  for (const std::size_t period : {std::size_t{3}, std::size_t{5}, std::size_t{7}}) {
    const double bits = phase_entropy(plane, row, period);
    if (bits < least) least = bits, best = period;
  }
  if (best == 1) return std::nullopt;
  ByteWriter writer;
  writer.u8(static_cast<std::uint8_t>(best));
  for (std::size_t phase = 0; phase < best; ++phase) {
    write(writer, smallest_form(phase_of(plane, row, best, phase), wish));
  }
  return CodedPlane{Selector::interleaved, writer.take()};
}

bool is_coded(std::string_view name) {
  return name.size() > coded_suffix.size() && name.substr(name.size() - coded_suffix.size()) == coded_suffix;
}

// No field of ours is larger: decoders refuse more before they allocate, encoders leave such fields uncoded.
bool plausible_size(std::uint64_t bytes, const Payload& payload) {
  const std::uint64_t elements =
      checked_bytes(payload.dtype, payload.shape, payload.codec) / size_of(payload.dtype);
  return bytes <= 16 * elements + (std::uint64_t{1} << 16);
}

std::size_t row_of(const Tensor& tensor) {
  return static_cast<std::size_t>(tensor.shape().empty() ? 1 : tensor.shape().back());
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
    CodedPlane coded = smallest_form(plane, coder);
    if (width == 1) {
      std::optional<CodedPlane> phases = interleaved_form(plane, row_of(field.data), coder);
      if (phases && phases->bytes.size() < coded.bytes.size()) coded = std::move(*phases);
    }
    write(writer, coded);
  }
  if (writer.size() >= field.data.bytes()) return std::nullopt;
  Tensor result(DType::u8, {static_cast<std::int64_t>(writer.size())});
  std::memcpy(result.data(), writer.span().data(), writer.size());
  return result;
}

// row 0: the plane is not cut into phases.
void decode_plane(ByteReader& reader, std::span<std::byte> plane, std::size_t row, std::string_view where) {
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
  if (selector == static_cast<std::uint8_t>(Selector::interleaved) && row > 0) {
    ByteReader phases(coded, std::string(where));
    const std::size_t period = phases.u8();
    if (period < 2 || period > longest_period) phases.corrupt("plane has a wrong number of phases");
    for (std::size_t phase = 0; phase < period; ++phase) {
      Bytes bytes(phase_size(plane.size(), row, period, phase));
      decode_plane(phases, bytes, 0, where);
      std::size_t next = 0;
      for_each_of_phase(plane.size(), row, period, phase, [&](std::size_t i) { plane[i] = bytes[next++]; });
    }
    return phases.expect_end();
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
    decode_plane(reader, {result.data(), count}, row_of(result), payload.codec);
    reader.expect_end();
    return result;
  }
  Bytes plane(count);
  for (std::size_t byte = 0; byte < width; ++byte) {
    decode_plane(reader, plane, 0, payload.codec);
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
      field.name += coded_suffix;
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
      result.fields.push_back(Field{field.name.substr(0, field.name.size() - coded_suffix.size()),
                                    expanded_form(field.data, payload)});
    } else {
      result.fields.push_back(Field{field.name, Tensor::copy_of(field.data.view())});
    }
  }
  validate(result, payload.codec);
  return result;
}

}  // namespace laconic
