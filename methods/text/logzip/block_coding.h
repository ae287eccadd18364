// Coded blocks of an archive. STAND-IN until the block codec is there.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/bytes.h"
#include "methods/text/logzip/archive_format.h"
#include "methods/text/logzip/header_format.h"
#include "methods/text/logzip/parsed_block.h"
#include "methods/text/logzip/template_table.h"

namespace laconic::logzip {

struct CodedBlock {
  Bytes templates, streams;
};

Bytes code_templates(std::span<const Template> templates);
std::vector<Template> expand_templates(ByteSpan coded, std::size_t segments, std::string_view where);

CodedBlock code_block(std::string_view text, const ParsedBlock& parsed, const HeaderFormat& format,
                      const TemplateTable& table, BlockMode mode);
std::string expand_block(ByteSpan templates, ByteSpan streams, const HeaderFormat& format,
                         const TemplateTable& table, std::size_t bytes, std::string_view where);

}  // namespace laconic::logzip
