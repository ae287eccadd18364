// The templates of a log, in the order of their discovery. The table only grows: an id means the same
// template in every block.
//
// A template is text: 'H' for a line with header or 'P' for one without, then segments that each end in '\n':
// one for every header field that goes with the template, the last for the content. A NUL byte is a slot. Ids
// 0 and 1 stand for lines without a template of their own, 'P' and 'H', each segment one slot.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/base/bytes.h"

namespace laconic::logzip {

struct Template {
  std::string text;
  std::uint32_t slots = 0;

  Template() = default;
  explicit Template(std::string template_text);
  bool has_header() const { return text.front() == 'H'; }
};

// Limits of a table; the bytes are those of all texts.
inline constexpr std::size_t most_templates = 1u << 20, longest_template = 64u << 10,
                             most_table_bytes = 64u << 20;

// Templates in order as bytes, and back: Error(corrupt) on any other bytes. `segments`: of a template with
// header.
Bytes write_templates(std::span<const Template> templates);
std::vector<Template> read_templates(ByteSpan bytes, std::size_t segments, std::string_view where);

// Ids behind those of a table are of the templates that a block adds.
inline const Template& template_of(std::span<const Template> known, std::span<const Template> fresh,
                                   std::uint32_t id) {
  return id < known.size() ? known[id] : fresh[id - known.size()];
}

class TemplateTable {
 public:
  static constexpr std::uint32_t plain_line = 0, header_line = 1;

  explicit TemplateTable(std::size_t segments);  // 1 to 64

  std::size_t segments() const { return segments_; }
  std::size_t size() const { return templates_.size(); }
  const Template& operator[](std::uint32_t id) const { return templates_[id]; }
  std::span<const Template> templates() const { return templates_; }
  std::optional<std::uint32_t> find(std::string_view text) const;
  std::uint32_t add(const Template& added);  // the id it has, or a new one
  // Writers and readers of archives pass over what a table has no room for.
  bool has_room(const Template& one) const {
    return size() < most_templates && bytes_ + one.text.size() <= most_table_bytes;
  }

 private:
  std::size_t segments_, bytes_ = 0;
  std::vector<Template> templates_;
  std::unordered_map<std::string, std::uint32_t> ids_;
};

}  // namespace laconic::logzip
