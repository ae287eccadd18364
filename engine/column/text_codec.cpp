#include "engine/column/text_codec.h"

#include <algorithm>
#include <cstring>

namespace laconic {
namespace {

using Kind = ColumnStreamKind;
constexpr std::uint64_t longest_value = 0x7fffffff;

void put_terminated(Bytes& stream, ColumnView column) {
  std::size_t at = stream.size();
  stream.resize(at + column.text().size() + column.size());
  for (std::size_t row = 0; row < column.size(); ++row) {
    const std::string_view value = column[row];
    if (!value.empty()) std::memcpy(stream.data() + at, value.data(), value.size());
    at += value.size();
    stream[at++] = std::byte{'\n'};
  }
}

// ends[i] = end of i + 1 values of one length after what is there.
void append_even_ends(ColumnText& out, std::size_t rows, std::size_t length) {
  std::size_t end = out.bytes.size();
  for (std::size_t row = 0; row < rows; ++row) out.ends.push_back(static_cast<std::uint32_t>(end += length));
}

std::uint64_t take_length(ColumnCursors& in, std::size_t rows) {
  const std::uint64_t length = in[Kind::descriptor].number(longest_value);
  in.claim(length * rows);
  return length;
}

void take_fixed(ColumnCursors& in, Kind kind, std::size_t rows, ColumnText* out) {
  const std::uint64_t length = take_length(in, rows);
  const std::string_view text = in[kind].take(length * rows);
  if (out == nullptr) return;
  append_even_ends(*out, rows, static_cast<std::size_t>(length));
  out->bytes.append(text);
}

void take_terminated(ColumnCursors& in, Kind kind, std::size_t rows, ColumnText* out) {
  for (std::size_t row = 0; row < rows; ++row) {
    const std::string_view value = in[kind].take_until('\n');
    in.claim(value.size());
    if (out != nullptr) out->add(value);
  }
}

void take_with_lengths(ColumnCursors& in, Kind kind, std::size_t rows, ColumnText* out) {
  for (std::size_t row = 0; row < rows; ++row) {
    const std::uint64_t length = in[Kind::lengths].number(longest_value);
    in.claim(length);
    const std::string_view value = in[kind].take(length);
    if (out != nullptr) out->add(value);
  }
}

}  // namespace

std::optional<std::size_t> common_length(ColumnView column) {
  if (column.empty()) return std::nullopt;
  const std::size_t length = column[0].size();
  if (column.text().size() != length * column.size()) return std::nullopt;
  for (std::size_t row = 1; row < column.size(); ++row) {
    if (column[row].size() != length) return std::nullopt;
  }
  return length;
}

TextLayout layout_of(ColumnView column) {
  if (common_length(column)) return TextLayout::fixed;
  return column.text().find('\n') == std::string_view::npos ? TextLayout::terminated : TextLayout::lengths;
}

void put_values(ColumnParts& parts, Kind kind, TextLayout layout, ColumnView column) {
  if (layout == TextLayout::terminated) {
    put_terminated(parts[kind], column);
    return;
  }
  if (layout == TextLayout::fixed) parts.put_varint(Kind::descriptor, column.empty() ? 0 : column[0].size());
  if (layout == TextLayout::lengths) {
    for (std::size_t row = 0; row < column.size(); ++row) parts.put_varint(Kind::lengths, column[row].size());
  }
  parts.put_text(kind, column.text());
}

void take_values(ColumnCursors& in, Kind kind, TextLayout layout, std::size_t rows, ColumnText* out) {
  if (layout == TextLayout::terminated) {
    take_terminated(in, kind, rows, out);
  } else if (layout == TextLayout::fixed) {
    take_fixed(in, kind, rows, out);
  } else {
    take_with_lengths(in, kind, rows, out);
  }
}

void put_transposed(ColumnParts& parts, ColumnView column) {
  const std::size_t length = column.empty() ? 0 : column[0].size();
  parts.put_varint(Kind::descriptor, length);
  Bytes& stream = parts[Kind::fixed];
  std::size_t at = stream.size();
  const std::string_view text = column.text();
  stream.resize(at + text.size());
  for (std::size_t byte = 0; byte < length; ++byte) {
    for (std::size_t row = 0; row < column.size(); ++row) {
      stream[at++] = static_cast<std::byte>(text[row * length + byte]);
    }
  }
}

void take_transposed(ColumnCursors& in, std::size_t rows, ColumnText* out) {
  const auto length = static_cast<std::size_t>(take_length(in, rows));
  const std::string_view planes = in[Kind::fixed].take(std::uint64_t{length} * rows);
  if (out == nullptr) return;
  append_even_ends(*out, rows, length);
  const std::size_t begin = out->bytes.size();
  out->bytes.resize(begin + planes.size());
  for (std::size_t byte = 0; byte < length; ++byte) {
    for (std::size_t row = 0; row < rows; ++row) {
      out->bytes[begin + row * length + byte] = planes[byte * rows + row];
    }
  }
}

void put_constant(ColumnParts& parts, std::string_view value, bool with_length) {
  parts.put_text(Kind::dictionary, value);
  if (with_length) {
    parts.put_varint(Kind::lengths, value.size());
  } else {
    parts.put_text(Kind::dictionary, "\n");
  }
}

void take_constant(ColumnCursors& in, bool with_length, std::size_t rows, ColumnText* out) {
  const std::string_view value = with_length
                                     ? in[Kind::dictionary].take(in[Kind::lengths].number(longest_value))
                                     : in[Kind::dictionary].take_until('\n');
  in.claim(std::uint64_t{value.size()} * rows);
  if (out == nullptr) return;
  out->bytes.reserve(out->bytes.size() + value.size() * rows);
  for (std::size_t row = 0; row < rows; ++row) out->add(value);
}

}  // namespace laconic
