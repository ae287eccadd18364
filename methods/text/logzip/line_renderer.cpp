#include "methods/text/logzip/line_renderer.h"

#include <algorithm>

#include "engine/base/error.h"
#include "methods/text/logzip/skeleton.h"

namespace laconic::logzip {

void LineRenderer::corrupt(std::string_view what) const { fail(ErrorKind::corrupt, what, where_); }

LineRenderer::LineRenderer(const RenderSource& source, const HeaderFormat& format, std::string_view where)
    : source_(source), format_(format), where_(where) {
  layout_.resize(source.templates);
  columns_.resize(source.columns);
  next_.resize(source.columns);
  for (const TemplateColumns& one : source.layout) {
    if (one.id >= source.templates || layout_[one.id] != nullptr ||
        one.columns.size() != source.template_of(one.id).slots)
      corrupt("columns of a template that does not have them");
    for (const std::uint32_t column : one.columns)
      if (column >= source.columns) corrupt("a slot in a column that does not exist");
    layout_[one.id] = &one;
  }
  place_.resize(format.fields().size());
  text_of_stamp_.resize(format.fields().size());
  const std::vector<std::size_t> free = free_fields(format);
  for (std::size_t i = 0; i < free.size(); ++i) place_[free[i]] = i;
  for (std::size_t s = 0; s < format.stamps().size(); ++s) {
    const std::vector<std::size_t>& fields = format.stamps()[s].fields;
    stamp_texts_.emplace_back(fields.size());
    for (std::size_t i = 0; i < fields.size(); ++i) {
      place_[fields[i]] = s;
      text_of_stamp_[fields[i]] = i;
    }
  }
}

const std::uint32_t* LineRenderer::columns_of(std::uint32_t id, std::uint32_t slots) const {
  if (slots == 0) return nullptr;
  if (layout_[id] == nullptr) corrupt("a template has lines but no columns");
  return layout_[id]->columns.data();
}

std::string_view LineRenderer::value(const ColumnText& column, std::size_t row) const {
  if (row >= column.size()) corrupt("a column has fewer values than lines");
  return column[row];
}

const Template& LineRenderer::next_template(std::uint32_t& id) {
  if (line_ < run_.first || line_ - run_.first >= run_.ids.size()) run_ = source_.run_at(line_);
  id = run_.ids[line_ - run_.first];
  if (id >= source_.templates) corrupt("a line of a template that does not exist");
  return source_.template_of(id);
}

// To the beginning of the run that holds `line`: what went before is counted.
void LineRenderer::begin_run(std::size_t line) {
  run_ = source_.run_at(line);
  line_ = run_.first;
  header_row_ = 0;
  std::fill(next_.begin(), next_.end(), 0);
  if (line_ == 0) return;
  for (const IdCount& before : source_.counts_before(run_)) {
    if (before.id >= source_.templates) corrupt("a line of a template that does not exist");
    const Template& one = source_.template_of(before.id);
    if (before.lines == 0) continue;
    if (one.has_header()) header_row_ += before.lines;
    const std::uint32_t* columns = columns_of(before.id, one.slots);
    for (std::uint32_t i = 0; i < one.slots; ++i) next_[columns[i]] += before.lines;
  }
}

void LineRenderer::skip_to(std::size_t first) {
  const bool in_run = run_.first <= first && first - run_.first < run_.ids.size();
  if (first < line_ || (first > line_ && !in_run)) begin_run(first);
  for (std::uint32_t id = 0; line_ < first; ++line_) {
    const Template& one = next_template(id);
    if (one.has_header()) ++header_row_;
    const std::uint32_t* columns = columns_of(id, one.slots);
    for (std::uint32_t i = 0; i < one.slots; ++i) ++next_[columns[i]];
  }
}

std::size_t LineRenderer::segment(std::string_view pattern, std::size_t at, const std::uint32_t*& slots,
                                  std::string& text) {
  for (;;) {
    std::size_t stop = at;
    while (pattern[stop] != slot_mark && pattern[stop] != '\n') ++stop;
    text.append(pattern, at, stop - at);
    if (pattern[stop] == '\n') return stop + 1;
    const std::uint32_t column = *slots++;
    if (columns_[column] == nullptr) columns_[column] = &source_.column(column);
    text += value(*columns_[column], next_[column]++);
    at = stop + 1;
  }
}

void LineRenderer::header_line(const Template& one, const std::uint32_t* slots, std::string& text) {
  for (std::size_t s = 0; s < stamp_texts_.size(); ++s) {
    const std::span<const std::int64_t> moments = source_.stamp(s);
    if (header_row_ >= moments.size()) corrupt("fewer times than lines");
    format_.stamps()[s].stamp.write(moments[header_row_], stamp_texts_[s]);
  }
  std::size_t at = 1;
  const auto fields = format_.fields();
  for (std::size_t i = 0; i < fields.size(); ++i) {
    text += fields[i].before;
    if (fields[i].layout) {
      text += stamp_texts_[place_[i]][text_of_stamp_[i]];
    } else if (fields[i].with_template) {
      at = segment(one.text, at, slots, text);
    } else {
      text += value(source_.field(place_[i]), header_row_);
    }
  }
  ++header_row_;
}

void LineRenderer::append(std::size_t first, std::size_t last, std::size_t limit, std::string& text) {
  if (first > last || last > source_.ends.size()) corrupt("lines beyond the end of a block");
  if (first == last) return;
  const std::size_t most = text.size() + limit;
  skip_to(first);
  for (std::uint32_t id = 0; line_ < last; ++line_) {
    const Template& one = next_template(id);
    const std::uint32_t* slots = columns_of(id, one.slots);
    if (one.has_header()) {
      header_line(one, slots, text);
    } else {
      segment(one.text, 1, slots, text);
    }
    text += line_end_text(source_.ends[line_]);
    if (text.size() > most) corrupt("a block is longer than it says");
  }
}

}  // namespace laconic::logzip
