#include <algorithm>
#include <optional>

#include "engine/base/error.h"
#include "engine/column/stream_bundle.h"
#include "methods/text/logzip/block_codec.h"
#include "methods/text/logzip/block_head.h"
#include "methods/text/logzip/block_streams.h"
#include "methods/text/logzip/id_sequence.h"
#include "methods/text/logzip/line_renderer.h"
#include "methods/text/logzip/shown_template.h"
#include "methods/text/logzip/stamp_columns.h"

namespace laconic::logzip {
namespace {

constexpr std::string_view lossy_value = "<*>";

}  // namespace

struct BlockReader::State {
  State(ByteSpan part_0, ByteSpan part_1, const HeaderFormat& header_format,
        std::span<const Template> known_templates, std::span<const Template> fresh_templates,
        std::string place)
      : format(header_format), known(known_templates), fresh(fresh_templates), where(std::move(place)) {
    const bool whole = !part_0.empty() && part_0[0] == static_cast<std::byte>(TemplatePart::whole);
    ByteReader reader(whole ? part_0.subspan(1) : part_1, where);
    if (whole && !part_1.empty()) reader.corrupt("a block of one part has two");
    head = read_block_head(reader);
    ids.emplace(head.ids, head.ends.size(), static_cast<std::uint32_t>(known.size() + fresh.size()), where,
                [this](std::uint32_t id) { return template_of(id).has_header(); });
    check_segments(reader);
    if (head.lossy) {
      reader.expect_end();
      return;
    }
    bundle.emplace(reader.take(reader.remaining()), most_stream_bytes, where);
    read_layout();
    open_columns();
  }

  const Template& template_of(std::uint32_t id) const { return logzip::template_of(known, fresh, id); }

  // Every value is some byte of a line, or stands between two tokens of it.
  std::uint64_t most_values() const { return head.size + ids->size() * (HeaderFormat::most_fields + 1); }

  // A line walks the segments of its template beside the fields of the format.
  void check_segments(const ByteReader& reader) {
    const std::size_t of_header = template_segments(format);
    for (const IdCount& one : ids->counts()) {
      const Template& used = template_of(one.id);
      const auto segments = static_cast<std::size_t>(std::ranges::count(used.text, '\n'));
      if (segments != (used.has_header() ? of_header : 1)) reader.corrupt("a template of another format");
    }
  }

  // Templates with lines and slots, their columns, and how many rows each column has.
  void read_layout() {
    std::vector<std::uint32_t> lines_of(known.size() + fresh.size());
    for (const IdCount& one : ids->counts()) {
      lines_of[one.id] = one.lines;
      header_lines += template_of(one.id).has_header() ? one.lines : 0;
    }
    ByteReader reader(bundle->read_id(layout_stream), where);
    std::uint64_t values_left = most_values();
    for (std::uint32_t id = 0; id < lines_of.size(); ++id) {
      const std::uint32_t slots = template_of(id).slots;
      if (lines_of[id] == 0 || slots == 0) continue;
      if (slots > reader.remaining()) reader.corrupt("the layout of a block is cut");
      if (std::uint64_t{slots} * lines_of[id] > values_left)
        reader.corrupt("more values than a block can hold");
      values_left -= std::uint64_t{slots} * lines_of[id];
      TemplateColumns& one = layout.emplace_back();
      one.id = id;
      for (std::uint32_t slot = 0; slot < slots; ++slot) {
        const std::uint64_t reference = reader.length(rows.size());
        one.columns.push_back(static_cast<std::uint32_t>(reference == 0 ? rows.size() : reference - 1));
        if (reference == 0) rows.push_back(0);
        if (rows.size() > most_columns) reader.corrupt("more columns than a block may have");
        rows[one.columns.back()] += lines_of[id];
      }
    }
    reader.expect_end();
  }

  void open_columns() {
    const std::size_t stamps = format.stamps().size();
    std::vector<ColumnShape> shapes(stamps + free_fields(format).size(), {header_lines, 0});
    first_slot_column = shapes.size();
    const std::vector<std::uint32_t> groups = column_groups(layout, rows.size());
    for (std::size_t i = 0; i < rows.size(); ++i) shapes.push_back({rows[i], groups[i]});
    constexpr std::uint64_t stamp_digits = 20;
    columns.emplace(shapes, head.size + stamp_digits * stamps * header_lines, [this](std::uint32_t owner) {
      std::vector<ColumnStreamView> views;
      for (std::size_t kind = 0; kind < column_stream_kinds; ++kind) {
        const auto named = static_cast<ColumnStreamKind>(kind);
        const ByteSpan bytes = bundle->read_id(stream_id(owner, named));
        if (!bytes.empty()) views.push_back({named, owner, bytes});
      }
      return views;
    });
    times.resize(stamps);
    time_known.resize(stamps);
  }

