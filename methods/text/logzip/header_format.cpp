#include "methods/text/logzip/header_format.h"

#include <algorithm>
#include <utility>

#include "engine/base/error.h"
#include "methods/text/logzip/lines.h"

namespace laconic::logzip {
namespace {

// The text of a field between its brackets: name, then `=layout` or `!`.
HeaderField header_field(std::string_view inside, std::string before, std::string_view format) {
  HeaderField field;
  field.before = std::move(before);
  const std::size_t equals = inside.find('=');
  field.name = inside.substr(0, equals);
  if (equals != std::string_view::npos) field.layout.emplace(inside.substr(equals + 1));
  if (field.name.ends_with('!')) {
    field.name.pop_back();
    field.with_template = true;
  }
  if (field.name.empty()) fail(ErrorKind::usage, "a field without a name in a log format", format);
  if (field.with_template && field.layout)
    fail(ErrorKind::usage, "a time cannot be part of the template in a log format", format);
  if (field.name == "Content" && field.layout)
    fail(ErrorKind::usage, "<Content> is text, not a time, in a log format", format);
  return field;
}

}  // namespace

HeaderFormat::HeaderFormat(std::string_view text) : text_(text) {
  if (text.size() > longest_text) fail(ErrorKind::usage, "a log format of more than 4,096 characters");
  std::string literal;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '>')
      fail(ErrorKind::usage, "unbalanced '>' in a log format", text, "write \\> for the sign itself");
    if (text[i] != '<') {
      if (text[i] == '\\' && ++i == text.size())
        fail(ErrorKind::usage, "a log format ends with a backslash", text);
      if (text[i] != ' ' || !literal.ends_with(' ')) literal += text[i];
      continue;
    }
    const std::size_t close = text.find_first_of("<>", i + 1);
    if (close == std::string_view::npos || text[close] == '<')
      fail(ErrorKind::usage, "unbalanced '<' in a log format", text, "write \\< for the sign itself");
    if (!fields_.empty() && fields_.back().name == "Content")
      fail(ErrorKind::usage, "<Content> must be the last field of a log format", text);
    if (!fields_.empty() && literal.empty())
      fail(ErrorKind::usage, "two fields of a log format with nothing between them", text);
    fields_.push_back(header_field(text.substr(i + 1, close - i - 1), std::exchange(literal, {}), text));
    i = close;
  }
  if (fields_.empty() || fields_.back().name != "Content" || !literal.empty())
    fail(ErrorKind::usage, "a log format must end with <Content>", text,
         "for example <Date> <Time> <Level> <Component>: <Content>");
  if (fields_.size() > most_fields) fail(ErrorKind::usage, "a log format of more than 64 fields");
  for (std::size_t i = 0; i < fields_.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      if (fields_[i].name == fields_[j].name)
        fail(ErrorKind::usage, "a log format names two fields " + fields_[i].name, text);
  fields_.back().with_template = true;
  group_stamps();
}

void HeaderFormat::group_stamps() {
  std::vector<std::size_t> group;
  std::vector<TimeLayout> layouts;
  unsigned parts = 0;
  constexpr unsigned epoch = 128;
  const auto close = [&] {
    if (!group.empty()) stamps_.push_back({Stamp(std::exchange(layouts, {})), std::exchange(group, {})});
    parts = 0;
  };
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    if (!fields_[i].layout) continue;
    const unsigned told = fields_[i].layout->parts();
    if ((parts & told) != 0 || ((parts | told) & epoch) != 0) close();
    parts |= told;
    group.push_back(i);
    layouts.push_back(*fields_[i].layout);
  }
  close();
}

bool HeaderFormat::match(std::string_view line, std::span<std::string_view> values) const {
  if (!line.starts_with(fields_.front().before)) return false;
  std::size_t position = fields_.front().before.size();
  for (std::size_t i = 0; i + 1 < fields_.size(); ++i) {
    std::size_t start = position;
    while (start < line.size() && line[start] == ' ') ++start;
    const std::string& next = fields_[i + 1].before;
    const std::size_t end = start < line.size() ? line.find(next, start + 1) : std::string_view::npos;
    if (end == std::string_view::npos) return false;
    values[i] = line.substr(position, end - position);
    position = end + next.size();
  }
  values[fields_.size() - 1] = line.substr(position);
  return true;
}

std::size_t HeaderFormat::primary_stamp() const {
  std::size_t best = 0;
  for (std::size_t i = 1; i < stamps_.size(); ++i) {
    const Stamp &held = stamps_[best].stamp, &other = stamps_[i].stamp;
    if (other.tells_day() && (!held.tells_day() || other.unit() < held.unit())) best = i;
  }
  return best;
}

