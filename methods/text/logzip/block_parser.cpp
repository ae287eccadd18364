#include "methods/text/logzip/block_parser.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "methods/text/logzip/block_streams.h"
#include "methods/text/logzip/joined_columns.h"
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
  BlockParser(std::string_view block, const HeaderFormat& format, const KnownTemplates& known,
              const ParseOptions& options)
      : block_(block),
        format_(format),
        known_(known),
        table_(known.table()),
        options_(options),
        lines_(split_lines(block)) {}
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
  void find_templates();
  void limit_slots();
  void lay_out_slots();
  void join_columns();
  void fill_columns();
  const Template& template_of(std::uint32_t id) const {
    return id < table_.size() ? table_[id] : parsed_.fresh[id - table_.size()];
  }
  template <class Visit>
  void visit_ranges(std::size_t line, std::span<const TokenRange> wildcards, const Visit& visit) const;
  // The values of a line's slots.
  template <class Visit>
  void visit_slots(std::size_t line, const Visit& visit) const;
  // The pieces of a line that its template describes: fields that go with it, or the whole line.
  template <class Visit>
  void visit_segments(std::size_t line, const Visit& visit) const;
  std::uint32_t position(std::string_view inside) const {
    return static_cast<std::uint32_t>(inside.data() - block_.data());
  }

  std::string_view block_;
  const HeaderFormat& format_;
  const KnownTemplates& known_;
  const TemplateTable& table_;
  const ParseOptions& options_;
  std::vector<Line> lines_;
  std::vector<LineRecord> records_;
  std::vector<std::string_view> header_values_;  // of lines with header, all fields
  std::vector<std::size_t> header_row_;          // by line
  WordSet words_;
  SkeletonIndex index_;
  std::vector<Slot> slots_;
  static constexpr std::uint32_t unused = UINT32_MAX;
  TemplateChoice choice_;
  std::vector<std::uint32_t> first_slot_of_;  // by template
  std::vector<std::uint32_t> column_of_slot_;
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
  words_ = known_.words();
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

void BlockParser::find_templates() {
  std::vector<WeighedSkeleton> skeletons;
  for (std::uint32_t key = 0; key < index_.size(); ++key)
    skeletons.push_back({index_.text(key), index_.lines(key)});
  choice_ = choose_templates(skeletons, known_, options_.extraction);
  parsed_.fresh = std::move(choice_.fresh);
}

// The values of slots that take ranges of tokens: `line` is walked token by token beside its skeleton.
template <class Visit>
void BlockParser::visit_ranges(std::size_t line, std::span<const TokenRange> wildcards,
                               const Visit& visit) const {
  const TokenSequence skeleton = tokens_of(index_.text(records_[line].key).substr(1));
  const Slot* slot = slots_.data() + records_[line].first_slot;
  // Where each token begins, in its segment of the line.
  std::vector<const char*> begins;
  std::size_t token = 0;
  visit_segments(line, [&](std::string_view text) {
    const char* at = text.data();
    for (;; ++token) {
      begins.push_back(at);
      if (skeleton.token_text(token) == "\n") break;
      at += skeleton.tokens[token] == wildcard_token ? (slot++)->length : skeleton.token_text(token).size();
    }
    ++token;
  });
  for (const TokenRange range : wildcards) visit({begins[range.begin], begins[range.end]});
}

template <class Visit>
void BlockParser::visit_slots(std::size_t line, const Visit& visit) const {
  const SkeletonTemplate& chosen = choice_.skeletons[records_[line].key];
  if (chosen.id <= TemplateTable::header_line) return visit_segments(line, visit);
  if (chosen.by_wildcards) return visit_ranges(line, chosen.wildcards, visit);
  const Slot* slot = slots_.data() + records_[line].first_slot;
  for (std::uint32_t i = 0; i < template_of(chosen.id).slots; ++i, ++slot)
    visit(block_.substr(slot->begin, slot->length));
}

