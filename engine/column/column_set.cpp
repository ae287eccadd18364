#include "engine/column/column_set.h"

#include <map>

#include "engine/column/column_codes.h"
#include "engine/column/column_encoder.h"

namespace laconic {
namespace {

using Kind = ColumnStreamKind;

void emit_streams(ColumnParts parts, std::uint32_t owner, std::vector<ColumnStream>& streams) {
  for (std::size_t kind = 0; kind < column_stream_kinds; ++kind) {
    if (parts.streams[kind].empty()) continue;
    streams.push_back({static_cast<Kind>(kind), owner, std::move(parts.streams[kind])});
  }
}

}  // namespace

std::vector<ColumnStream> encode_columns(std::span<const ColumnInput> columns, const ColumnOptions& options) {
  std::map<std::pair<std::uint32_t, std::size_t>, AlignedColumns> groups;  // by group and rows
  std::vector<ColumnEncoder::Sibling> siblings;
  for (const ColumnInput& column : columns) {
    siblings.push_back(
        {std::make_shared<ColumnFacts>(column.values), &groups[{column.group, column.values.size()}]});
  }
  ColumnParts shared;
  std::vector<ColumnStream> own;
  std::uint32_t first = 0;
  std::uint64_t own_entries = 0;
  for (ColumnEncoder::Unit& unit : ColumnEncoder(options).encode(siblings)) {
    const bool large = options.own_stream_bytes > 0 && unit.parts.size() > options.own_stream_bytes;
    if (large && own_entries + unit.entries <= most_own_entries) {
      own_entries += unit.entries;
      shared.put_byte(Kind::descriptor, column_code::own_streams);
      shared.put_varint(Kind::descriptor, unit.columns);
      shared.put_varint(Kind::descriptor, unit.entries);
      emit_streams(std::move(unit.parts), first + 1, own);
    } else {
      shared.append(unit.parts);
    }
    first += static_cast<std::uint32_t>(unit.columns);
  }
  std::vector<ColumnStream> streams;
  emit_streams(std::move(shared), 0, streams);
  for (ColumnStream& stream : own) streams.push_back(std::move(stream));
  return streams;
}

}  // namespace laconic
