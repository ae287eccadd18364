#include "methods/text/logzip/parsed_block.h"

#include <algorithm>

#include "engine/base/error.h"
#include "methods/text/logzip/line_renderer.h"

namespace laconic::logzip {

std::vector<std::size_t> free_fields(const HeaderFormat& format) {
  std::vector<std::size_t> free;
  const auto fields = format.fields();
  for (std::size_t i = 0; i < fields.size(); ++i)
    if (!fields[i].layout && !fields[i].with_template) free.push_back(i);
  return free;
}

std::size_t template_segments(const HeaderFormat& format) {
  return static_cast<std::size_t>(std::ranges::count_if(format.fields(), &HeaderField::with_template));
}

std::string render(const ParsedBlock& block, const HeaderFormat& format, const TemplateTable& table,
                   std::size_t limit, std::string_view where) {
  if (block.fields.size() != free_fields(format).size() || block.stamps.size() != format.stamps().size())
    fail(ErrorKind::corrupt, "the columns of a block do not fit its format", where);
  if (block.ends.size() != block.ids.size())
    fail(ErrorKind::corrupt, "more or fewer line ends than lines", where);
  RenderSource source;
  source.ends = block.ends;
  source.run_at = [&](std::size_t) { return IdRun{0, block.ids}; };
  source.layout = block.layout;
  source.columns = block.columns.size();
  source.templates = table.size() + block.fresh.size();
  source.template_of = [&](std::uint32_t id) -> const Template& {
    return logzip::template_of(table.templates(), block.fresh, id);
  };
  source.column = [&](std::size_t index) -> const ColumnText& { return block.columns[index]; };
  source.field = [&](std::size_t index) -> const ColumnText& { return block.fields[index]; };
  source.stamp = [&](std::size_t index) { return std::span<const std::int64_t>(block.stamps[index]); };
  std::string text;
  LineRenderer(source, format, where).append(0, block.ids.size(), limit, text);
  return text;
}

}  // namespace laconic::logzip
