#include "methods/text/logzip/block_codec.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/column/stream_bundle.h"
#include "methods/text/logzip/block_head.h"
#include "methods/text/logzip/block_streams.h"
#include "methods/text/logzip/stamp_columns.h"

namespace laconic::logzip {
namespace {

ByteKernel kernel_of(LogMode mode) {
  ByteKernel kernel;
  if (mode == LogMode::fast) kernel.coder = ByteCoder::zstd;
  if (mode == LogMode::maximum) kernel.coder = ByteCoder::context_mixing;
  return kernel;
}

Bytes layout_bytes(const ParsedBlock& parsed) {
  ByteWriter writer;
  std::uint32_t next = 0;
  for (const TemplateColumns& one : parsed.layout)
    for (const std::uint32_t column : one.columns) {
      writer.varint(column == next ? 0 : column + 1);
      next += column == next ? 1 : 0;
    }
  return writer.take();
}

constexpr std::uint32_t quick_sample_rows = 4096, quick_joining_lines = 4096;

ParseOptions parse_options(const BlockOptions& options) {
  ParseOptions parse = options.parse;
  if (options.mode == LogMode::fast) parse.joining_lines = std::min(parse.joining_lines, quick_joining_lines);
  return parse;
}

ColumnOptions column_options(const BlockOptions& options, std::size_t block_bytes) {
  ColumnOptions columns = options.columns;
  if (options.mode == LogMode::fast) columns.sample_rows = std::min(columns.sample_rows, quick_sample_rows);
  const bool apart = block_bytes >= options.own_columns_from && options.mode != LogMode::maximum;
  if (columns.own_stream_bytes == 0 && apart) columns.own_stream_bytes = options.own_column_bytes;
  return columns;
}

// The streams of a block but its templates.
struct BlockStreams {
  Bytes layout;
  std::vector<ColumnStream> columns;

  std::size_t size() const {
    std::size_t bytes = layout.size();
    for (const ColumnStream& stream : columns) bytes += stream.bytes.size();
    return bytes;
  }
};

BlockStreams block_streams(const ParsedBlock& parsed, const HeaderFormat& format,
                           const ColumnOptions& options) {
  std::vector<ColumnText> stamps;
  for (std::size_t i = 0; i < parsed.stamps.size(); ++i)
    stamps.push_back(stamp_column(format, i, parsed.stamps[i], parsed.stamps[format.primary_stamp()]));
  std::vector<ColumnInput> inputs;
  for (const ColumnText& column : stamps) inputs.push_back({column.view(), 0});
  for (const ColumnText& column : parsed.fields) inputs.push_back({column.view(), 0});
  const std::vector<std::uint32_t> groups = column_groups(parsed.layout, parsed.columns.size());
  for (std::size_t i = 0; i < parsed.columns.size(); ++i)
    inputs.push_back({parsed.columns[i].view(), groups[i]});
  return {layout_bytes(parsed), encode_columns(inputs, options)};
}

Bytes pack_block_streams(const BlockStreams& made, ByteSpan templates, const BlockOptions& options,
                         std::uint64_t own_unit_bytes) {
  const std::uint32_t texts = stream_group(ColumnStreamKind::text);
  std::vector<BundleStream> streams;
  if (!templates.empty()) streams.push_back({templates_stream, texts, templates});
  streams.push_back({layout_stream, texts, made.layout});
  for (const ColumnStream& stream : made.columns)
    streams.push_back({stream_id(stream.owner, stream.kind), stream_group(stream.kind), stream.bytes});
  return pack_streams(streams, {kernel_of(options.mode), BundleGrouping::smallest, own_unit_bytes});
}

CodedBlock code_parsed(std::string_view block, const HeaderFormat& format, const TemplateTable& known,
                       ParsedBlock parsed, const BlockOptions& options) {
  Bytes ids = encode_ids(parsed.ids, IdCoding::plain);
  if (options.mode != LogMode::fast) {
    Bytes mixed = encode_ids(parsed.ids, IdCoding::mixed, [&](std::uint32_t id) {
      return template_of(known.templates(), parsed.fresh, id).has_header();
    });
    if (mixed.size() < ids.size()) ids = std::move(mixed);
  }
  const Bytes templates = parsed.fresh.empty() ? Bytes{} : write_templates(parsed.fresh);
  ByteWriter whole;
  write_block_head({options.lossy, block.size(), parsed.ends, ids}, whole);
  bool one_part = false;
  if (!options.lossy) {
    const ColumnOptions columns = column_options(options, block.size());
    const BlockStreams streams = block_streams(parsed, format, columns);
    // Byte coders need the memory more.
    std::vector<ColumnText>().swap(parsed.columns);
    std::vector<ColumnText>().swap(parsed.fields);
    one_part = !templates.empty() && streams.size() <= options.one_part_bytes;
    whole.append(pack_block_streams(streams, one_part ? ByteSpan(templates) : ByteSpan{}, options,
                                    columns.own_stream_bytes));
  }
  CodedBlock coded;
  coded.lines = parsed.ids.size();
  coded.fresh = std::move(parsed.fresh);
  coded.ids = std::move(parsed.ids);
  if (!parsed.stamps.empty()) coded.moments = std::move(parsed.stamps[format.primary_stamp()]);
  ByteWriter first;
  if (one_part) {
    first.u8(static_cast<std::uint8_t>(TemplatePart::whole));
    first.append(whole.span());
  } else {
    coded.part_1 = whole.take();
    first.append(encode_templates(coded.fresh, options.mode));
  }
  coded.part_0 = first.take();
  return coded;
}

// Whether the parts say what they should.
bool decodes_to(std::string_view block, const CodedBlock& coded, const HeaderFormat& format,
                const TemplateTable& table, bool lossy) {
  try {
    const std::vector<Template> fresh = decode_templates(coded.part_0, table.segments(), "coded block");
    BlockReader reader(coded.part_0, coded.part_1, format, table.templates(), fresh, "coded block");
    if (lossy) reader.text();
    return lossy ? std::ranges::equal(reader.ids(), coded.ids) : reader.text() == block;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt) throw;
    return false;
  }
}

}  // namespace

