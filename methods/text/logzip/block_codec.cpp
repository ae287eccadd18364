#include "methods/text/logzip/block_codec.h"

#include <algorithm>

#include "engine/base/error.h"
#include "engine/column/stream_bundle.h"
#include "methods/text/logzip/block_streams.h"
#include "methods/text/logzip/id_sequence.h"
#include "methods/text/logzip/stamp_columns.h"

namespace laconic::logzip {
namespace {

ByteKernel kernel_of(LogMode mode) {
  ByteKernel kernel;
  if (mode == LogMode::fast) kernel.coder = ByteCoder::zstd;
  if (mode == LogMode::maximum) kernel.coder = ByteCoder::context_mixing;
  return kernel;
}

void write_ends(std::span<const LineEnd> ends, ByteWriter& writer) {
  for (std::size_t begin = 0; begin < ends.size();) {
    std::size_t end = begin;
    while (end < ends.size() && ends[end] == ends[begin]) ++end;
    writer.u8(static_cast<std::uint8_t>(ends[begin]));
    writer.varint(end - begin);
    begin = end;
  }
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

Bytes pack_columns(const ParsedBlock& parsed, const HeaderFormat& format, const BlockOptions& options) {
  std::vector<ColumnText> stamps;
  for (std::size_t i = 0; i < parsed.stamps.size(); ++i)
    stamps.push_back(stamp_column(format, i, parsed.stamps[i], parsed.stamps[format.primary_stamp()]));
  std::vector<ColumnInput> inputs;
  for (const ColumnText& column : stamps) inputs.push_back({column.view(), 0});
  for (const ColumnText& column : parsed.fields) inputs.push_back({column.view(), 0});
  const std::vector<std::uint32_t> groups = column_groups(parsed.layout, parsed.columns.size());
  for (std::size_t i = 0; i < parsed.columns.size(); ++i)
    inputs.push_back({parsed.columns[i].view(), groups[i]});
  const std::vector<ColumnStream> coded = encode_columns(inputs, options.columns);
  const Bytes layout = layout_bytes(parsed);
  std::vector<BundleStream> streams{{0, stream_group(ColumnStreamKind::descriptor), layout}};
  for (const ColumnStream& stream : coded)
    streams.push_back({stream_id(stream.owner, stream.kind), stream_group(stream.kind), stream.bytes});
  return pack_streams(streams,
                      {kernel_of(options.mode), BundleGrouping::smallest, options.columns.own_stream_bytes});
}

Bytes pack_block(std::string_view block, const ParsedBlock& parsed, const HeaderFormat& format,
                 const BlockOptions& options) {
  ByteWriter writer;
  writer.u8(options.lossy ? lossy_block : exact_block);
  writer.varint(block.size());
  writer.varint(parsed.ids.size());
  write_ends(parsed.ends, writer);
  const Bytes ids = encode_ids(parsed.ids);
  writer.varint(ids.size());
  writer.append(ids);
  if (!options.lossy) writer.append(pack_columns(parsed, format, options));
  return writer.take();
}

CodedBlock coded_block(std::string_view block, const HeaderFormat& format, const KnownTemplates& known,
                       const BlockOptions& options) {
  ParsedBlock parsed = parse_block(block, format, known, options.parse);
  CodedBlock coded;
  if (options.on_templates) options.on_templates(parsed.fresh);
  coded.lines = parsed.ids.size();
  coded.templates = encode_templates(parsed.fresh, options.mode);
  coded.streams = pack_block(block, parsed, format, options);
  coded.fresh = std::move(parsed.fresh);
  coded.ids = std::move(parsed.ids);
  if (!parsed.stamps.empty()) coded.moments = std::move(parsed.stamps[format.primary_stamp()]);
  return coded;
}

// Whether the parts say what they should.
bool decodes_to(std::string_view block, const CodedBlock& coded, const HeaderFormat& format,
                const TemplateTable& table, bool lossy) {
  const std::vector<Template> fresh = decode_templates(coded.templates, table.segments(), "coded block");
  BlockReader reader(coded.streams, format, table.templates(), fresh, "coded block");
  return lossy ? reader.ids().size() == coded.lines : reader.text() == block;
}

}  // namespace

CodedBlock encode_block(std::string_view block, const HeaderFormat& format, const KnownTemplates& known,
                        const BlockOptions& options) {
  CodedBlock coded = coded_block(block, format, known, options);
  require(decodes_to(block, coded, format, known.table(), options.lossy),
          "a coded block of log gives its lines back");
  return coded;
}

Bytes encode_templates(std::span<const Template> fresh, LogMode mode) {
  if (fresh.empty()) return {};
  const Bytes raw = write_templates(fresh);
  const BundleStream stream{0, 0, raw};
  return pack_streams({&stream, 1}, {kernel_of(mode), BundleGrouping::together, 0});
}

std::vector<Template> decode_templates(ByteSpan part, std::size_t segments, std::string_view where) {
  if (part.empty()) return {};
  BundleReader bundle(part, most_template_bytes, std::string(where));
  return read_templates(bundle.read_id(0), segments, where);
}

}  // namespace laconic::logzip
