// Lines from the parts of a block: the inverse of parsing, for all lines or for a range of them.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/column/column_view.h"
#include "methods/text/logzip/header_format.h"
#include "methods/text/logzip/id_sequence.h"
#include "methods/text/logzip/lines.h"
#include "methods/text/logzip/parsed_block.h"
#include "methods/text/logzip/template_table.h"

namespace laconic::logzip {

// What a renderer looks at; everything outlives it. Columns are asked for when a line first needs them, and
// stay valid.
struct RenderSource {
  std::span<const LineEnd> ends;
  std::function<IdRun(std::size_t line)> run_at;  // the ids of a line and others around it
  std::function<std::vector<IdCount>(const IdRun&)>
      counts_before;  // asked only of runs that are not the first
  std::span<const TemplateColumns> layout;
  std::size_t columns = 0;
  std::function<const Template&(std::uint32_t id)> template_of;  // of any id below `templates`
  std::size_t templates = 0;
  std::function<const ColumnText&(std::size_t index)> column;
  std::function<const ColumnText&(std::size_t index)> field;              // by place among the free fields
  std::function<std::span<const std::int64_t>(std::size_t index)> stamp;  // by stamp of the format
};

class LineRenderer {
 public:
  // Error(corrupt) where the layout does not fit the templates.
  LineRenderer(const RenderSource& source, const HeaderFormat& format, std::string_view where);

  // Appends lines [first, last) with their ends. Error(corrupt) where columns hold too few values, a time is
  // out of range, or more than `limit` bytes would come out.
  void append(std::size_t first, std::size_t last, std::size_t limit, std::string& text);

 private:
  [[noreturn]] void corrupt(std::string_view what) const;
  const std::uint32_t* columns_of(std::uint32_t id, std::uint32_t slots) const;
  // The template of the line that is next, and its id.
  const Template& next_template(std::uint32_t& id);
  void begin_run(std::size_t line);
  void skip_to(std::size_t first);
  void header_line(const Template& one, const std::uint32_t* slots, std::string& text);
  std::size_t segment(std::string_view pattern, std::size_t at, const std::uint32_t*& slots,
                      std::string& text);
  std::string_view value(const ColumnText& column, std::size_t row) const;

  const RenderSource& source_;
  const HeaderFormat& format_;
  std::string where_;
  std::vector<const TemplateColumns*> layout_;  // by id
  std::vector<const ColumnText*> columns_;      // asked for so far
  std::vector<std::size_t> next_;               // row of each column
  std::size_t line_ = 0, header_row_ = 0;
  IdRun run_;                       // of the line looked at last
  std::vector<std::size_t> place_;  // of a field: among free fields or stamps
  std::vector<std::size_t> text_of_stamp_;
  std::vector<std::vector<std::string>> stamp_texts_;
};

}  // namespace laconic::logzip
