#include "engine/coding/rans_symbols.h"

#include "engine/base/error.h"
#include "engine/coding/integer_codes.h"
#include "engine/coding/rans_lanes.h"

namespace laconic {
namespace {

std::size_t table_index(std::span<const std::uint16_t> table_of, std::size_t i) {
  return table_of.empty() ? 0 : table_of[i];
}

void require_tables(std::size_t count, std::size_t tables, std::span<const std::uint16_t> table_of) {
  require(table_of.empty() || table_of.size() == count, "one table index per symbol");
  require(tables > 0 || count == 0, "symbols need a table");
  for (const std::uint16_t index : table_of) require(index < tables, "table index names a table");
}

void put_symbol(RansEncoder& encoder, const FrequencyTable& table, std::size_t symbol, std::size_t at) {
  if (symbol >= table.symbols() || table.frequency(symbol) == 0) {
    fail(ErrorKind::input, "symbol " + std::to_string(symbol) + " has no frequency in its table",
         "index " + std::to_string(at), "give every symbol a frequency, or an escape");
  }
  encoder.put(table, symbol);
}

std::size_t take_symbol(RansDecoder& decoder, const FrequencyTable& table) {
  const std::size_t symbol = table.symbol_at(decoder.slot());
  decoder.take(table.cumulative(symbol), table.frequency(symbol));
  return symbol;
}

struct Escaped {
  std::size_t symbol = 0;
  std::int64_t excess = 0;  // not 0 for the escape symbol
};

Escaped symbol_of(std::int32_t value, const IntegerTable& table, std::size_t at) {
  if (value > most_coded_integer || value < -most_coded_integer) {
    fail(ErrorKind::input, "number " + std::to_string(value) + " is beyond 2^30",
         "index " + std::to_string(at), "scale the data");
  }
  const auto inside = static_cast<std::int64_t>(table.table.symbols()) - 1;
  const std::int64_t offset = std::int64_t{value} - table.lowest;
  const auto escape = static_cast<std::size_t>(inside);
  if (offset < 0) return {escape, offset};
  if (offset >= inside) return {escape, offset - inside + 1};
  return {static_cast<std::size_t>(offset), 0};
}

}  // namespace

Bytes rans_encode_symbols(std::span<const std::uint16_t> symbols, std::span<const FrequencyTable> tables,
                          std::span<const std::uint16_t> table_of) {
  require_tables(symbols.size(), tables.size(), table_of);
  RansEncoder encoder(symbols.size());
  for (std::size_t i = symbols.size(); i-- > 0;) {
    put_symbol(encoder, tables[table_index(table_of, i)], symbols[i], i);
  }
  ByteWriter writer;
  encoder.append_to(writer);
  return writer.take();
}

void rans_decode_symbols(ByteSpan coded, std::span<const FrequencyTable> tables,
                         std::span<const std::uint16_t> table_of, std::span<std::uint16_t> symbols,
                         std::string_view where) {
  require_tables(symbols.size(), tables.size(), table_of);
  ByteReader reader(coded, std::string(where));
  RansDecoder decoder(reader, rans_lanes(symbols.size()), where);
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    symbols[i] = static_cast<std::uint16_t>(take_symbol(decoder, tables[table_index(table_of, i)]));
  }
  decoder.expect_end();
}

Bytes rans_encode_integers(std::span<const std::int32_t> values, std::span<const IntegerTable> tables,
                           std::span<const std::uint16_t> table_of) {
  require_tables(values.size(), tables.size(), table_of);
  BitWriter escapes;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const Escaped escaped = symbol_of(values[i], tables[table_index(table_of, i)], i);
    if (escaped.excess != 0) put_elias_gamma(escapes, zig_zag(escaped.excess));
  }
  RansEncoder encoder(values.size());
  for (std::size_t i = values.size(); i-- > 0;) {
    const IntegerTable& table = tables[table_index(table_of, i)];
    put_symbol(encoder, table.table, symbol_of(values[i], table, i).symbol, i);
  }
  ByteWriter lanes;
  encoder.append_to(lanes);
  ByteWriter writer;
  writer.varint(lanes.size());
  writer.append(lanes.span());
  writer.append(escapes.take());
  return writer.take();
}

void rans_decode_integers(ByteSpan coded, std::span<const IntegerTable> tables,
                          std::span<const std::uint16_t> table_of, std::span<std::int32_t> values,
                          std::string_view where) {
  require_tables(values.size(), tables.size(), table_of);
  ByteReader reader(coded, std::string(where));
  ByteReader lanes(reader.take(reader.length(reader.remaining())), std::string(where));
  BitReader escapes(reader.take(reader.remaining()), where);
  RansDecoder decoder(lanes, rans_lanes(values.size()), where);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const IntegerTable& table = tables[table_index(table_of, i)];
    const std::size_t symbol = take_symbol(decoder, table.table);
    const std::size_t inside = table.table.symbols() - 1;
    std::int64_t value = table.lowest + static_cast<std::int64_t>(symbol);
    if (symbol == inside) {
      const std::int64_t excess = undo_zig_zag(read_elias_gamma(escapes, std::uint64_t{1} << 33));
      value = table.lowest + excess + (excess > 0 ? static_cast<std::int64_t>(inside) - 1 : 0);
    }
    if (value > most_coded_integer || value < -most_coded_integer) escapes.corrupt("number is out of range");
    values[i] = static_cast<std::int32_t>(value);
  }
  decoder.expect_end();
  escapes.expect_end();
}

}  // namespace laconic