CodedBlock encode_block(std::string_view block, const HeaderFormat& format, const KnownTemplates& known,
                        const BlockOptions& options) {
  ParsedBlock parsed = parse_block(block, format, known, parse_options(options));
  if (options.on_templates) options.on_templates(parsed.fresh);
  std::vector<Template> fresh = parsed.fresh;
  CodedBlock coded = code_parsed(block, format, known.table(), std::move(parsed), options);
  if (decodes_to(block, coded, format, known.table(), options.lossy)) return coded;
  // No log is known that comes here; if one does, it is kept as it is.
  coded = code_parsed(block, format, known.table(), verbatim_block(block, format, std::move(fresh)), options);
  require(decodes_to(block, coded, format, known.table(), options.lossy),
          "a coded block of log gives its lines back");
  return coded;
}

Bytes encode_templates(std::span<const Template> templates, LogMode mode) {
  if (templates.empty()) return {};
  const Bytes raw = write_templates(templates);
  const BundleStream stream{templates_stream, 0, raw};
  ByteWriter writer;
  writer.u8(static_cast<std::uint8_t>(TemplatePart::alone));
  writer.append(pack_streams({&stream, 1}, {kernel_of(mode), BundleGrouping::together, 0}));
  return writer.take();
}

std::vector<Template> decode_templates(ByteSpan part_0, std::size_t segments, std::string_view where) {
  if (part_0.empty()) return {};
  ByteReader reader(part_0, std::string(where));
  const std::uint8_t kind = reader.u8();
  const bool whole = kind == static_cast<std::uint8_t>(TemplatePart::whole);
  if (!whole && kind != static_cast<std::uint8_t>(TemplatePart::alone))
    reader.corrupt("templates in an unknown form");
  if (whole) read_block_head(reader);
  BundleReader bundle(reader.take(reader.remaining()), whole ? most_stream_bytes : most_template_bytes,
                      std::string(where));
  return read_templates(bundle.read_id(templates_stream), segments, where);
}

}  // namespace laconic::logzip