// Templates beyond the columns that a block may have are given up: their lines become lines without one.
void BlockParser::limit_slots() {
  std::size_t slots = 1 + template_segments(format_);  // of the templates for lines without one
  std::vector<std::uint8_t> kept(table_.size() + parsed_.fresh.size());
  for (std::uint32_t key = 0; key < index_.size(); ++key) {
    SkeletonTemplate& chosen = choice_.skeletons[key];
    if (chosen.id <= TemplateTable::header_line || kept[chosen.id] != 0) continue;
    const std::uint32_t own = template_of(chosen.id).slots;
    if (slots + own <= most_columns) {
      slots += own;
      kept[chosen.id] = 1;
    } else {
      chosen = {};
      chosen.id = index_.text(key).front() == 'H' ? TemplateTable::header_line : TemplateTable::plain_line;
    }
  }
}

// Numbers the slots of the templates in use: those of a template begin at first_slot_of_[id].
void BlockParser::lay_out_slots() {
  first_slot_of_.assign(table_.size() + parsed_.fresh.size(), unused);
  std::vector<bool> used(first_slot_of_.size());
  for (std::uint32_t key = 0; key < index_.size(); ++key) used[choice_.skeletons[key].id] = true;
  std::uint32_t slots = 0;
  for (std::uint32_t id = 0; id < used.size(); ++id) {
    if (!used[id]) continue;
    first_slot_of_[id] = slots;
    slots += template_of(id).slots;
  }
  column_of_slot_.resize(slots);
  std::iota(column_of_slot_.begin(), column_of_slot_.end(), 0);
}

void BlockParser::join_columns() {
  std::vector<SlotSample> samples(column_of_slot_.size());
  std::uint32_t place = 0;
  for (std::size_t i = 0; i < std::min<std::size_t>(lines_.size(), options_.joining_lines); ++i) {
    const std::uint32_t id = choice_.skeletons[records_[i].key].id;
    std::uint32_t slot = first_slot_of_[id];
    visit_slots(i, [&](std::string_view value) {
      samples[slot].group = id;
      samples[slot].values.push_back(value);
      samples[slot++].places.push_back(place++);
    });
  }
  column_of_slot_ = join_slots(samples);
}

void BlockParser::fill_columns() {
  std::vector<std::uint32_t> number(column_of_slot_.size(), unused);
  std::uint32_t columns = 0;
  for (std::uint32_t id = 0; id < first_slot_of_.size(); ++id) {
    if (first_slot_of_[id] == unused || template_of(id).slots == 0) continue;
    TemplateColumns& layout = parsed_.layout.emplace_back();
    layout.id = id;
    for (std::uint32_t i = 0; i < template_of(id).slots; ++i) {
      std::uint32_t& column = number[column_of_slot_[first_slot_of_[id] + i]];
      if (column == unused) column = columns++;
      layout.columns.push_back(column);
    }
  }
  for (std::uint32_t& column : column_of_slot_) column = number[column];
  parsed_.columns.resize(columns);
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    parsed_.ends.push_back(lines_[i].end);
    const std::uint32_t id = choice_.skeletons[records_[i].key].id;
    parsed_.ids.push_back(id);
    const std::uint32_t* column = column_of_slot_.data() + first_slot_of_[id];
    visit_slots(i, [&](std::string_view value) { parsed_.columns[*column++].add(value); });
  }
}

ParsedBlock BlockParser::parse() {
  match_headers();
  learn_words();
  take_skeletons();
  find_templates();
  limit_slots();
  lay_out_slots();
  if (options_.join_columns) join_columns();
  fill_columns();
  return std::move(parsed_);
}

}  // namespace

ParsedBlock verbatim_block(std::string_view block, const HeaderFormat& format, std::vector<Template> fresh) {
  ParsedBlock parsed;
  parsed.fresh = std::move(fresh);
  parsed.stamps.resize(format.stamps().size());
  parsed.fields.resize(free_fields(format).size());
  for (const Line& line : split_lines(block)) {
    if (parsed.columns.empty()) {
      parsed.columns.emplace_back();
      parsed.layout.push_back({TemplateTable::plain_line, {0}});
    }
    parsed.ends.push_back(line.end);
    parsed.ids.push_back(TemplateTable::plain_line);
    parsed.columns[0].add(line.text);
  }
  return parsed;
}

ParsedBlock parse_block(std::string_view block, const HeaderFormat& format, const KnownTemplates& known,
                        const ParseOptions& options) {
  require(block.size() <= block_bytes, "a block of log is too long");
  require(known.table().segments() == template_segments(format),
          "a table of templates made for another format");
  return BlockParser(block, format, known, options).parse();
}

}  // namespace laconic::logzip
