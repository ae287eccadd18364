#include "methods/text/logzip/format_detection.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <optional>
#include <set>
#include <unordered_map>

#include "methods/text/logzip/json_header.h"
#include "methods/text/logzip/lines.h"
#include "methods/text/logzip/skeleton.h"

namespace laconic::logzip {
namespace {

using FieldValues = std::array<std::string_view, HeaderFormat::most_fields>;

// Lines of ten runs that are spread over all of `text`, so that neighbours stay neighbours. Lines that begin
// with a space or tab continue an event and say nothing about its header.
std::vector<std::string_view> sample_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  for (const Line& line : split_lines(text))
    if (!line.text.empty() && line.text.size() < 65536 && line.text[0] != ' ' && line.text[0] != '\t')
      lines.push_back(line.text);
  if (lines.size() <= detection_lines) return lines;
  constexpr std::size_t runs = 10, run_lines = detection_lines / runs;
  std::vector<std::string_view> sample;
  for (std::size_t run = 0; run < runs; ++run) {
    const std::size_t first = (lines.size() - run_lines) * run / (runs - 1);
    for (std::size_t i = 0; i < run_lines; ++i) sample.push_back(lines[first + i]);
  }
  return sample;
}

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return lower;
}

bool names_a_time(const std::string& name) {
  const std::string lower = lower_case(name);
  static constexpr std::array<std::string_view, 6> words{"time", "date", "month", "day", "year", "stamp"};
  return std::ranges::any_of(words,
                             [&](std::string_view word) { return lower.find(word) != std::string::npos; });
}

bool is_level(std::string_view text) {
  static const std::set<std::string, std::less<>> levels{
      "trace", "debug",  "info",    "information", "notice",   "warn",   "warning", "error",
      "err",   "severe", "failure", "crit",        "critical", "alert",  "emerg",   "emergency",
      "fatal", "panic",  "fine",    "finer",       "finest",   "config", "verbose", "v",
      "d",     "i",      "w",       "e",           "f",        "s",      "audit",   "silent"};
  const std::size_t begin = text.find_first_not_of(' '), end = text.find_last_not_of(' ');
  return begin != std::string_view::npos && levels.contains(lower_case(text.substr(begin, end - begin + 1)));
}

bool is_number(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(' ');
  return begin != std::string_view::npos &&
         std::ranges::all_of(text.substr(begin), [](char c) { return byte_class(c) == ByteClass::digit; });
}

bool is_one_word(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(' ');
  return begin != std::string_view::npos && text.find(' ', begin) == std::string_view::npos;
}

// What a field's name promises about its text.
bool plausible(const HeaderField& field, std::string_view text) {
  if (field.name == "Level") return is_level(text);
  if (field.name == "Pid" || field.name == "Tid") return is_number(text);
  if (field.name == "Process" || field.name == "Thread" || field.name == "Content" || field.name == "Node" ||
      field.name == "Address" || field.name == "Program" || field.name == "Agent" || names_a_time(field.name))
    return true;
  return is_one_word(text) || field.name == "Component";
}

// How a format does on the sample.
struct FormatTrial {
  HeaderFormat format;
  std::vector<std::vector<std::string_view>> values;  // by field
  std::size_t matches = 0;
};

// `by_names`: lines count only where their fields are what the names promise, as names of built-in formats
// do.
FormatTrial try_format(const HeaderFormat& format, std::span<const std::string_view> lines, bool by_names) {
  FormatTrial trial{format, {}, 0};
  const auto fields = format.fields();
  trial.values.resize(fields.size());
  FieldValues values;
  for (const std::string_view line : lines) {
    if (!format.match(line, values)) continue;
    bool fits = true;
    for (std::size_t f = 0; by_names && f < fields.size(); ++f)
      fits = fits && plausible(fields[f], values[f]);
    if (!fits) continue;
    ++trial.matches;
    for (std::size_t f = 0; f < fields.size(); ++f) trial.values[f].push_back(values[f]);
  }
  return trial;
}

std::string format_text(std::span<const HeaderField> fields) {
  std::string text;
  for (const HeaderField& field : fields) {
    text += format_literal(field.before) + '<' + field.name;
    if (field.layout) text += '=' + field.layout->text();
    if (field.with_template && field.name != "Content") text += '!';
    text += '>';
  }
  return text;
}

// Fills in layouts of fields named like times; false where such a field has none.
bool find_layouts(const FormatTrial& trial, std::vector<HeaderField>& fields) {
  bool all = true;
  for (std::size_t f = 0; f < fields.size(); ++f) {
    if (fields[f].layout || !names_a_time(fields[f].name)) continue;
    fields[f].layout = layout_of(trial.values[f]);
    all = all && fields[f].layout;
  }
  return all;
}

