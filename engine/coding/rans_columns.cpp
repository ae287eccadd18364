#include "engine/coding/rans_columns.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/base/error.h"
#include "engine/coding/integer_codes.h"
#include "engine/coding/rans_columns_kernel.h"
#include "engine/coding/rans_lanes.h"
#include "engine/coding/rans_symbols.h"

namespace laconic {
namespace {

constexpr int lanes_of_columns(std::uint64_t count) {
  return count < 2048 ? 1 : count < 16384 ? 4 : rans_column_lanes_most;
}

// A run of equal entries, by copies that double: compilers fill word by word.
void fill_run(std::uint32_t* to, std::uint32_t count, std::uint32_t entry) {
  std::uint32_t filled = std::min(count, 8u);
  for (std::uint32_t i = 0; i < filled; ++i) to[i] = entry;
  for (; filled < count; filled += std::min(filled, count - filled))
    std::memcpy(to + filled, to, std::min(filled, count - filled) * sizeof entry);
}

// False when the table is too fine for a lookup.
bool fill_lookup(const FrequencyTable& table, ColumnLookup& lookup) {
  constexpr std::uint32_t fine = (1u << column_slot_bits) - 1;
  if (table.symbols() > 256) return false;
  std::uint32_t* at = lookup.data();
  for (std::size_t symbol = 0; symbol < table.symbols(); ++symbol) {
    const std::uint32_t frequency = table.frequency(symbol);
    if ((frequency & fine) != 0) return false;
    const std::uint32_t slots = frequency >> column_slot_bits;
    if (slots == 0) continue;
    const std::uint32_t entry = static_cast<std::uint32_t>(symbol) | (slots - 1) << 8 |
                                (table.cumulative(symbol) >> column_slot_bits) << 20;
    fill_run(at, slots, entry);
    at += slots;
  }
  return true;
}

std::size_t column_symbol(std::int32_t value, const IntegerColumn& column) {
  const std::int64_t offset = std::int64_t{value} - column.lowest;
  const auto inside = static_cast<std::int64_t>(column.table->symbols()) - 1;
  return static_cast<std::size_t>(offset < 0 || offset >= inside ? inside : offset);
}

// Not 0 for a number outside the table.
std::int64_t excess_of(std::int32_t value, const IntegerColumn& column) {
  const std::int64_t offset = std::int64_t{value} - column.lowest;
  const auto inside = static_cast<std::int64_t>(column.table->symbols()) - 1;
  return offset < 0 ? offset : offset >= inside ? offset - inside + 1 : 0;
}

[[noreturn]] void refuse_number(std::int32_t value, std::int64_t row, std::size_t column) {
  const bool wide = value > most_coded_integer || value < -most_coded_integer;
  fail(ErrorKind::input,
       "number " + std::to_string(value) +
           (wide ? " is beyond 2^30" : " has no frequency in the table of its column"),
       "row " + std::to_string(row) + ", column " + std::to_string(column),
       wide ? "scale the data" : "give every symbol a frequency, or an escape");
}

// As many numbers of one column as lookup and words allow, escapes as their symbol's place. Returns how many.
std::int64_t decode_by_lookup(RansDecoder& decoder, const ColumnLookup& lookup, std::int32_t lowest,
                              std::span<std::int32_t> numbers, std::uint32_t& most) {
  std::uint32_t* const states = decoder.states().data();
  const ByteSpan words = decoder.words();
  const std::byte* at = words.data();
  const std::byte* const end = at + words.size();
  int lane = decoder.lane();
  std::uint64_t done = 0;
  const std::uint64_t count = numbers.size();
  const auto one_by_one = [&](std::uint64_t wanted) {
    // A number takes at most one word.
    const std::uint64_t room = static_cast<std::uint64_t>(end - at) / 2;
    const std::uint64_t now = std::min(wanted, room < 1 ? 0 : room - 1);
    column_symbols(lookup, states, decoder.lanes(), lane, at, now, lowest, numbers.data() + done, most);
    done += now;
  };
  if (decoder.lanes() == rans_column_lanes_most) {
    const auto turns = static_cast<std::uint64_t>(rans_column_lanes_most);
    one_by_one(std::min(count, (turns - static_cast<std::uint64_t>(lane)) % turns));
    if (lane == 0)
      done += turns * column_rounds(lookup, states, at, end, (count - done) / turns, lowest,
                                    numbers.data() + done, most);
  }
  one_by_one(count - done);
  decoder.use_words(static_cast<std::size_t>(at - words.data()));
  decoder.go_to(lane);
  return static_cast<std::int64_t>(done);
}

}  // namespace

Bytes rans_encode_columns(const std::int32_t* values, std::int64_t rows, std::int64_t stride,
                          std::span<const IntegerColumn> columns) {
  BitWriter escapes;
  for (std::size_t c = 0; c < columns.size(); ++c) {
    for (std::int64_t row = 0; row < rows; ++row) {
      const std::int32_t value = values[row * stride + static_cast<std::int64_t>(c)];
      if (value > most_coded_integer || value < -most_coded_integer) refuse_number(value, row, c);
      const std::int64_t excess = excess_of(value, columns[c]);
      if (excess != 0) put_elias_gamma(escapes, zig_zag(excess));
    }
  }
  const std::uint64_t count = static_cast<std::uint64_t>(rows) * columns.size();
  RansEncoder encoder(count, lanes_of_columns(count));
  for (std::size_t c = columns.size(); c-- > 0;) {
    for (std::int64_t row = rows; row-- > 0;) {
      const std::int32_t value = values[row * stride + static_cast<std::int64_t>(c)];
      const std::size_t symbol = column_symbol(value, columns[c]);
      if (columns[c].table->frequency(symbol) == 0) refuse_number(value, row, c);
      encoder.put(*columns[c].table, symbol);
    }
  }
  ByteWriter lanes;
  encoder.append_to(lanes);
  ByteWriter writer;
  writer.varint(lanes.size());
  writer.append(lanes.span());
  writer.append(escapes.take());
  return writer.take();
}

void rans_decode_columns(ByteSpan coded, std::int64_t rows, std::span<const IntegerColumn> columns,
                         const ColumnTaker& take, std::string_view where) {
  ByteReader reader(coded, std::string(where));
  ByteReader lanes(reader.take(reader.length(reader.remaining())), std::string(where));
  BitReader escapes(reader.take(reader.remaining()), where);
  RansDecoder decoder(lanes, lanes_of_columns(static_cast<std::uint64_t>(rows) * columns.size()), where);
  ColumnLookup lookup;
  const FrequencyTable *tried = nullptr, *looked_up = nullptr;
  std::vector<std::int32_t> numbers(static_cast<std::size_t>(rows));
  for (std::size_t c = 0; c < columns.size(); ++c) {
    const FrequencyTable& table = *columns[c].table;
    const std::int64_t lowest = columns[c].lowest, inside = static_cast<std::int64_t>(table.symbols()) - 1;
    if (&table != tried) looked_up = fill_lookup(table, lookup) ? &table : nullptr;
    tried = &table;
    std::uint32_t most = 0;
    std::int64_t row =
        looked_up == nullptr ? 0 : decode_by_lookup(decoder, lookup, columns[c].lowest, numbers, most);
    for (; row < rows; ++row) {
      const std::size_t symbol = table.symbol_at(decoder.slot());
      decoder.take(table.cumulative(symbol), table.frequency(symbol));
      numbers[static_cast<std::size_t>(row)] = columns[c].lowest + static_cast<std::int32_t>(symbol);
      most = std::max(most, static_cast<std::uint32_t>(symbol));
    }
    if (static_cast<std::int64_t>(most) == inside) {
      for (std::int32_t& number : numbers) {
        if (number - lowest != inside) continue;
        const std::int64_t excess = undo_zig_zag(read_elias_gamma(escapes, std::uint64_t{1} << 33));
        const std::int64_t value = lowest + excess + (excess > 0 ? inside - 1 : 0);
        if (value > most_coded_integer || value < -most_coded_integer)
          escapes.corrupt("number is out of range");
        number = static_cast<std::int32_t>(value);
      }
    }
    take(static_cast<std::int64_t>(c), numbers);
  }
  decoder.expect_end();
  escapes.expect_end();
}

}  // namespace laconic