  std::span<const std::int64_t> stamp(std::size_t index) {
    if (!time_known[index]) {
      const std::size_t first = format.primary_stamp();
      const std::span<const std::int64_t> primary =
          index == first ? std::span<const std::int64_t>{} : stamp(first);
      times[index] =
          stamp_values(format, index, columns->column(static_cast<std::uint32_t>(index)), primary, where);
      time_known[index] = true;
    }
    return times[index];
  }

  LineRenderer& open_renderer() {
    if (!renderer) {
      source.ends = head.ends;
      source.run_at = [this](std::size_t line) { return ids->run_at(line); };
      source.counts_before = [this](const IdRun& run) { return ids->counts_before(run); };
      source.layout = layout;
      source.columns = rows.size();
      source.templates = known.size() + fresh.size();
      source.template_of = [this](std::uint32_t id) -> const Template& { return template_of(id); };
      source.column = [this](std::size_t index) -> const ColumnText& { return slot_column(index); };
      source.field = [this](std::size_t index) -> const ColumnText& { return free_field(index); };
      source.stamp = [this](std::size_t index) { return stamp(index); };
      renderer.emplace(source, format, where);
    }
    return *renderer;
  }

  const ColumnText& slot_column(std::size_t index) {
    return columns->column(static_cast<std::uint32_t>(first_slot_column + index));
  }
  const ColumnText& free_field(std::size_t index) {
    return columns->column(static_cast<std::uint32_t>(format.stamps().size() + index));
  }

  std::string lossy_line(std::size_t line) {
    return shown_template(template_of(ids->ids()[line]), format, ShownFields::as_slots) +
           std::string(line_end_text(head.ends[line]));
  }

  const HeaderFormat& format;
  std::span<const Template> known;
  std::span<const Template> fresh;
  std::string where;
  BlockHead head;
  std::optional<IdSequence> ids;
  std::vector<TemplateColumns> layout;
  std::vector<std::uint32_t> rows;  // of the columns of slots
  std::uint32_t header_lines = 0;
  std::optional<BundleReader> bundle;
  std::optional<ColumnSetReader> columns;
  std::size_t first_slot_column = 0;
  std::vector<std::vector<std::int64_t>> times;
  std::vector<bool> time_known;
  RenderSource source;
  std::optional<LineRenderer> renderer;
};

BlockReader::BlockReader(ByteSpan part_0, ByteSpan part_1, const HeaderFormat& format,
                         std::span<const Template> known, std::span<const Template> fresh, std::string where)
    : state_(std::make_unique<State>(part_0, part_1, format, known, fresh, std::move(where))) {}
BlockReader::~BlockReader() = default;
BlockReader::BlockReader(BlockReader&&) noexcept = default;
BlockReader& BlockReader::operator=(BlockReader&&) noexcept = default;

bool BlockReader::lossy() const { return state_->head.lossy; }
std::uint64_t BlockReader::size() const { return state_->head.size; }
std::size_t BlockReader::line_count() const { return state_->ids->size(); }
std::span<const IdCount> BlockReader::template_lines() { return state_->ids->counts(); }
std::span<const std::uint32_t> BlockReader::ids() { return state_->ids->ids(); }
const Template& BlockReader::template_of(std::uint32_t id) const { return state_->template_of(id); }
std::span<const TemplateColumns> BlockReader::layout() const { return state_->layout; }
const ColumnText& BlockReader::column(std::size_t index) { return state_->slot_column(index); }
const ColumnText& BlockReader::field(std::size_t index) { return state_->free_field(index); }
std::span<const std::int64_t> BlockReader::stamp(std::size_t index) { return state_->stamp(index); }

std::string BlockReader::lines(std::size_t first, std::size_t last) {
  require(first <= last && last <= line_count(), "lines of a block are within it");
  std::string text;
  if (!state_->head.lossy) {
    state_->open_renderer().append(first, last, state_->head.size, text);
    return text;
  }
  // What is no value is text of the log, and values of one byte or none become longer ones.
  const std::uint64_t longest = state_->head.size + lossy_value.size() * state_->most_values();
  for (std::size_t line = first; line < last; ++line) {
    text += state_->lossy_line(line);
    if (text.size() > longest) fail(ErrorKind::corrupt, "a block is longer than blocks are", state_->where);
  }
  return text;
}

std::string BlockReader::text() {
  std::string text = lines(0, line_count());
  if (!state_->head.lossy && text.size() != state_->head.size)
    fail(ErrorKind::corrupt, "a block is shorter than it says", state_->where);
  return text;
}

}  // namespace laconic::logzip