// Lines of a format whose stamps can be read.
std::size_t readable_stamps(const HeaderFormat& format, std::span<const std::string_view> lines) {
  FieldValues values;
  std::array<std::int64_t, HeaderFormat::most_fields> moments;
  return static_cast<std::size_t>(std::ranges::count_if(lines, [&](std::string_view line) {
    return format.match(line, values) && format.read_stamps(values, moments);
  }));
}

// Bits that an adaptive code spends on `values` when it knows `contexts`: a value seen with its context
// before by its count there; else an escape and its count among all values, or 6 bits a byte when it is new.
double adaptive_bits(const std::vector<std::string>& values, const std::vector<std::string>& contexts) {
  using Counts = std::unordered_map<std::string, double>;
  struct Context {
    Counts counts;
    double total = 0;
  };
  std::unordered_map<std::string, Context> seen;
  Context all;
  // The share of what a context has not seen grows with the kinds that it has (Moffat's escape, method C).
  const auto coded = [](const Context& context, const std::string& value, double& bits) {
    const auto found = context.counts.find(value);
    const auto kinds = static_cast<double>(context.counts.size());
    if (context.total == 0) return false;
    const double share = found == context.counts.end() ? kinds : found->second;
    bits -= std::log2(share / (context.total + kinds));
    return found != context.counts.end();
  };
  double bits = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    Context& context = seen[contexts[i]];
    if (!coded(context, values[i], bits) && !coded(all, values[i], bits))
      bits += 6.0 * static_cast<double>(values[i].size());
    for (Context* one : {&context, &all}) {
      ++one->counts[values[i]];
      ++one->total;
    }
  }
  return bits;
}

// A field goes with the template when the skeleton of the content tells more about its values than the
// field's own last value does, or nothing at all.
bool belongs_to_template(const std::vector<std::string>& values, const std::vector<std::string>& contents) {
  std::vector<std::string> previous(values.size());
  const std::vector<std::string> nothing(values.size());
  for (std::size_t i = 1; i < values.size(); ++i) previous[i] = values[i - 1];
  const double told = adaptive_bits(values, contents);
  return told < adaptive_bits(values, previous) && told < adaptive_bits(values, nothing);
}

void mark_template_fields(const FormatTrial& trial, std::vector<HeaderField>& fields) {
  WordCounts counts;
  for (const std::string_view value : trial.values.back()) counts.add(value);
  WordSet words;
  counts.keep(4, words);
  std::vector<std::string> contents;
  std::vector<Slot> slots;
  for (const std::string_view value : trial.values.back())
    append_skeleton(value, 0, words, contents.emplace_back(), slots);
  for (std::size_t f = 0; f + 1 < fields.size(); ++f) {
    if (fields[f].layout || fields[f].with_template) continue;
    fields[f].with_template = belongs_to_template({trial.values[f].begin(), trial.values[f].end()}, contents);
  }
}

}  // namespace

bool same_header(const HeaderFormat& a, const HeaderFormat& b) {
  return std::ranges::equal(a.fields(), b.fields(), [](const HeaderField& x, const HeaderField& y) {
    const std::string x_layout = x.layout ? x.layout->text() : "",
                      y_layout = y.layout ? y.layout->text() : "";
    return x.name == y.name && x.before == y.before && x_layout == y_layout;
  });
}

HeaderFormat complete_format(const HeaderFormat& format, std::string_view text) {
  const std::vector<std::string_view> lines = sample_lines(text);
  const FormatTrial trial = try_format(format, lines, false);
  if (trial.matches == 0 || format.empty()) return format;
  std::vector<HeaderField> fields(format.fields().begin(), format.fields().end());
  find_layouts(trial, fields);
  mark_template_fields(trial, fields);
  return HeaderFormat(format_text(fields));
}

namespace {

HeaderFormat format_of_share(std::span<const std::string_view> lines, double share) {
  HeaderFormat best;
  const auto needed = static_cast<std::size_t>(share * static_cast<double>(lines.size()) + 0.999);
  if (auto json = json_header(lines, needed)) return *std::move(json);
  for (const std::string_view candidate : built_in_formats()) {
    const HeaderFormat format(candidate);
    if (format.fields().size() <= best.fields().size()) continue;
    const FormatTrial trial = try_format(format, lines, true);
    if (trial.matches == 0 || trial.matches < needed) continue;
    std::vector<HeaderField> fields(format.fields().begin(), format.fields().end());
    if (!find_layouts(trial, fields)) continue;
    mark_template_fields(trial, fields);
    HeaderFormat complete(format_text(fields));
    if (readable_stamps(complete, lines) >= needed) best = std::move(complete);
  }
  return best;
}

}  // namespace

HeaderFormat detect_format(std::string_view text) {
  const std::vector<std::string_view> lines = sample_lines(text);
  HeaderFormat format = format_of_share(lines, detection_share);
  return format.empty() ? format_of_share(lines, detection_share_of_traces) : format;
}

}  // namespace laconic::logzip
