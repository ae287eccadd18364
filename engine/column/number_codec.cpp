#include "engine/column/number_codec.h"

#include <algorithm>
#include <bit>

#include "engine/coding/integer_codes.h"

namespace laconic {
namespace {

constexpr std::uint8_t varint_packing = 9;  // 0 to 8 are planes of so many bytes

using Kind = ColumnStreamKind;

std::uint64_t difference(std::int64_t a, std::int64_t b) {
  return static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b);
}
std::uint64_t zig_zag_difference(std::int64_t a, std::int64_t b) {
  return zig_zag(static_cast<std::int64_t>(difference(a, b)));
}

// Numbers that precede the packed ones.
std::size_t started_rows(NumberTransform transform, std::size_t rows) {
  switch (transform) {
    case NumberTransform::delta:
    case NumberTransform::rising:
      return std::min<std::size_t>(rows, 1);
    case NumberTransform::second_delta:
      return std::min<std::size_t>(rows, 2);
    default:
      return 0;
  }
}

void put_zig_zag(ColumnParts& parts, std::uint64_t value) {
  parts.put_varint(Kind::numbers, zig_zag(static_cast<std::int64_t>(value)));
}

std::optional<std::vector<std::uint64_t>> differences_of(ColumnParts& parts,
                                                         std::span<const std::int64_t> values,
                                                         NumberTransform transform) {
  std::vector<std::uint64_t> rests;
  if (values.empty()) return rests;
  rests.reserve(values.size());
  put_zig_zag(parts, static_cast<std::uint64_t>(values[0]));
  if (transform == NumberTransform::second_delta) {
    if (values.size() > 1) put_zig_zag(parts, difference(values[1], values[0]));
    for (std::size_t i = 2; i < values.size(); ++i) {
      rests.push_back(
          zig_zag_difference(static_cast<std::int64_t>(difference(values[i], values[i - 1])),
                             static_cast<std::int64_t>(difference(values[i - 1], values[i - 2]))));
    }
    return rests;
  }
  for (std::size_t i = 1; i < values.size(); ++i) {
    if (transform == NumberTransform::delta) {
      rests.push_back(zig_zag_difference(values[i], values[i - 1]));
    } else {
      if (values[i] < values[i - 1]) return std::nullopt;
      rests.push_back(difference(values[i], values[i - 1]));
    }
  }
  return rests;
}

std::uint64_t on_the_line(const LinearReference& reference, std::size_t row) {
  return static_cast<std::uint64_t>(reference.factor) * static_cast<std::uint64_t>(reference.values[row]);
}

std::vector<std::uint64_t> linear_rests(ColumnParts& parts, std::span<const std::int64_t> values,
                                        const LinearReference& reference) {
  std::vector<std::uint64_t> rests(values.size());
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    rests[i] = static_cast<std::uint64_t>(values[i]) - on_the_line(reference, i);
    const auto rest = static_cast<std::int64_t>(rests[i]);
    offset = i == 0 ? rest : std::min(offset, rest);
  }
  put_zig_zag(parts, static_cast<std::uint64_t>(offset));
  for (std::uint64_t& rest : rests) rest -= static_cast<std::uint64_t>(offset);
  return rests;
}

std::uint8_t put_planes(ColumnParts& parts, std::span<const std::uint64_t> rests) {
  std::uint64_t all = 0;
  for (const std::uint64_t rest : rests) all |= rest;
  const int width = (std::bit_width(all) + 7) / 8;
  Bytes& stream = parts[Kind::planes];
  std::size_t at = stream.size();
  stream.resize(at + rests.size() * static_cast<std::size_t>(width));
  for (int byte = 0; byte < width; ++byte) {
    for (const std::uint64_t rest : rests) stream[at++] = static_cast<std::byte>(rest >> (8 * byte));
  }
  return static_cast<std::uint8_t>(width);
}

// Rests of the rows from `first` on; zeros before them.
std::vector<std::int64_t> take_packed(ColumnCursors& in, std::uint8_t packing, std::size_t first,
                                      std::size_t rows) {
  const std::size_t count = rows - first;
  if (packing == varint_packing) {
    StreamCursor& stream = in[Kind::numbers];
    if (count > stream.remaining()) stream.corrupt("there are fewer numbers than rows");
    std::vector<std::int64_t> rests(rows);
    for (std::size_t i = first; i < rows; ++i) rests[i] = static_cast<std::int64_t>(stream.varint());
    return rests;
  }
  const std::string_view planes = in[Kind::planes].take(std::uint64_t{count} * packing);
  std::vector<std::int64_t> rests(rows);
  for (std::size_t byte = 0; byte < packing; ++byte) {
    const char* plane = planes.data() + byte * count;
    for (std::size_t i = 0; i < count; ++i) {
      rests[first + i] |=
          static_cast<std::int64_t>(std::uint64_t{static_cast<std::uint8_t>(plane[i])} << (8 * byte));
    }
  }
  return rests;
}

