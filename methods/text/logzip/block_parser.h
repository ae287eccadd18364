// From a block of log to its structure: header fields, skeletons, templates, values of slots. What comes out
// depends on the block, the format, the table as it stands and the options alone.
#pragma once

#include <string_view>

#include "methods/text/logzip/header_format.h"
#include "methods/text/logzip/parsed_block.h"
#include "methods/text/logzip/template_choice.h"

namespace laconic::logzip {

struct ParseOptions {
  // A word of letters stays in skeletons when it occurs this often among the sampled lines.
  double word_share = 0.002;
  std::uint32_t word_times = 4;
  std::uint32_t sampled_lines = 8192;
  bool join_columns = true;  // slots with values in common share a column (joined_columns.h)
  std::uint32_t joining_lines = 8192;
  ExtractionOptions extraction;
};

// The block as lines without header and template: what any bytes come back from. `fresh`: as parse_block
// found them, for blocks that others know of already.
ParsedBlock verbatim_block(std::string_view block, const HeaderFormat& format, std::vector<Template> fresh);

ParsedBlock parse_block(std::string_view block, const HeaderFormat& format, const KnownTemplates& known,
                        const ParseOptions& options = {});

}  // namespace laconic::logzip
