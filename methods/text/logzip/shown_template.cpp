#include "methods/text/logzip/shown_template.h"

#include <algorithm>

#include "methods/text/logzip/skeleton.h"

namespace laconic::logzip {
namespace {

std::string with_marks(std::string_view segment) {
  std::string text;
  for (const char c : segment) {
    if (c == slot_mark) {
      text += "<*>";
    } else {
      text += c;
    }
  }
  return text;
}

}  // namespace

std::string shown_template(const Template& one, const HeaderFormat& format, ShownFields fields) {
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
    if (field.with_template) {
      shown += next_segment();
    } else {
      shown += fields == ShownFields::by_name ? "<" + field.name + ">" : "<*>";
    }
  }
  return shown;
}

}  // namespace laconic::logzip