std::uint64_t take_zig_zag(ColumnCursors& in) {
  return static_cast<std::uint64_t>(undo_zig_zag(in[Kind::numbers].varint()));
}

struct NumberForm {
  NumberTransform transform;
  std::uint8_t packing;
};

NumberForm checked_form(ColumnCursors& in, std::uint8_t form) {
  if (form >= 16 * number_transforms || form % 16 > varint_packing) {
    in[Kind::descriptor].corrupt("unknown form of numbers");
  }
  return {static_cast<NumberTransform>(form / 16), static_cast<std::uint8_t>(form % 16)};
}

void undo_linear(ColumnCursors& in, std::vector<std::int64_t>& values, std::uint64_t offset,
                 const LinearReference& reference) {
  if (reference.values.size() != values.size()) {
    in[Kind::descriptor].corrupt("a column of numbers refers to one of another height");
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] =
        static_cast<std::int64_t>(static_cast<std::uint64_t>(values[i]) + offset + on_the_line(reference, i));
  }
}

// `values` holds the packed rests in its rows from `first` on.
void undo_differences(std::vector<std::int64_t>& values, NumberTransform transform, std::size_t first,
                      std::uint64_t value, std::uint64_t step) {
  if (first > 0) values[0] = static_cast<std::int64_t>(value);
  if (first > 1) values[1] = static_cast<std::int64_t>(value += step);
  for (std::size_t i = first; i < values.size(); ++i) {
    const auto rest = static_cast<std::uint64_t>(values[i]);
    const auto signed_rest = static_cast<std::uint64_t>(undo_zig_zag(rest));
    if (transform == NumberTransform::second_delta) {
      step += signed_rest;
    } else {
      step = transform == NumberTransform::rising ? rest : signed_rest;
    }
    values[i] = static_cast<std::int64_t>(value += step);
  }
}

}  // namespace

std::optional<std::uint8_t> put_numbers(ColumnParts& parts, std::span<const std::int64_t> values,
                                        NumberTransform transform, NumberPacking packing,
                                        const LinearReference& reference) {
  std::optional<std::vector<std::uint64_t>> rests;
  if (transform == NumberTransform::plain) {
    if (std::any_of(values.begin(), values.end(), [](std::int64_t v) { return v < 0; })) return std::nullopt;
    rests.emplace(values.begin(), values.end());
  } else if (transform == NumberTransform::linear) {
    if (reference.values.size() < values.size()) return std::nullopt;
    rests = linear_rests(parts, values, reference);
  } else {
    rests = differences_of(parts, values, transform);
  }
  if (!rests) return std::nullopt;
  std::uint8_t packed = varint_packing;
  if (packing == NumberPacking::planes) {
    packed = put_planes(parts, *rests);
  } else {
    for (const std::uint64_t rest : *rests) parts.put_varint(Kind::numbers, rest);
  }
  return static_cast<std::uint8_t>(16 * static_cast<std::uint8_t>(transform) + packed);
}

std::vector<std::int64_t> take_numbers(ColumnCursors& in, std::uint8_t form, std::size_t rows,
                                       const LinearReference& reference) {
  const auto [transform, packing] = checked_form(in, form);
  const std::size_t first = started_rows(transform, rows);
  const bool linear = transform == NumberTransform::linear;
  const std::uint64_t start = linear || first > 0 ? take_zig_zag(in) : 0;
  const std::uint64_t step = first > 1 ? take_zig_zag(in) : 0;
  std::vector<std::int64_t> values = take_packed(in, packing, first, rows);
  if (linear) {
    undo_linear(in, values, start, reference);
  } else if (transform != NumberTransform::plain) {
    undo_differences(values, transform, first, start, step);
  }
  return values;
}

void skip_numbers(ColumnCursors& in, std::uint8_t form, std::size_t rows) {
  const auto [transform, packing] = checked_form(in, form);
  const std::size_t first = started_rows(transform, rows);
  in[Kind::numbers].skip_varints(transform == NumberTransform::linear ? 1 : first);
  if (packing == varint_packing) {
    in[Kind::numbers].skip_varints(rows - first);
  } else {
    in[Kind::planes].take(std::uint64_t{rows - first} * packing);
  }
}

}  // namespace laconic
