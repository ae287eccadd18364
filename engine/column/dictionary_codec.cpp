#include "engine/column/dictionary_codec.h"

#include <algorithm>
#include <array>

#include "engine/column/column_codes.h"
#include "engine/column/text_codec.h"

namespace laconic {
namespace {

using Kind = ColumnStreamKind;
constexpr std::size_t recent_places = 254;

// Texts by how long ago they were used.
class RecentList {
 public:
  // Where the id stands, or recent_places when it does not.
  std::size_t place_of(std::uint32_t id) const {
    const auto found = std::find(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(used_), id);
    return found == ids_.begin() + static_cast<std::ptrdiff_t>(used_)
               ? recent_places
               : static_cast<std::size_t>(found - ids_.begin());
  }
  std::size_t used() const { return used_; }
  std::uint32_t to_front(std::size_t place) {
    const auto begin = ids_.begin();
    std::rotate(begin, begin + static_cast<std::ptrdiff_t>(place),
                begin + static_cast<std::ptrdiff_t>(place) + 1);
    return ids_[0];
  }
  void add(std::uint32_t id) {
    used_ = std::min(used_ + 1, recent_places);
    to_front(used_ - 1);
    ids_[0] = id;
  }

 private:
  std::array<std::uint32_t, recent_places> ids_{};
  std::size_t used_ = 0;
};

void put_texts(ColumnParts& parts, std::uint8_t code, const ColumnText& texts) {
  const TextLayout layout = layout_of(texts.view());
  parts.put_byte(Kind::descriptor, static_cast<std::uint8_t>(code + static_cast<std::uint8_t>(layout)));
  put_values(parts, Kind::dictionary, layout, texts.view());
}

// The symbols of a column and the texts they stand for.
struct TakenSymbols {
  std::vector<std::uint32_t> symbols;
  ColumnText texts;
};

TakenSymbols take_symbols(ColumnCursors& in, bool wide, TextLayout layout, std::size_t rows) {
  TakenSymbols taken;
  StreamCursor& ids = in[Kind::ids];
  if (rows > ids.remaining()) ids.corrupt("there are fewer ids than rows");
  taken.symbols.resize(rows);
  for (std::uint32_t& symbol : taken.symbols) {
    symbol = wide ? static_cast<std::uint32_t>(ids.number(rows)) : ids.byte();
  }
  const auto texts = static_cast<std::size_t>(std::count(taken.symbols.begin(), taken.symbols.end(), 0U));
  take_values(in, Kind::dictionary, layout, texts, &taken.texts);
  return taken;
}

std::uint32_t recent_text(ColumnCursors& in, RecentList& list, std::uint32_t symbol, std::uint32_t& next) {
  if (symbol == 0) {
    list.add(next);
    return next++;
  }
  if (symbol > list.used()) in[Kind::ids].corrupt("a rank beyond the list of recent texts");
  return list.to_front(symbol - 1);
}

}  // namespace

void put_dictionary(ColumnParts& parts, const NumberedValues& numbered) {
  ColumnText texts;
  for (std::size_t id = 0; id < numbered.table.size(); ++id) texts.add(numbered.table[id]);
  const bool wide = texts.size() > 255;
  put_texts(parts, wide ? column_code::wide_dictionary : column_code::dictionary, texts);
  std::uint32_t next = 0;
  for (const std::uint32_t id : numbered.ids) {
    const std::uint32_t symbol = id == next ? 0 : id + 1;
    next += id == next;
    if (wide) {
      parts.put_varint(Kind::ids, symbol);
    } else {
      parts.put_byte(Kind::ids, static_cast<std::uint8_t>(symbol));
    }
  }
}

void put_recent(ColumnParts& parts, const NumberedValues& numbered) {
  ColumnText texts;
  RecentList list;
  for (const std::uint32_t id : numbered.ids) {
    const std::size_t place = list.place_of(id);
    if (place == recent_places) {
      texts.add(numbered.table[id]);
      list.add(id);
      parts.put_byte(Kind::ids, 0);
    } else {
      list.to_front(place);
      parts.put_byte(Kind::ids, static_cast<std::uint8_t>(place + 1));
    }
  }
  put_texts(parts, column_code::recent, texts);
}

void take_dictionary(ColumnCursors& in, std::uint8_t code, std::size_t rows, ColumnText* out) {
  const bool recent = code >= column_code::recent;
  const bool wide = !recent && code >= column_code::wide_dictionary;
  const std::uint8_t base = recent ? column_code::recent
                            : wide ? column_code::wide_dictionary
                                   : column_code::dictionary;
  const TakenSymbols taken = take_symbols(in, wide, static_cast<TextLayout>(code - base), rows);
  if (out == nullptr) return;
  RecentList list;
  std::uint32_t next = 0;
  for (const std::uint32_t symbol : taken.symbols) {
    const std::uint32_t text = recent        ? recent_text(in, list, symbol, next)
                               : symbol == 0 ? next++
                                             : symbol - 1;
    if (text >= next) in[Kind::ids].corrupt("an id before its text");
    const std::string_view value = taken.texts[text];
    in.claim(value.size());
    out->add(value);
  }
}

}  // namespace laconic
