// A block of log lines as bytes, and back. A coded block has two parts: the templates that it adds to the
// table of its log (template_table.h), so that readers can build the table without the rest, and its streams.
//
// Part 0: templates (write_templates) as a bundle of one stream, or nothing where the block adds none.
// Part 1: u8 version; varint bytes of the block; varint lines; runs of line ends as pairs (u8 end, varint
// lines); varint
//   length of the ids, ids (id_sequence.h); a bundle (stream_bundle.h). Its stream 0 is the layout: per
//   template that has lines and slots, by id, and per slot a varint, 0 for a new column, c + 1 for column c.
//   Stream 1 + k of owner o is that of the column set (column_set.h) with id 1 + 8 o + k. The columns of the
//   set: stamps as decimal numbers, the free fields, the columns of slots. The finest stamp that tells the
//   day is written as it is, the others as what they differ from it.
// Lossy blocks end behind the ids.
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
  // Keeps which template each line has, and nothing of the values in its slots and its header.
  bool lossy = false;
  FreshTemplatesListener on_templates;  // may be empty
};

struct CodedBlock {
  std::uint64_t lines = 0;
  Bytes templates, streams;     // parts 0 and 1
  std::vector<Template> fresh;  // what part 0 says
  std::vector<std::uint32_t> ids;     // of the templates of the lines
  std::vector<std::int64_t> moments;  // of the lines with header, by the format's primary stamp, in its unit
};

// Parses and codes a block of at most block_bytes bytes; decodes the result and compares before it returns.
CodedBlock encode_block(std::string_view block, const HeaderFormat& format, const KnownTemplates& known,
                        const BlockOptions& options = {});

// Templates as part 0, and back: Error(corrupt).
Bytes encode_templates(std::span<const Template> templates, LogMode mode);
std::vector<Template> decode_templates(ByteSpan part, std::size_t segments, std::string_view where);

// Reads part 1. `known` are the templates that the block was coded with, `fresh` those of its part 0. All
// arguments outlive the reader. Every fault of the bytes is an Error(corrupt) that names `where`.
class BlockReader {
 public:
  BlockReader(ByteSpan part, const HeaderFormat& format, std::span<const Template> known,
              std::span<const Template> fresh, std::string where);
  ~BlockReader();
  BlockReader(BlockReader&&) noexcept;
  BlockReader& operator=(BlockReader&&) noexcept;

  bool lossy() const;
  std::uint64_t size() const;  // bytes of the block
  std::span<const std::uint32_t> ids() const;
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
