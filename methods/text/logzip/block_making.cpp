#include "methods/text/logzip/block_making.h"

#include <algorithm>

#include "engine/base/hash.h"
#include "methods/text/logzip/block_codec.h"
#include "methods/text/logzip/letter_filter.h"

namespace laconic::logzip {
namespace {

// A filter pays where it takes at most one byte for so many of the block's.
constexpr std::size_t filter_share = 200;

// Which of the templates that a block starts from occur in it.
std::vector<bool> templates_of_block(std::span<const std::uint32_t> ids, std::size_t known) {
  std::vector<bool> occurs(known);
  for (const std::uint32_t id : ids)
    if (id < known) occurs[id] = true;
  while (!occurs.empty() && !occurs.back()) occurs.pop_back();
  return occurs;
}

void describe_times(const CodedBlock& coded, const HeaderFormat& format, const TemplateTable& table,
                    MadeBlock& made) {
  if (coded.moments.empty()) return;
  const std::int64_t unit = format.stamps()[format.primary_stamp()].stamp.unit();
  const auto [first, last] = std::ranges::minmax_element(coded.moments);
  made.entry.times = {*first * unit, *last * unit};
  made.last_moment = coded.moments.back() * unit;
  const std::uint32_t id = coded.ids.front();
  made.first_line_tells_time = (id < table.size() ? table[id] : coded.fresh[id - table.size()]).has_header();
}

}  // namespace

MadeBlock make_block(const BlockTask& task, const HeaderFormat& format, GenerationTables& tables,
                     const BlockOptions& options) {
  MadeBlock made;
  made.entry.section = task.section;
  made.entry.number = task.number;
  made.entry.bytes = task.text.size();
  made.entry.check = xxh3_64(task.text);
  made.entry.open_end = !task.text.ends_with('\n');
  made.newlines = static_cast<std::uint64_t>(std::ranges::count(task.text, '\n'));
  bool published = false;
  BlockOptions listening = options;
  listening.on_templates = [&](std::span<const Template> fresh) {
    tables.publish(task.number, fresh);
    published = true;
  };
  GenerationTables::Start start;
  CodedBlock coded;
  try {
    start = tables.start_of(task.number);
    coded = encode_block(task.text, format, *start.known, listening);
  } catch (...) {
    if (!published) tables.abandon();
    throw;
  }
  const TemplateTable& table = start.known->table();
  // Every block of the first generation starts from nothing, and may hold lines of any template.
  if (task.number >= generation_blocks) made.entry.templates = templates_of_block(coded.ids, table.size());
  describe_times(coded, format, table, made);
  made.templates = std::move(coded.part_0);
  made.streams = std::move(coded.part_1);
  if (task.number > 0 && task.number % generation_blocks == 0)
    made.generation = encode_templates(table.templates().subspan(start.before), options.mode);
  made.letters = LetterFilter(task.text).write();
  if (made.letters.size() > (made.templates.size() + made.streams.size()) / filter_share)
    made.letters.clear();
  return made;
}

}  // namespace laconic::logzip
