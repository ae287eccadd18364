// A block of log lines as bytes, and back. A coded block has two parts, so that readers can build the table
// of templates (template_table.h) without the rest.
//
// Part 0: nothing where the block adds no template; or u8 1, a bundle (stream_bundle.h) of stream 0,
// write_templates(); or,
//   for a small block, u8 2 and what else were part 1, with the templates as stream 0 of its bundle.
// Part 1: the head (block_head.h): u8 1, or 2 for a lossy block; varint bytes of the block; varint lines;
// runs of line ends
//   as pairs (u8 end, varint lines); varint length of the ids, ids (id_sequence.h). Then, not in lossy
//   blocks, a bundle. Its stream 1 is the layout: per template that has lines and slots, by id, and per slot
//   a varint, 0 for a new column, c + 1 for column c. Stream 2 + 8 o + k is stream k of owner o of the column
//   set (column_set.h). The columns of the set: stamps as decimal numbers (stamp_columns.h), the free fields,
//   the columns of slots.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/column/column_set.h"
#include "methods/text/logzip/block_parser.h"
#include "methods/text/logzip/id_sequence.h"

namespace laconic::logzip {

enum class LogMode : std::uint8_t {
  fast,     // zstd 3
  best,     // LZMA
  maximum,  // context mixing
};

// Hears of the templates that a block adds, as soon as they are known.
using FreshTemplatesListener = std::function<void(std::span<const Template>)>;

struct BlockOptions {
  LogMode mode = LogMode::best;
  ParseOptions parse;
  ColumnOptions columns;
  // Blocks whose streams hold at most so many bytes before they are coded are one part: templates and texts
  // learn from each other, and who wants the templates alone reads little more.
  std::size_t one_part_bytes = 256u << 10;
  // In blocks of at least so many bytes, columns above a size are coded each on its own: lines are read
  // without the columns that they do not need, and every column has the coder that suits it. Smaller blocks
  // are smaller together; so is the maximum mode, which stays solid.
  std::size_t own_columns_from = 4u << 20, own_column_bytes = 4096;
  // Keeps which template each line has, and nothing of the values in its slots and its header.
  bool lossy = false;
  FreshTemplatesListener on_templates;  // may be empty
};

struct CodedBlock {
  std::uint64_t lines = 0;
  Bytes part_0, part_1;
  std::vector<Template> fresh;        // the templates that it adds
  std::vector<std::uint32_t> ids;     // of the templates of the lines
  std::vector<std::int64_t> moments;  // of the lines with header, by the format's primary stamp, in its unit
};

// Parses and codes a block of at most block_bytes bytes; decodes the result and compares before it returns.
CodedBlock encode_block(std::string_view block, const HeaderFormat& format, const KnownTemplates& known,
                        const BlockOptions& options = {});

// A part 0 of templates alone; nothing for none.
Bytes encode_templates(std::span<const Template> templates, LogMode mode);
// The templates that part 0 adds. Error(corrupt).
std::vector<Template> decode_templates(ByteSpan part_0, std::size_t segments, std::string_view where);

// Reads a block. `known` are the templates that the block was coded with, `fresh` those of its part 0. All
// arguments outlive the reader. Every fault of the bytes is an Error(corrupt) that names `where`.
class BlockReader {
 public:
  BlockReader(ByteSpan part_0, ByteSpan part_1, const HeaderFormat& format, std::span<const Template> known,
              std::span<const Template> fresh, std::string where);
  ~BlockReader();
  BlockReader(BlockReader&&) noexcept;
  BlockReader& operator=(BlockReader&&) noexcept;

  bool lossy() const;
  std::uint64_t size() const;  // bytes of the block
  std::size_t line_count() const;
  // How many lines each template has, templates without lines left out; and the template of every line, which
  // takes longer to decode.
  std::span<const IdCount> template_lines();
  std::span<const std::uint32_t> ids();
  const Template& template_of(std::uint32_t id) const;
  // The columns of the slots of templates with lines, by id; see ParsedBlock.
  std::span<const TemplateColumns> layout() const;
  const ColumnText& column(std::size_t index);
  const ColumnText& field(std::size_t index);              // by place among free_fields()
  std::span<const std::int64_t> stamp(std::size_t index);  // by stamp of the format

  // Lines [first, last) with their ends; only the columns that they need are decoded. Of a lossy block the
  // templates, with <*> for every slot.
  std::string lines(std::size_t first, std::size_t last);
  std::string text();  // the whole block

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace laconic::logzip
