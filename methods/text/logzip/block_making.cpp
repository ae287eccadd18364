#include "methods/text/logzip/block_making.h"

#include <algorithm>

#include "engine/base/hash.h"
#include "methods/text/logzip/block_codec.h"
#include "methods/text/logzip/letter_filter.h"

namespace laconic::logzip {
namespace {

// A filter pays where it takes at most one byte for so many of the block's.
constexpr std::size_t filter_share = 200;

void describe_times(const CodedBlock& coded, const HeaderFormat& format, const TemplateTable& table,
                    MadeBlock& made) {
  if (coded.moments.empty()) return;
  const std::int64_t unit = format.stamps()[format.primary_stamp()].stamp.unit();
  const auto [first, last] = std::ranges::minmax_element(coded.moments);
  made.entry.times = {*first * unit, *last * unit};
  made.last_moment = coded.moments.back() * unit;
  const std::uint32_t id = coded.ids.front();
  made.first_line_tells_time = template_of(table.templates(), coded.fresh, id).has_header();
}

// Other blocks wait for what this one adds: whatever it fails of, they must hear.
class Publication {
 public:
  Publication(GenerationTables& tables, std::uint64_t block) : tables_(tables), block_(block) {}
  ~Publication() {
    if (!published_) tables_.abandon();
  }
  Publication(const Publication&) = delete;
  Publication& operator=(const Publication&) = delete;
  void publish(std::span<const Template> fresh) {
    tables_.publish(block_, fresh);
    published_ = true;
  }

 private:
  GenerationTables& tables_;
  std::uint64_t block_;
  bool published_ = false;
};

}  // namespace

MadeBlock make_block(const BlockTask& task, const HeaderFormat& format, GenerationTables& tables,
                     const BlockOptions& options) {
  Publication publication(tables, task.number);
  MadeBlock made;
  made.entry.section = task.section;
  made.entry.number = task.number;
  made.entry.bytes = task.text.size();
  made.entry.check = xxh3_64(task.text);
  made.entry.open_end = !task.text.ends_with('\n');
  made.newlines = static_cast<std::uint64_t>(std::ranges::count(task.text, '\n'));
  BlockOptions listening = options;
  listening.on_templates = [&](std::span<const Template> fresh) { publication.publish(fresh); };
  const GenerationTables::Start start = tables.start_of(task.number);
  CodedBlock coded = encode_block(task.text, format, *start.known, listening);
  const TemplateTable& table = start.known->table();
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
