// One block of log made into what an archive appends: parsed, coded, and described for the index.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/base/bytes.h"
#include "methods/text/logzip/archive_format.h"
#include "methods/text/logzip/generation_tables.h"
#include "methods/text/logzip/header_format.h"

namespace laconic::logzip {

struct MadeBlock {
  BlockEntry entry;  // all but `carried`
  std::uint64_t newlines = 0;
  bool first_line_tells_time = false;
  std::optional<std::int64_t> last_moment;        // of the last line that tells one
  Bytes templates, streams, generation, letters;  // the parts
};

struct BlockTask {
  std::string text;
  std::uint64_t section = 0, number = 0;
};

// Publishes what the block adds to `tables`, or abandons them where it fails.
MadeBlock make_block(const BlockTask& task, const HeaderFormat& format, GenerationTables& tables,
                     const BlockOptions& options);

}  // namespace laconic::logzip
