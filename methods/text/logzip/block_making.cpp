#include "methods/text/logzip/block_making.h"

#include <algorithm>

#include "engine/base/hash.h"
#include "methods/text/logzip/block_coding.h"
#include "methods/text/logzip/block_parser.h"
#include "methods/text/logzip/letter_filter.h"

namespace laconic::logzip {
namespace {

// A filter pays where it takes at most one byte for so many of the block's.
constexpr std::size_t filter_share = 200;

// Which of the templates that a block starts from occur in it.
std::vector<bool> templates_of_block(const ParsedBlock& parsed, std::size_t known) {
  std::vector<bool> occurs(known);
  for (const std::uint32_t id : parsed.ids)
    if (id < known) occurs[id] = true;
  while (!occurs.empty() && !occurs.back()) occurs.pop_back();
  return occurs;
}

void describe_times(const ParsedBlock& parsed, const HeaderFormat& format, const TemplateTable& table,
                    MadeBlock& made) {
  if (parsed.stamps.empty() || parsed.stamps.front().empty()) return;
  const std::vector<std::int64_t>& moments = parsed.stamps.front();
  const std::int64_t unit = format.stamps().front().stamp.unit();
  const auto [first, last] = std::ranges::minmax_element(moments);
  made.entry.times = {*first * unit, *last * unit};
  made.last_moment = moments.back() * unit;
  const std::uint32_t id = parsed.ids.front();
  const Template& one = id < table.size() ? table[id] : parsed.fresh[id - table.size()];
  made.first_line_tells_time = one.has_header();
}

}  // namespace

MadeBlock make_block(const BlockTask& task, const HeaderFormat& format, GenerationTables& tables,
                     BlockMode mode) {
  MadeBlock made;
  made.entry.section = task.section;
  made.entry.number = task.number;
  made.entry.bytes = task.text.size();
  made.entry.check = xxh3_64(task.text);
  made.entry.open_end = !task.text.ends_with('\n');
  made.newlines = static_cast<std::uint64_t>(std::ranges::count(task.text, '\n'));
  GenerationTables::Start start;
  ParsedBlock parsed;
  try {
    start = tables.start_of(task.number);
    parsed = parse_block(task.text, format, *start.table);
    tables.publish(task.number, parsed.fresh);
  } catch (...) {
    tables.abandon();
    throw;
  }
  made.entry.templates = templates_of_block(parsed, start.table->size());
  describe_times(parsed, format, *start.table, made);
  CodedBlock coded = code_block(task.text, parsed, format, *start.table, mode);
  made.templates = std::move(coded.templates);
  made.streams = std::move(coded.streams);
  if (task.number > 0 && task.number % generation_blocks == 0)
    made.generation = code_templates(start.table->templates().subspan(start.known_before));
  made.letters = LetterFilter(task.text).write();
  if (made.letters.size() > made.streams.size() / filter_share) made.letters.clear();
  return made;
}

}  // namespace laconic::logzip
