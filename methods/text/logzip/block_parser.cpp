#include "methods/text/logzip/block_parser.h"

#include <algorithm>
#include <array>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "methods/text/logzip/skeleton.h"

namespace laconic::logzip {
namespace {

// The distinct skeletons of a block by order of first use.
class SkeletonIndex {
 public:
  std::uint32_t number(std::string_view key) {
    if ((keys_.size() + 1) * 2 > cells_.size()) grow();
    const std::uint64_t hash = xxh3_64(key);
    const std::size_t mask = cells_.size() - 1;
    for (std::size_t at = hash & mask;; at = (at + 1) & mask) {
      if (cells_[at] == 0) {
        keys_.push_back({hash, arena_.size(), key.size(), 0});
        arena_ += key;
        cells_[at] = static_cast<std::uint32_t>(keys_.size());
        return cells_[at] - 1;
      }
      const Key& held = keys_[cells_[at] - 1];
      if (held.hash == hash && text(cells_[at] - 1) == key) return cells_[at] - 1;
    }
  }
  void count(std::uint32_t number) { ++keys_[number].lines; }
  std::uint32_t lines(std::uint32_t number) const { return keys_[number].lines; }
  std::string_view text(std::uint32_t number) const {
    return std::string_view(arena_).substr(keys_[number].begin, keys_[number].length);
  }
  std::size_t size() const { return keys_.size(); }

 private:
  struct Key {
    std::uint64_t hash;
    std::size_t begin, length;
    std::uint32_t lines;
  };
  void grow() {
    cells_.assign(std::max<std::size_t>(1024, cells_.size() * 2), 0);
    for (std::uint32_t i = 0; i < keys_.size(); ++i) {
      std::size_t at = keys_[i].hash & (cells_.size() - 1);
      while (cells_[at] != 0) at = (at + 1) & (cells_.size() - 1);
      cells_[at] = i + 1;
    }
  }
  std::string arena_;
  std::vector<Key> keys_;
  std::vector<std::uint32_t> cells_;  // number + 1, 0: empty
};

class BlockParser {
 public:
  BlockParser(std::string_view block, const HeaderFormat& format, const TemplateTable& table,
              const ParseOptions& options)
      : block_(block), format_(format), table_(table), options_(options), lines_(split_lines(block)) {}
  ParsedBlock parse();

 private:
  struct LineRecord {
    std::uint32_t key = 0;
    std::size_t first_slot = 0;
    bool header = false;
  };
  void match_headers();
  bool read_stamps(std::span<const std::string_view> values);
  void learn_words();
  void take_skeletons();
  void choose_templates();
  void fill_columns();
  // The pieces of a line that its template describes: fields that go with it, or the whole line.
  template <class Visit>
  void visit_segments(std::size_t line, const Visit& visit) const;
  std::uint32_t position(std::string_view inside) const {
    return static_cast<std::uint32_t>(inside.data() - block_.data());
  }

