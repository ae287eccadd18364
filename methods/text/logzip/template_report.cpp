#include "methods/text/logzip/template_report.h"

#include <algorithm>
#include <map>

#include "engine/base/error.h"

namespace laconic::logzip {
namespace {

std::string with_marks(std::string_view segment) {
  std::string text;
  for (const char c : segment) {
    if (c == '\0') {
      text += "<*>";
    } else {
      text += c;
    }
  }
  return text;
}

}  // namespace

std::string shown_template(const Template& one, const HeaderFormat& format) {
  std::string_view text(one.text);
  text.remove_prefix(1);
  const auto next_segment = [&] {
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string segment = with_marks(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    return segment;
  };
  if (!one.has_header()) return next_segment();
  std::string shown;
  for (const HeaderField& field : format.fields()) {
    shown += field.before;
    shown += field.with_template ? next_segment() : "<" + field.name + ">";
  }
  return shown;
}

std::vector<TemplateCount> count_templates(const ArchiveReader& archive, const DamageListener& damage) {
  std::map<std::string, std::uint64_t> lines;
  for (std::size_t i = 0; i < archive.blocks().size(); ++i) {
    try {
      ArchiveReader::OpenBlock opened = archive.open(i);
      BlockReader& block = opened.reader();
      const HeaderFormat& format = archive.sections()[archive.blocks()[i].section].format;
      for (const IdCount& one : block.template_lines())
        lines[shown_template(block.template_of(one.id), format)] += one.lines;
    } catch (const Error& error) {
      if (error.kind() != ErrorKind::corrupt) throw;
      damage(error.what());
    }
  }
  std::vector<TemplateCount> counts;
  for (const auto& [text, count] : lines) counts.push_back({text, count});
  std::ranges::stable_sort(counts, std::greater<>(), &TemplateCount::lines);
  return counts;
}

}  // namespace laconic::logzip
