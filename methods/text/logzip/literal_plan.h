// Where a literal can stand in the lines of one template, before any value is decoded.
//
// A line is its template's text with a value in every slot, header field and time. A place of the literal in
// such a line takes pieces of values; each place asks for something of one of them (the longest piece), and a
// line without any such value does not hold the literal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "methods/text/logzip/header_format.h"
#include "methods/text/logzip/template_table.h"

namespace laconic::logzip {

struct ValueWish {
  enum class Source : std::uint8_t { slot, field };
  enum class Relation : std::uint8_t { contains, starts, ends, equals };
  Source source = Source::slot;
  std::uint32_t index = 0;  // of the slot in its template, or of the field among free_fields()
  Relation relation = Relation::contains;
  std::string piece;  // of the literal

  bool operator==(const ValueWish&) const = default;
  bool granted_by(std::string_view value) const;
};

struct LiteralPlan {
  bool any_line = false;          // every line of the template may hold the literal
  std::vector<ValueWish> wishes;  // else: lines with a value that grants one of these
};

LiteralPlan plan_literal(const Template& one, const HeaderFormat& format, std::string_view literal);

}  // namespace laconic::logzip
