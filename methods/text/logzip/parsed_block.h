// What a block of log became: for every line its end and template, for every line with header its times and
// fields, for every template the values of its slots.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/column/column_view.h"
#include "methods/text/logzip/header_format.h"
#include "methods/text/logzip/lines.h"
#include "methods/text/logzip/template_table.h"

namespace laconic::logzip {

// Columns of a template: entry i is the column of slot i.
struct TemplateColumns {
  std::uint32_t id = 0;
  std::vector<std::uint32_t> columns;
};

struct ParsedBlock {
  std::vector<LineEnd> ends;       // one per line
  std::vector<std::uint32_t> ids;  // one per line: a template of the table, or behind it of `fresh`
  std::vector<Template> fresh;     // templates that the block adds
  std::vector<std::vector<std::int64_t>> stamps;  // per stamp of the format, one value per line with header
  std::vector<ColumnText> fields;                 // per free field, one value per line with header
  // Values of slots in the order of lines, and in a line in the order of slots; slots may share a column.
  std::vector<ColumnText> columns;
  std::vector<TemplateColumns> layout;  // by id; templates without lines or slots are absent
};

// Fields of a format that are columns over all lines with header: neither times nor with the template.
std::vector<std::size_t> free_fields(const HeaderFormat& format);
// Segments of a template with header: fields that go with it, the content included.
std::size_t template_segments(const HeaderFormat& format);

// The block again. Error(corrupt) where numbers of values do not fit the lines, an id names no template, a
// time is out of range, or the text would pass `limit` bytes.
std::string render(const ParsedBlock& block, const HeaderFormat& format, const TemplateTable& table,
                   std::size_t limit, std::string_view where);

}  // namespace laconic::logzip
