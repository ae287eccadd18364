#include "engine/codec/sparse_indices.h"

#include <algorithm>
#include <bit>
#include <string>

#include "engine/base/error.h"

namespace laconic {
namespace {

class BitSink {
 public:
  explicit BitSink(std::uint8_t* bytes) : bytes_(bytes) {}
  void put(std::uint64_t value, int bits) {
    for (int i = 0; i < bits; ++i, ++position_) {
      if ((value >> i) & 1) bytes_[position_ / 8] |= static_cast<std::uint8_t>(1u << (position_ % 8));
    }
  }
  void put_ones(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) put(1, 1);
  }

 private:
  std::uint8_t* bytes_;
  std::uint64_t position_ = 0;
};

// Reads no bit beyond its bytes: `ok` turns false instead.
class BitSource {
 public:
  explicit BitSource(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  std::uint64_t get(int bits) {
    std::uint64_t value = 0;
    for (int i = 0; i < bits; ++i) value |= std::uint64_t{bit()} << i;
    return value;
  }
  std::uint64_t get_ones() {
    std::uint64_t count = 0;
    while (ok_ && bit()) ++count;
    return count;
  }
  bool ok() const { return ok_; }
  // No whole byte is left and the bits of the last one are zero.
  bool ended_cleanly() {
    if (bytes_.size() * 8 - position_ >= 8) return false;
    while (position_ < bytes_.size() * 8) {
      if (bit()) return false;
    }
    return true;
  }

 private:
  bool bit() {
    if (position_ >= bytes_.size() * 8) {
      ok_ = false;
      return false;
    }
    const bool set = (bytes_[position_ / 8] >> (position_ % 8)) & 1;
    ++position_;
    return set;
  }
  std::span<const std::uint8_t> bytes_;
  std::uint64_t position_ = 0;
  bool ok_ = true;
};

int position_bits(std::int64_t length) {
  return length <= 1 ? 0 : std::bit_width(static_cast<std::uint64_t>(length - 1));
}

std::uint64_t whole_bytes(std::uint64_t bits) { return (bits + 7) / 8; }

struct Rice {
  int parameter = 0;
  std::uint64_t bits = 0;
};

Rice best_rice(std::span<const std::int64_t> positions, int widest) {
  Rice best{0, UINT64_MAX};
  for (int parameter = 0; parameter <= widest; ++parameter) {
    std::uint64_t bits = 0;
    std::int64_t before = -1;
    for (std::int64_t position : positions) {
      bits += (static_cast<std::uint64_t>(position - before - 1) >> parameter) + 1 +
              static_cast<std::uint64_t>(parameter);
      before = position;
    }
    if (bits < best.bits) best = {parameter, bits};
  }
  return best;
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
  const Rice rice = best_rice(positions, width);
  const std::uint64_t packed = whole_bytes(positions.size() * static_cast<std::uint64_t>(width));
  const std::uint64_t bitmap = whole_bytes(static_cast<std::uint64_t>(length));
  const std::uint64_t smallest = std::min({packed, bitmap, whole_bytes(rice.bits)});

  Tensor bytes(DType::u8, {static_cast<std::int64_t>(smallest)});
  BitSink sink(bytes.as<std::uint8_t>().data());
  payload.attributes.set("count", static_cast<std::int64_t>(positions.size()));
  if (smallest == bitmap) {
    payload.attributes.set("index_form", std::string("bitmap"));
    for (std::int64_t position : positions) {
      bytes.as<std::uint8_t>()[static_cast<std::size_t>(position / 8)] |=
          static_cast<std::uint8_t>(1u << (position % 8));
    }
  } else if (smallest == packed) {
    payload.attributes.set("index_form", std::string("packed"));
    for (std::int64_t position : positions) sink.put(static_cast<std::uint64_t>(position), width);
  } else {
    payload.attributes.set("index_form", std::string("rice"));
    payload.attributes.set("rice_parameter", std::int64_t{rice.parameter});
    std::int64_t before = -1;
    for (std::int64_t position : positions) {
      const auto gap = static_cast<std::uint64_t>(position - before - 1);
      sink.put_ones(gap >> rice.parameter);
      sink.put(0, 1);
      sink.put(gap, rice.parameter);
      before = position;
    }
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
  const auto least = static_cast<std::uint64_t>(parameter + (rice ? 1 : 0));
  if (static_cast<std::uint64_t>(count) * least > bytes.size() * 8) {
    corrupt(payload, "too few bytes for the stated count of positions");
  }
  BitSource source(bytes);
  std::vector<std::int64_t> positions(static_cast<std::size_t>(count));
  std::int64_t before = -1;
  for (std::int64_t& position : positions) {
    if (rice) {
      const std::uint64_t ones = source.get_ones();
      const std::uint64_t low = source.get(parameter);
      if (!source.ok() || ones > (static_cast<std::uint64_t>(length) >> parameter)) {
        corrupt(payload, "positions are cut or out of range");
      }
      position = before + 1 + static_cast<std::int64_t>((ones << parameter) | low);
    } else {
      position = static_cast<std::int64_t>(source.get(width));
    }
    if (!source.ok() || position <= before || position >= length) {
      corrupt(payload, "positions are cut, out of order or out of range");
    }
    before = position;
  }
  if (!source.ended_cleanly()) corrupt(payload, "bytes are left after the last position");
  return positions;
}

}  // namespace laconic
