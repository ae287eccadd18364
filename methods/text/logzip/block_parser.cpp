#include "methods/text/logzip/block_parser.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <unordered_map>

#include "engine/base/error.h"
#include "methods/text/logzip/block_streams.h"
#include "methods/text/logzip/joined_columns.h"
#include "methods/text/logzip/json_skeleton.h"
#include "methods/text/logzip/skeleton.h"
#include "methods/text/logzip/skeleton_index.h"
#include "methods/text/logzip/varied_paths.h"

namespace laconic::logzip {
namespace {

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
  void learn_json();
  void take_skeletons();
  void take_skeleton(std::size_t line, std::string& key);
  bool take_json_skeleton(std::size_t line, std::string& key);
  void keep_form(const JsonForm& form, std::uint32_t key);
  void find_templates();
  void limit_slots();
  void lay_out_slots();
  void join_columns();
  void fill_columns();
  const Template& template_of(std::uint32_t id) const {
    return logzip::template_of(table_.templates(), parsed_.fresh, id);
  }
  template <class Visit>
  void visit_ranges(std::size_t line, std::span<const TokenRange> wildcards, const Visit& visit) const;
  // The values of a line's slots.
  template <class Visit>
  void visit_slots(std::size_t line, const Visit& visit) const;
  // The pieces of a line that its template describes: fields that go with it, or the whole line.
  template <class Visit>
  void visit_segments(std::size_t line, const Visit& visit) const;
  // Where a line may be an object: all of it, or its content; else empty.
  std::string_view json_text(std::size_t line) const;
  static bool fits_template(const Line& line) {
    return line.text.size() + HeaderFormat::most_fields < longest_template;
  }
  std::vector<JsonPath> paths_of_slots() const;
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
  JsonSkeletons json_;
  std::vector<std::string_view> segments_;  // of one line
  // Of the skeletons of objects, by number; those behind the last one have none.
  struct Form {
    std::uint64_t frame = 0;  // 0: none
    std::vector<JsonPath> paths;
    std::vector<TextRange> texts;
  };
  std::vector<Form> forms_;
  SkeletonIndex index_;
  std::vector<Slot> slots_;
  static constexpr std::uint32_t unused = UINT32_MAX;
  TemplateChoice choice_;
  std::vector<std::uint32_t> first_slot_of_;  // by template
  std::vector<std::uint32_t> column_of_slot_;
  ParsedBlock parsed_;
};

bool BlockParser::read_stamps(std::span<const std::string_view> values) {
  std::array<std::int64_t, HeaderFormat::most_fields> moments;
  if (!format_.read_stamps(values, moments)) return false;
  for (std::size_t s = 0; s < parsed_.stamps.size(); ++s) parsed_.stamps[s].push_back(moments[s]);
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
  PathCounts paths;
  const std::size_t step = lines_.size() / options_.sampled_lines + 1;
  std::size_t sampled = 0;
  for (std::size_t i = 0; i < lines_.size(); i += step, ++sampled)
    visit_segments(i, [&](std::string_view text) {
      counts.add(text.substr(0, longest_template / 4));
      paths.add(text.substr(0, longest_template / 4));
    });
  paths.keep(words_);
  const auto share = static_cast<std::uint32_t>(options_.word_share * static_cast<double>(sampled));
  counts.keep(std::max(options_.word_times, share), words_);
}

std::string_view BlockParser::json_text(std::size_t line) const {
  const std::string_view text = lines_[line].text;
  if (!fits_template(lines_[line])) return {};
  if (text.starts_with('{')) return text;
  if (!records_[line].header) return {};
  const std::size_t fields = format_.fields().size();
  const std::string_view content = header_values_[header_row_[line] * fields + fields - 1];
  return content.starts_with('{') ? content : std::string_view{};
}

void BlockParser::learn_json() {
  std::vector<std::string_view> sample;
  const std::size_t step = lines_.size() / JsonSkeletons::learning_lines + 1;
  for (std::size_t i = 0; i < lines_.size(); i += step)
    if (const std::string_view text = json_text(i); !text.empty()) sample.push_back(text);
  json_.learn(sample, words_);
}

void BlockParser::take_skeletons() {
  std::string key;
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    records_[i].first_slot = slots_.size();
    key.assign(1, records_[i].header ? 'H' : 'P');
    const bool object = options_.json_fields && take_json_skeleton(i, key);
    if (!object) take_skeleton(i, key);
    const std::size_t known = index_.size();
    records_[i].key = index_.number(key);
    index_.count(records_[i].key);
    if (object && records_[i].key == known) keep_form(json_.form(), records_[i].key);
  }
}

