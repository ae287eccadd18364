#include "methods/text/logzip/parsed_block.h"

#include <algorithm>

#include "engine/base/error.h"
#include "methods/text/logzip/skeleton.h"

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

namespace {

// Takes values of a column in order.
class ColumnCursor {
 public:
  ColumnCursor() = default;
  explicit ColumnCursor(const TextColumn& column) : column_(&column) {}
  bool at_end() const { return next_ == column_->size(); }
  std::string_view take() { return (*column_)[next_++]; }

 private:
  const TextColumn* column_ = nullptr;
  std::size_t next_ = 0;
};

class BlockRenderer {
 public:
  BlockRenderer(const ParsedBlock& block, const HeaderFormat& format, const TemplateTable& table,
                std::size_t limit, std::string_view where);
  std::string render();

 private:
  [[noreturn]] void corrupt(std::string_view what) const { fail(ErrorKind::corrupt, what, where_); }
  const Template& template_of(std::uint32_t id) const {
    return id < table_.size() ? table_[id] : block_.fresh[id - table_.size()];
  }
  void header_line(const Template& one, std::span<ColumnCursor> slots, std::size_t row);
  // Writes one segment of a template from `text` on; returns where the next one begins.
  std::size_t segment(std::string_view text, std::size_t at, std::span<ColumnCursor>& slots);
  void check_all_taken();

  const ParsedBlock& block_;
  const HeaderFormat& format_;
  const TemplateTable& table_;
  std::size_t limit_;
  std::string_view where_;
  std::vector<std::vector<ColumnCursor>> slots_;       // by id
  std::vector<ColumnCursor> fields_;                   // by field of the format
  std::vector<std::vector<std::string>> stamp_texts_;  // by stamp
  std::vector<std::pair<std::size_t, std::size_t>> stamp_of_field_;
  std::string text_;
};

BlockRenderer::BlockRenderer(const ParsedBlock& block, const HeaderFormat& format, const TemplateTable& table,
                             std::size_t limit, std::string_view where)
    : block_(block), format_(format), table_(table), limit_(limit), where_(where) {
  const std::size_t templates = table.size() + block.fresh.size();
  slots_.resize(templates);
  for (const TemplateRows& rows : block.rows) {
    if (rows.id >= templates || !slots_[rows.id].empty() || rows.slots.size() != template_of(rows.id).slots)
      corrupt("columns of a template that does not have them");
    for (const TextColumn& column : rows.slots) slots_[rows.id].emplace_back(column);
  }
  const std::vector<std::size_t> free = free_fields(format);
  if (block.fields.size() != free.size() || block.stamps.size() != format.stamps().size() ||
      block.ends.size() != block.ids.size())
    corrupt("the columns of a block do not fit its format");
  fields_.resize(format.fields().size());
  for (std::size_t i = 0; i < free.size(); ++i) fields_[free[i]] = ColumnCursor(block.fields[i]);
  const auto headers = static_cast<std::size_t>(std::ranges::count_if(block.ids, [&](std::uint32_t id) {
    if (id >= templates) corrupt("a line of a template that does not exist");
    return template_of(id).has_header();
  }));
  for (const TextColumn& column : block.fields)
    if (column.size() != headers) corrupt("a field has more or fewer values than lines");
  for (const auto& values : block.stamps)
    if (values.size() != headers) corrupt("a time has more or fewer values than lines");
  stamp_of_field_.resize(format.fields().size());
  for (std::size_t s = 0; s < format.stamps().size(); ++s) {
    stamp_texts_.emplace_back(format.stamps()[s].fields.size());
    for (std::size_t i = 0; i < format.stamps()[s].fields.size(); ++i)
      stamp_of_field_[format.stamps()[s].fields[i]] = {s, i};
  }
}

std::size_t BlockRenderer::segment(std::string_view text, std::size_t at, std::span<ColumnCursor>& slots) {
  for (;;) {
    const std::size_t stop = text.find_first_of(std::string_view("\0\n", 2), at);
    text_ += text.substr(at, stop - at);
    if (text[stop] == '\n') return stop + 1;
    if (slots.front().at_end()) corrupt("a slot has fewer values than its template lines");
    text_ += slots.front().take();
    slots = slots.subspan(1);
    at = stop + 1;
  }
}

void BlockRenderer::header_line(const Template& one, std::span<ColumnCursor> slots, std::size_t row) {
  for (std::size_t s = 0; s < stamp_texts_.size(); ++s)
    format_.stamps()[s].stamp.write(block_.stamps[s][row], stamp_texts_[s]);
  std::size_t at = 1;
  for (std::size_t i = 0; i < format_.fields().size(); ++i) {
    const HeaderField& field = format_.fields()[i];
    text_ += field.before;
    if (field.layout) {
      text_ += stamp_texts_[stamp_of_field_[i].first][stamp_of_field_[i].second];
    } else if (field.with_template) {
      at = segment(one.text, at, slots);
    } else {
      text_ += fields_[i].take();
    }
  }
}

void BlockRenderer::check_all_taken() {
  for (const std::vector<ColumnCursor>& columns : slots_)
    for (const ColumnCursor& column : columns)
      if (!column.at_end()) corrupt("a slot has more values than its template lines");
}

std::string BlockRenderer::render() {
  std::size_t row = 0;
  for (std::size_t i = 0; i < block_.ids.size(); ++i) {
    const Template& one = template_of(block_.ids[i]);
    std::span<ColumnCursor> slots(slots_[block_.ids[i]]);
    if (slots.size() != one.slots) corrupt("a template has lines but no columns");
    if (one.has_header()) {
      header_line(one, slots, row++);
    } else {
      segment(one.text, 1, slots);
    }
    text_ += line_end_text(block_.ends[i]);
    if (text_.size() > limit_) corrupt("a block is longer than it says");
  }
  check_all_taken();
  return std::move(text_);
}

}  // namespace

std::string render(const ParsedBlock& block, const HeaderFormat& format, const TemplateTable& table,
                   std::size_t limit, std::string_view where) {
  return BlockRenderer(block, format, table, limit, where).render();
}

}  // namespace laconic::logzip
