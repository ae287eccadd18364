// What encoding needs of a closed table of templates besides the table: its words and a matcher. Grows with
// the table.
#pragma once

#include "methods/text/logzip/skeleton.h"
#include "methods/text/logzip/template_matcher.h"
#include "methods/text/logzip/template_table.h"

namespace laconic::logzip {

class KnownTemplates {
 public:
  // `segments`: of a template with header.
  explicit KnownTemplates(std::size_t segments) : table_(segments) {}

  const TemplateTable& table() const { return table_; }
  const WordSet& words() const { return words_; }
  const TemplateMatcher& matcher() const { return matcher_; }
  // Templates it has already are passed over.
  void add(std::span<const Template> templates) {
    for (const Template& one : templates) {
      const std::size_t before = table_.size();
      const std::uint32_t id = table_.add(one);
      if (table_.size() == before) continue;
      matcher_.add(one.text, id);
      WordCounts counts;
      counts.add(std::string_view(one.text).substr(1));
      counts.keep(1, words_);
    }
  }

 private:
  TemplateTable table_;
  WordSet words_;
  TemplateMatcher matcher_;
};

}  // namespace laconic::logzip
