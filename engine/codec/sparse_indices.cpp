#include "engine/codec/sparse_indices.h"

#include <algorithm>
#include <bit>
#include <string>

#include "engine/base/error.h"
#include "engine/coding/integer_codes.h"

namespace laconic {
namespace {

int position_bits(std::int64_t length) {
  return length <= 1 ? 0 : std::bit_width(static_cast<std::uint64_t>(length - 1));
}

std::uint64_t whole_bytes(std::uint64_t bits) { return (bits + 7) / 8; }

// Positions between neighbours, the first counted from -1.
std::vector<std::uint64_t> gaps_of(std::span<const std::int64_t> positions) {
  std::vector<std::uint64_t> gaps;
  gaps.reserve(positions.size());
  std::int64_t before = -1;
  for (const std::int64_t position : positions) {
    gaps.push_back(static_cast<std::uint64_t>(position - before - 1));
    before = position;
  }
  return gaps;
}

[[noreturn]] void corrupt(const Payload& payload, std::string_view what) {
  fail(ErrorKind::corrupt, what, payload.codec);
}

std::vector<std::int64_t> from_bitmap(const Payload& payload, std::span<const std::uint8_t> bytes,
                                      std::int64_t count, std::int64_t length) {
  std::int64_t set = 0;
  for (std::uint8_t byte : bytes) set += std::popcount(byte);
  const int tail = static_cast<int>(length % 8);
  if (set != count || (tail != 0 && (bytes.back() >> tail) != 0)) {
    corrupt(payload, "bitmap of positions does not hold the stated count");
  }
  std::vector<std::int64_t> positions;
  positions.reserve(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (unsigned rest = bytes[i]; rest != 0; rest &= rest - 1) {
      positions.push_back(static_cast<std::int64_t>(i) * 8 + std::countr_zero(rest));
    }
  }
  return positions;
}

}  // namespace

void add_indices(Payload& payload, std::span<const std::int64_t> positions, std::int64_t length) {
  const int width = position_bits(length);
  const std::vector<std::uint64_t> gaps = gaps_of(positions);
  const RiceChoice rice = best_golomb_rice(gaps, width);
  const std::uint64_t packed = whole_bytes(positions.size() * static_cast<std::uint64_t>(width));
  const std::uint64_t bitmap = whole_bytes(static_cast<std::uint64_t>(length));
  const std::uint64_t smallest = std::min({packed, bitmap, whole_bytes(rice.bits)});

  Tensor bytes(DType::u8, {static_cast<std::int64_t>(smallest)});
  payload.attributes.set("count", static_cast<std::int64_t>(positions.size()));
  if (smallest == bitmap) {
    payload.attributes.set("index_form", std::string("bitmap"));
    for (std::int64_t position : positions) {
      bytes.as<std::uint8_t>()[static_cast<std::size_t>(position / 8)] |=
          static_cast<std::uint8_t>(1u << (position % 8));
    }
  } else {
    BitWriter writer;
    if (smallest == packed) {
      payload.attributes.set("index_form", std::string("packed"));
      for (std::int64_t position : positions) writer.put(static_cast<std::uint64_t>(position), width);
    } else {
      payload.attributes.set("index_form", std::string("rice"));
      payload.attributes.set("rice_parameter", std::int64_t{rice.parameter});
      for (const std::uint64_t gap : gaps) put_golomb_rice(writer, gap, rice.parameter);
    }
    const Bytes written = writer.take();
    require(written.size() == smallest, "positions take the bytes that were counted");
    std::copy(written.begin(), written.end(), bytes.data());
  }
  payload.add("indices", std::move(bytes));
}

std::vector<std::int64_t> parse_indices(const Payload& payload, std::int64_t length) {
  const std::int64_t count = payload.attributes.integer("count", 0, length);
  const std::string& form = payload.attributes.text("index_form");
  const Field* field = payload.find("indices");
  if (field == nullptr || field->data.dtype() != DType::u8) corrupt(payload, "has no positions");
  const auto bytes = field->data.as<std::uint8_t>();
  if (form == "bitmap") {
    if (bytes.size() != whole_bytes(static_cast<std::uint64_t>(length))) {
      corrupt(payload, "bitmap of positions has the wrong size");
    }
    return from_bitmap(payload, bytes, count, length);
  }
  const bool rice = form == "rice";
  if (!rice && form != "packed") corrupt(payload, "unknown form of positions \"" + form + "\"");
  const int width = position_bits(length);
  const int parameter =
      rice ? static_cast<int>(payload.attributes.integer("rice_parameter", 0, width)) : width;
  // Every position takes at least this many bits, so a lying count is refused before allocating.
  const auto least = static_cast<std::uint64_t>(parameter) + (rice ? 1u : 0u);
  if (static_cast<std::uint64_t>(count) * least > bytes.size() * 8) {
    corrupt(payload, "too few bytes for the stated count of positions");
  }
  BitReader reader(std::as_bytes(bytes), payload.codec);
  std::vector<std::int64_t> positions(static_cast<std::size_t>(count));
  std::int64_t before = -1;
  for (std::int64_t& position : positions) {
    position = rice ? before + 1 +
                          static_cast<std::int64_t>(
                              read_golomb_rice(reader, parameter, static_cast<std::uint64_t>(length)))
                    : static_cast<std::int64_t>(reader.read(width));
    if (position <= before || position >= length) {
      corrupt(payload, "positions are out of order or out of range");
    }
    before = position;
  }
  reader.expect_end();
  return positions;
}

}  // namespace laconic