bool HeaderFormat::read_stamps(std::span<const std::string_view> values,
                               std::span<std::int64_t> moments) const {
  std::array<std::string_view, most_fields> texts;
  for (std::size_t s = 0; s < stamps_.size(); ++s) {
    for (std::size_t i = 0; i < stamps_[s].fields.size(); ++i) texts[i] = values[stamps_[s].fields[i]];
    const auto moment = stamps_[s].stamp.read({texts.data(), stamps_[s].fields.size()});
    if (!moment) return false;
    moments[s] = *moment;
  }
  return true;
}

// As the parser takes headers: of lines within their length, with all stamps.
std::optional<std::int64_t> HeaderFormat::time_of(std::string_view line) const {
  std::array<std::string_view, most_fields> values;
  std::array<std::int64_t, most_fields> moments;
  if (stamps_.empty() || line.size() >= longest_line || !match(line, values)) return std::nullopt;
  if (!read_stamps(values, moments)) return std::nullopt;
  const std::size_t primary = primary_stamp();
  return moments[primary] * stamps_[primary].stamp.unit();
}

std::string format_literal(std::string_view text) {
  std::string literal;
  for (const char c : text) {
    if (c == '<' || c == '>' || c == '\\') literal += '\\';
    literal += c;
  }
  return literal;
}

std::span<const std::string_view> built_in_formats() {
  static constexpr auto formats = std::to_array<std::string_view>({
      // LogHub
      "<Date> <Time> <Pid> <Level> <Component>: <Content>",
      "<Date> <Time> <Level> [<Process>] <Component>: <Content>",
      "<Date> <Time> <Level> <Component>: <Content>",
      "<Date> <Time> - <Level> [<Node>:<Component>@<Id>] - <Content>",
      "<Label> <Timestamp> <Date> <Node> <Time> <NodeRepeat> <Type> <Component> <Level> <Content>",
      "<LogId> <Node> <Component> <State> <Time> <Flag> <Content>",
      "<Label> <Timestamp> <Date> <User> <Month> <Day> <Time> <Location> <Component>[<Pid>]: <Content>",
      "<Label> <Timestamp> <Date> <User> <Month> <Day> <Time> <Location> <Component>: <Content>",
      "<Label> <Timestamp> <Date> <User> <Month> <Day> <Time> <Location> <Content>",
      "<Date> <Time>, <Level> <Component> <Content>",
      "<Date> <Time> <Pid> <Tid> <Level> <Component>: <Content>",
      "<Time>|<Component>|<Pid>|<Content>",
      "[<Time>] [<Level>] <Content>",
      "[<Time>] <Program> - <Content>",
      "<LogRecord> <Date> <Time> <Pid> <Level> <Component> [<Address>] <Content>",
      // syslog
      "<Month> <Day> <Time> <Host> <Component>[<Pid>]: <Content>",
      "<Month> <Day> <Time> <Host> <Component>: <Content>",
      "<Month> <Day> <Time> <Host> <Content>",
      "<Timestamp> <Host> <Component>[<Pid>]: <Content>",
      "<Timestamp> <Host> <Component>: <Content>",
      // access logs: combined, common, and others that begin alike
      "<Client> <Identity> <User> [<Time> <Zone>] \"<Method> <Path> <Protocol>\" <Status> <Bytes> "
      "\"<Referer>\" \"<Agent>\"<Content>",
      "<Client> <Identity> <User> [<Time> <Zone>] \"<Method> <Path> <Protocol>\" <Status> <Content>",
      "<Client> <Identity> <User> [<Time> <Zone>] <Content>",
      // bracketed and plain times
      "[<Date> <Time>] <Level> <Content>",
      "[<Date> <Time>] [<Level>] <Content>",
      "[<Date> <Time>] <Content>",
      "[<Timestamp>] <Content>",
      "<Date> <Time> [<Thread>] <Level> <Component> - <Content>",
      "<Date> <Time> <Level> [<Thread>] <Content>",
      "<Date> <Time> <Level> <Content>",
      "<Date> <Time> <Content>",
      "<Timestamp> <Level> <Content>",
      "<Timestamp>: <Content>",
      "<Timestamp>|<Content>",
      "<Timestamp> <Content>",
      // JSON lines
      "{\"timestamp\":\"<Timestamp>\",\"level\":\"<Level>\",<Content>",
      "{\"timestamp\":\"<Timestamp>\",<Content>",
      "{\"time\":\"<Time>\",\"level\":\"<Level>\",<Content>",
      "{\"time\":\"<Time>\",<Content>",
      "{\"ts\":\"<Timestamp>\",<Content>",
      "{\"ts\":<Timestamp>,<Content>",
      "{\"@timestamp\":\"<Timestamp>\",<Content>",
  });
  return formats;
}

}  // namespace laconic::logzip
