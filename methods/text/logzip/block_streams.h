// Numbers that the encoder and the reader of blocks agree on.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/column/column_streams.h"
#include "methods/text/logzip/lines.h"
#include "methods/text/logzip/parsed_block.h"

namespace laconic::logzip {

inline constexpr std::uint64_t most_template_bytes = 2 * block_bytes;
inline constexpr std::uint64_t most_stream_bytes = 4 * block_bytes + (1u << 20);

// Columns of slots that a block may have: each takes memory of its own, however short it is.
inline constexpr std::size_t most_columns = std::size_t{1} << 18;

// First byte of part 0, where there is one.
enum class TemplatePart : std::uint8_t {
  alone = 1,  // a bundle of the templates follows
  whole = 2,  // all of the block follows, as in part 1, which is empty
};

// Streams in a bundle; those of the column set follow.
inline constexpr std::uint32_t templates_stream = 0, layout_stream = 1;
inline std::uint32_t stream_id(std::uint32_t owner, ColumnStreamKind kind) {
  return 2 + owner * static_cast<std::uint32_t>(column_stream_kinds) + static_cast<std::uint32_t>(kind);
}
// Texts and numbers are coded apart where that is smaller.
inline std::uint32_t stream_group(ColumnStreamKind kind) {
  return kind == ColumnStreamKind::numbers || kind == ColumnStreamKind::planes ||
                 kind == ColumnStreamKind::fixed
             ? 1
             : 0;
}

// Groups of the columns of slots: those of one template's own slots are aligned, a column that slots share is
// alone. Group 0 is the header.
inline std::vector<std::uint32_t> column_groups(std::span<const TemplateColumns> layout,
                                                std::size_t columns) {
  std::vector<std::uint32_t> uses(columns), groups(columns);
  for (const TemplateColumns& one : layout)
    for (const std::uint32_t column : one.columns) ++uses[column];
  std::uint32_t next = 1;
  for (const TemplateColumns& one : layout) {
    const std::uint32_t own = next++;
    for (const std::uint32_t column : one.columns)
      if (groups[column] == 0) groups[column] = uses[column] == 1 ? own : next++;
  }
  return groups;
}

}  // namespace laconic::logzip
