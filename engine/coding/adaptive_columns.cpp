#include "engine/coding/adaptive_columns.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/coding/adaptive_models.h"
#include "engine/coding/integer_codes.h"
#include "engine/coding/rans_symbols.h"

namespace laconic {
namespace {

constexpr std::int64_t most_inside = AdaptiveSymbol::most_symbols - 1;  // the escape is a symbol, too

// The symbols begin where the fewest numbers are left out: everything, or a run around the median.
std::pair<std::int32_t, std::int64_t> inside_of(const std::int32_t* values, std::int64_t rows,
                                                std::int64_t stride, std::int64_t columns) {
  std::vector<std::int32_t> all;
  for (std::int64_t r = 0; r < rows; ++r)
    all.insert(all.end(), values + r * stride, values + r * stride + columns);
  if (all.empty()) return {0, 1};
  const auto [low, high] = std::minmax_element(all.begin(), all.end());
  if (std::int64_t{*high} - *low < most_inside) return {*low, std::int64_t{*high} - *low + 1};
  const auto middle = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
  std::nth_element(all.begin(), middle, all.end());
  return {static_cast<std::int32_t>(*middle - most_inside / 2), most_inside};
}

}  // namespace

Bytes adaptive_encode_columns(const std::int32_t* values, std::int64_t rows, std::int64_t stride,
                              std::int64_t columns) {
  const auto [lowest, inside] = inside_of(values, rows, stride, columns);
  std::vector<AdaptiveSymbol> models(static_cast<std::size_t>(columns),
                                     AdaptiveSymbol(static_cast<std::uint32_t>(inside) + 1));
  RangeEncoder encoder;
  BitWriter escapes;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      const std::int32_t value = values[r * stride + c];
      require(value >= -most_coded_integer && value <= most_coded_integer, "numbers lie within 2^30");
      const std::int64_t offset = std::int64_t{value} - lowest;
      const bool escaped = offset < 0 || offset >= inside;
      models[static_cast<std::size_t>(c)].encode(encoder,
                                                 static_cast<std::uint32_t>(escaped ? inside : offset));
      if (escaped) put_elias_gamma(escapes, zig_zag(offset < 0 ? offset : offset - inside + 1));
    }
  }
  ByteWriter writer;
  writer.signed_varint(lowest);
  writer.varint(static_cast<std::uint64_t>(inside));
  const Bytes coded = encoder.take();
  writer.varint(coded.size());
  writer.append(coded);
  writer.append(escapes.take());
  return writer.take();
}

void adaptive_decode_columns(ByteSpan coded, std::int64_t rows, std::int64_t columns, std::int32_t* values,
                             std::string_view where) {
  ByteReader reader(coded, std::string(where));
  const std::int64_t lowest = reader.signed_varint();
  if (lowest > most_coded_integer || lowest < -2 * std::int64_t{most_coded_integer})
    reader.corrupt("symbols begin out of range");
  const auto inside = static_cast<std::int64_t>(reader.length(static_cast<std::uint64_t>(most_inside)));
  if (inside == 0) reader.corrupt("there are no symbols");
  const ByteSpan symbols = reader.take(reader.length(reader.remaining()));
  BitReader escapes(reader.take(reader.remaining()), where);
  RangeDecoder decoder(symbols, where);
  std::vector<AdaptiveSymbol> models(static_cast<std::size_t>(columns),
                                     AdaptiveSymbol(static_cast<std::uint32_t>(inside) + 1));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      const std::int64_t symbol = models[static_cast<std::size_t>(c)].decode(decoder);
      std::int64_t value = lowest + symbol;
      if (symbol == inside) {
        const std::int64_t excess = undo_zig_zag(read_elias_gamma(escapes, std::uint64_t{1} << 33));
        value = lowest + excess + (excess > 0 ? inside - 1 : 0);
      }
      if (value > most_coded_integer || value < -most_coded_integer)
        escapes.corrupt("number is out of range");
      values[r * columns + c] = static_cast<std::int32_t>(value);
    }
  }
  decoder.expect_end();
  escapes.expect_end();
}

}  // namespace laconic
