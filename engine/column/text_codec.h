// Values as they are (codecs C, T and F of card 34, step 5), in one of three layouts:
//   terminated   each value and a line feed; no value holds one
//   fixed        values of one length, a parameter, with nothing between them
//   lengths      values with nothing between them, their lengths as varints in the stream of lengths
// Transposed text is the fixed layout turned: all first bytes, all second bytes, and so on.
#pragma once

#include <cstdint>
#include <optional>

#include "engine/column/column_streams.h"
#include "engine/column/column_view.h"

namespace laconic {

enum class TextLayout : std::uint8_t { terminated, fixed, lengths };
inline constexpr std::uint8_t text_layouts = 3;

// The length of all values, where it is one.
std::optional<std::size_t> common_length(ColumnView column);
// The narrowest layout: fixed where it fits, terminated where that fits, else lengths.
TextLayout layout_of(ColumnView column);

// Puts the fixed length into the descriptor. The layout must fit the values.
void put_values(ColumnParts& parts, ColumnStreamKind kind, TextLayout layout, ColumnView column);
// Appends `rows` values to `out`, or only reads past them when it is null.
void take_values(ColumnCursors& in, ColumnStreamKind kind, TextLayout layout, std::size_t rows,
                 ColumnText* out);

// Requires a common length.
void put_transposed(ColumnParts& parts, ColumnView column);
void take_transposed(ColumnCursors& in, std::size_t rows, ColumnText* out);

// One value for all rows, itself among the dictionary texts. with_length: it may hold line feeds.
void put_constant(ColumnParts& parts, std::string_view value, bool with_length);
void take_constant(ColumnCursors& in, bool with_length, std::size_t rows, ColumnText* out);

}  // namespace laconic
