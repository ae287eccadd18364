#include "methods/text/logzip/block_coding.h"

#include "engine/coding/zstd_bytes.h"

namespace laconic::logzip {

Bytes code_templates(std::span<const Template> templates) {
  if (templates.empty()) return {};
  const Bytes plain = write_templates(templates);
  const Bytes coded = zstd_compress(plain, 19);
  ByteWriter writer;
  writer.varint(plain.size());
  writer.append(coded);
  return writer.take();
}

std::vector<Template> expand_templates(ByteSpan coded, std::size_t segments, std::string_view where) {
  if (coded.empty()) return {};
  ByteReader reader(coded, std::string(where));
  Bytes plain(reader.length(64u << 20));
  zstd_expand(reader.take(reader.remaining()), plain, where);
  return read_templates(plain, segments, where);
}

CodedBlock code_block(std::string_view text, const ParsedBlock& parsed, const HeaderFormat&,
                      const TemplateTable&, BlockMode mode) {
  return {code_templates(parsed.fresh), zstd_compress(as_byte_span(text), mode == BlockMode::fast ? 3 : 9)};
}

std::string expand_block(ByteSpan, ByteSpan streams, const HeaderFormat&, const TemplateTable&,
                         std::size_t bytes, std::string_view where) {
  std::string text(bytes, '\0');
  zstd_expand(streams, std::as_writable_bytes(std::span(text)), where);
  return text;
}

}  // namespace laconic::logzip
