// Any text as a log format: refused as a usage error, or a format whose fields join to the lines that they
// match. Any lines as a log: detection never fails, and a block of them comes back.
#include <cstdlib>
#include <string>

#include "engine/base/error.h"
#include "methods/text/logzip/block_codec.h"
#include "methods/text/logzip/format_detection.h"

using namespace laconic;
using namespace laconic::logzip;

namespace {

void check_lines(const HeaderFormat& format, std::string_view text) {
  std::vector<std::string_view> values(format.fields().size());
  for (const Line& line : split_lines(text)) {
    if (!format.match(line.text, values)) continue;
    std::string joined;
    for (std::size_t i = 0; i < values.size(); ++i)
      joined.append(format.fields()[i].before).append(values[i]);
    if (joined != line.text) std::abort();
    format.time_of(line.text);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = input.find('\n');
  const std::string_view lines = cut == std::string_view::npos ? std::string_view() : input.substr(cut + 1);
  try {
    const HeaderFormat format(input.substr(0, cut));
    check_lines(format, lines);
    const HeaderFormat complete = complete_format(format, lines);
    check_lines(complete, lines);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) std::abort();
  }
  const HeaderFormat found = detect_format(lines);
  BlockOptions options;
  options.mode = LogMode::fast;
  encode_block(lines.substr(0, 4096), found, KnownTemplates(template_segments(found)), options);
  return 0;
}