  std::string_view block_;
  const HeaderFormat& format_;
  const TemplateTable& table_;
  const ParseOptions& options_;
  std::vector<Line> lines_;
  std::vector<LineRecord> records_;
  std::vector<std::string_view> header_values_;  // of lines with header, all fields
  std::vector<std::size_t> header_row_;          // by line
  WordSet words_;
  SkeletonIndex index_;
  std::vector<Slot> slots_;
  std::vector<std::uint32_t> template_of_key_;
  ParsedBlock parsed_;
};

bool BlockParser::read_stamps(std::span<const std::string_view> values) {
  std::array<std::string_view, HeaderFormat::most_fields> texts;
  std::array<std::int64_t, HeaderFormat::most_fields> moments;
  const auto stamps = format_.stamps();
  for (std::size_t s = 0; s < stamps.size(); ++s) {
    for (std::size_t i = 0; i < stamps[s].fields.size(); ++i) texts[i] = values[stamps[s].fields[i]];
    const auto moment = stamps[s].stamp.read({texts.data(), stamps[s].fields.size()});
    if (!moment) return false;
    moments[s] = *moment;
  }
  for (std::size_t s = 0; s < stamps.size(); ++s) parsed_.stamps[s].push_back(moments[s]);
  return true;
}

void BlockParser::match_headers() {
  records_.resize(lines_.size());
  header_row_.resize(lines_.size());
  parsed_.stamps.resize(format_.stamps().size());
  const std::vector<std::size_t> free = free_fields(format_);
  parsed_.fields.resize(free.size());
  const std::size_t fields = format_.fields().size();
  std::array<std::string_view, HeaderFormat::most_fields> values;
  std::size_t rows = 0;
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    const bool whole = lines_[i].text.size() < longest_line;
    if (format_.empty() || !whole || !format_.match(lines_[i].text, values) || !read_stamps(values)) continue;
    records_[i].header = true;
    header_row_[i] = rows++;
    header_values_.insert(header_values_.end(), values.begin(),
                          values.begin() + static_cast<std::ptrdiff_t>(fields));
    for (std::size_t f = 0; f < free.size(); ++f) parsed_.fields[f].add(values[free[f]]);
  }
}

template <class Visit>
void BlockParser::visit_segments(std::size_t line, const Visit& visit) const {
  if (!records_[line].header) return visit(lines_[line].text);
  const auto fields = format_.fields();
  const std::string_view* values = header_values_.data() + header_row_[line] * fields.size();
  for (std::size_t f = 0; f < fields.size(); ++f)
    if (fields[f].with_template) visit(values[f]);
}

void BlockParser::learn_words() {
  for (const Template& one : table_.templates()) {
    WordCounts counts;
    counts.add(one.text);
    counts.keep(1, words_);
  }
  WordCounts counts;
  const std::size_t step = lines_.size() / options_.sampled_lines + 1;
  std::size_t sampled = 0;
  for (std::size_t i = 0; i < lines_.size(); i += step, ++sampled)
    visit_segments(i, [&](std::string_view text) { counts.add(text.substr(0, longest_template / 4)); });
  const auto share = static_cast<std::uint32_t>(options_.word_share * static_cast<double>(sampled));
  counts.keep(std::max(options_.word_times, share), words_);
}

void BlockParser::take_skeletons() {
  std::string key;
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    records_[i].first_slot = slots_.size();
    key.assign(1, records_[i].header ? 'H' : 'P');
    const bool fits = lines_[i].text.size() + HeaderFormat::most_fields < longest_template;
    visit_segments(i, [&](std::string_view text) {
      if (fits) {
        append_skeleton(text, position(text), words_, key, slots_);
      } else {
        slots_.push_back({position(text), static_cast<std::uint32_t>(text.size())});
        key += slot_mark;
      }
      key += '\n';
    });
    records_[i].key = index_.number(key);
    index_.count(records_[i].key);
  }
}

void BlockParser::choose_templates() {
  template_of_key_.resize(index_.size());
  for (std::uint32_t key = 0; key < index_.size(); ++key) {
    const std::string_view text = index_.text(key);
    if (const auto known = table_.find(text)) {
      template_of_key_[key] = *known;
    } else if (index_.lines(key) >= options_.template_lines) {
      template_of_key_[key] = static_cast<std::uint32_t>(table_.size() + parsed_.fresh.size());
      parsed_.fresh.emplace_back(std::string(text));
    } else {
      template_of_key_[key] = text.front() == 'H' ? TemplateTable::header_line : TemplateTable::plain_line;
    }
  }
}

void BlockParser::fill_columns() {
  std::vector<std::size_t> rows_of(table_.size() + parsed_.fresh.size(), SIZE_MAX);
  std::vector<TemplateRows> rows;
  const auto columns_of = [&](std::uint32_t id) -> std::vector<TextColumn>& {
    if (rows_of[id] == SIZE_MAX) {
      rows_of[id] = rows.size();
      const Template& one = id < table_.size() ? table_[id] : parsed_.fresh[id - table_.size()];
      rows.push_back({id, std::vector<TextColumn>(one.slots)});
    }
    return rows[rows_of[id]].slots;
  };
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    parsed_.ends.push_back(lines_[i].end);
    const std::uint32_t id = template_of_key_[records_[i].key];
    parsed_.ids.push_back(id);
    std::vector<TextColumn>& columns = columns_of(id);
    if (id <= TemplateTable::header_line) {
      std::size_t column = 0;
      visit_segments(i, [&](std::string_view text) { columns[column++].add(text); });
      continue;
    }
    const Slot* slot = slots_.data() + records_[i].first_slot;
    for (TextColumn& column : columns) {
      column.add(block_.substr(slot->begin, slot->length));
      ++slot;
    }
  }
  std::erase_if(rows, [](const TemplateRows& one) { return one.slots.empty(); });
  std::ranges::sort(rows, {}, &TemplateRows::id);
  parsed_.rows = std::move(rows);
}

ParsedBlock BlockParser::parse() {
  match_headers();
  learn_words();
  take_skeletons();
  choose_templates();
  fill_columns();
  return std::move(parsed_);
}

}  // namespace

ParsedBlock parse_block(std::string_view block, const HeaderFormat& format, const TemplateTable& table,
                        const ParseOptions& options) {
  require(block.size() <= block_bytes, "a block of log is too long");
  require(table.segments() == template_segments(format), "a table of templates made for another format");
  return BlockParser(block, format, table, options).parse();
}

}  // namespace laconic::logzip
