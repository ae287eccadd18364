// What a block of log became: for every line its end and template, for every line with header its times and
// fields, for every template the values of its slots.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "methods/text/logzip/header_format.h"
#include "methods/text/logzip/lines.h"
#include "methods/text/logzip/template_table.h"

namespace laconic::logzip {

// Texts one after the other; ends[i] is where text i ends.
struct TextColumn {
  std::string bytes;
  std::vector<std::uint32_t> ends;

  std::size_t size() const { return ends.size(); }
  void add(std::string_view text) {
    bytes += text;
    ends.push_back(static_cast<std::uint32_t>(bytes.size()));
  }
  std::string_view operator[](std::size_t i) const {
    const std::uint32_t begin = i == 0 ? 0 : ends[i - 1];
    return std::string_view(bytes).substr(begin, ends[i] - begin);
  }
};

struct TemplateRows {
  std::uint32_t id = 0;
  std::vector<TextColumn> slots;  // each one value per line of this template
};

struct ParsedBlock {
  std::vector<LineEnd> ends;       // one per line
  std::vector<std::uint32_t> ids;  // one per line: a template of the table, or behind it of `fresh`
  std::vector<Template> fresh;     // templates that the block adds
  std::vector<std::vector<std::int64_t>> stamps;  // per stamp of the format, one value per line with header
  std::vector<TextColumn> fields;                 // per free field, one value per line with header
  std::vector<TemplateRows> rows;                 // by id; templates without lines or slots are absent
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
