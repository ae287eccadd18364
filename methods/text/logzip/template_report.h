// The templates of an archive with how many lines have each.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "methods/text/logzip/archive_reader.h"

namespace laconic::logzip {

struct TemplateCount {
  std::string text;  // slots and header fields as "<*>" and "<Name>"
  std::uint64_t lines = 0;
};

// Most lines first, equal ones by text. Damaged blocks are told and left out.
std::vector<TemplateCount> count_templates(const ArchiveReader& archive, const DamageListener& damage);

}  // namespace laconic::logzip
