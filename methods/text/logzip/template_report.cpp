#include "methods/text/logzip/template_report.h"

#include <algorithm>
#include <map>

#include "engine/base/error.h"
#include "methods/text/logzip/shown_template.h"

namespace laconic::logzip {
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
