#include "methods/text/logzip/template_table.h"

#include <algorithm>

#include "engine/base/error.h"
#include "methods/text/logzip/skeleton.h"

namespace laconic::logzip {

Template::Template(std::string template_text) : text(std::move(template_text)) {
  slots = static_cast<std::uint32_t>(std::ranges::count(text, slot_mark));
}

Bytes write_templates(std::span<const Template> templates) {
  ByteWriter writer;
  writer.varint(templates.size());
  for (const Template& one : templates) writer.append(as_byte_span(one.text));
  return writer.take();
}

std::vector<Template> read_templates(ByteSpan bytes, std::size_t segments, std::string_view where) {
  ByteReader reader(bytes, std::string(where));
  const std::uint64_t count = reader.length(std::min(most_templates, bytes.size()));
  std::string_view text = as_text(reader.take(reader.remaining()));
  std::vector<Template> templates;
  templates.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    std::size_t left = 0, end = 0;
    if (text.starts_with('H')) left = segments;
    if (text.starts_with('P')) left = 1;
    if (left == 0) reader.corrupt("a template of no known kind");
    for (; left > 0; --left) {
      end = text.find('\n', end);
      if (end == std::string_view::npos) reader.corrupt("a template is cut");
      ++end;
    }
    if (end > longest_template) reader.corrupt("a template is too long");
    templates.emplace_back(std::string(text.substr(0, end)));
    text.remove_prefix(end);
  }
  if (!text.empty()) reader.corrupt("bytes behind the last template");
  return templates;
}

TemplateTable::TemplateTable(std::size_t segments) : segments_(segments) {
  require(segments >= 1 && segments <= 64, "a template has 1 to 64 segments");
  const std::string segment{slot_mark, '\n'};
  std::string text = "H";
  for (std::size_t i = 0; i < segments; ++i) text += segment;
  add(Template("P" + segment));
  add(Template(text));
}

std::optional<std::uint32_t> TemplateTable::find(std::string_view text) const {
  const auto found = ids_.find(std::string(text));
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::uint32_t TemplateTable::add(const Template& added) {
  const auto [at, is_new] = ids_.try_emplace(added.text, static_cast<std::uint32_t>(templates_.size()));
  if (is_new) {
    templates_.push_back(added);
    bytes_ += added.text.size();
  }
  return at->second;
}

}  // namespace laconic::logzip