void BlockParser::take_skeleton(std::size_t line, std::string& key) {
  const bool fits = fits_template(lines_[line]);
  visit_segments(line, [&](std::string_view text) {
    if (fits) {
      append_skeleton(text, position(text), words_, key, slots_);
    } else {
      slots_.push_back({position(text), static_cast<std::uint32_t>(text.size())});
      key += slot_mark;
    }
    key += '\n';
  });
}

bool BlockParser::take_json_skeleton(std::size_t line, std::string& key) {
  const std::string_view text = json_text(line);
  if (text.empty()) return false;
  segments_.clear();
  // Fields in front of an object that is the content have skeletons as ever.
  bool inside = true;
  visit_segments(line, [&](std::string_view segment) {
    inside = inside && segment.data() >= text.data();
    segments_.push_back(segment);
  });
  if (inside) return json_.append(text, segments_, position(text), key, slots_);
  const std::size_t old_key = key.size(), old_slots = slots_.size();
  const std::string_view content = segments_.back();
  segments_.pop_back();
  for (const std::string_view segment : segments_) {
    append_skeleton(segment, position(segment), words_, key, slots_);
    key += '\n';
  }
  if (json_.append(text, {&content, 1}, position(text), key, slots_)) return true;
  key.resize(old_key);
  slots_.resize(old_slots);
  return false;
}

void BlockParser::keep_form(const JsonForm& form, std::uint32_t key) {
  forms_.resize(key + std::size_t{1});
  Form& kept = forms_.back();
  const std::string_view skeleton = index_.text(key);
  kept.frame = form.frame_of(skeleton);
  const auto slots = static_cast<std::size_t>(std::ranges::count(skeleton, slot_mark));
  kept.paths.assign(slots - form.paths.size(), 0);  // slots of fields in front
  kept.paths.insert(kept.paths.end(), form.paths.begin(), form.paths.end());
  kept.texts = form.texts;
}

void BlockParser::find_templates() {
  std::vector<WeighedSkeleton> skeletons;
  std::unordered_map<std::uint64_t, std::uint64_t> lines_of_frame;
  forms_.resize(index_.size());
  for (std::uint32_t key = 0; key < index_.size(); ++key)
    lines_of_frame[forms_[key].frame] += index_.lines(key);
  for (std::uint32_t key = 0; key < index_.size(); ++key) {
    WeighedSkeleton& one = skeletons.emplace_back(WeighedSkeleton{index_.text(key), index_.lines(key)});
    // Objects with keys that no other lines have can only share a template in which keys are wildcards.
    if (lines_of_frame[forms_[key].frame] < options_.extraction.template_lines) continue;
    one.frame = forms_[key].frame;
    one.texts = forms_[key].texts;
  }
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

// By slots as they are laid out; 0 where a slot is no field of an object.
std::vector<JsonPath> BlockParser::paths_of_slots() const {
  std::vector<JsonPath> paths(column_of_slot_.size());
  for (std::uint32_t key = 0; key < index_.size(); ++key) {
    const SkeletonTemplate& chosen = choice_.skeletons[key];
    const std::vector<JsonPath>& known = forms_[key].paths;
    if (known.empty() || chosen.id <= TemplateTable::header_line) continue;
    JsonPath* path = paths.data() + first_slot_of_[chosen.id];
    if (!chosen.by_wildcards) {
      std::ranges::copy(known, path);
      continue;
    }
    const TokenSequence skeleton = tokens_of(index_.text(key).substr(1));
    std::vector<std::uint32_t> slots_before(1);
    for (const Token token : skeleton.tokens)
      slots_before.push_back(slots_before.back() + (token == wildcard_token ? 1 : 0));
    for (const TokenRange range : chosen.wildcards) {
      const bool one_slot = range.end == range.begin + 1 && skeleton.tokens[range.begin] == wildcard_token;
      if (one_slot && *path == 0) *path = known[slots_before[range.begin]];
      ++path;
    }
  }
  return paths;
}

void BlockParser::join_columns() {
  std::vector<SlotSample> samples(column_of_slot_.size());
  const std::vector<JsonPath> paths = paths_of_slots();
  for (std::size_t slot = 0; slot < samples.size(); ++slot) samples[slot].path = paths[slot];
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
  if (options_.json_fields) learn_json();
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
