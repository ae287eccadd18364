// Log archives with damage in them, and bytes that are none: read, or refused; never text that was not there
// with a check that says it is.
#include <cstdlib>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/scratch_folder.h"
#include "methods/text/logzip/archive_reader.h"
#include "methods/text/logzip/archive_writer.h"
#include "methods/text/logzip/log_generator.h"
#include "methods/text/logzip/search.h"
#include "tests/fuzz/edits.h"

namespace {

using namespace laconic;
using namespace laconic::logzip;

// Ten blocks, so that a second generation is there.
const Bytes& sound_archive() {
  static const Bytes bytes = [] {
    const ScratchFolder folder("fuzz-log-archive");
    ArchiveOptions options;
    options.mode = LogMode::fast;
    options.threads = 1;
    auto writer = ArchiveWriter::create(folder.path() / "a.lzl", options);
    LogGenerator generator(1);
    int left = 10;
    writer.add([&]() -> std::optional<std::string> {
      if (left-- == 0) return std::nullopt;
      return generator.make(2000);
    });
    writer.finish();
    return read_file(folder.path() / "a.lzl");
  }();
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  Bytes file = sound_archive();
  if (data[0] % 8 == 0) {
    file.assign(reinterpret_cast<const std::byte*>(data) + 1,
                reinterpret_cast<const std::byte*>(data) + size);
  } else {
    apply_edits({data + 1, size - 1}, file);
  }
  try {
    const ArchiveReader archive(file, "fuzz");
    std::uint64_t bytes = 0;
    archive.read_blocks(
        0, archive.blocks().size(), [&](std::string_view text) { bytes += text.size(); },
        [](std::string_view) {});
    if (bytes > archive.bytes()) std::abort();
    archive.read_lines(
        3, 40, [](std::string_view) {}, [](std::string_view) {});
    search(
        archive, LinePattern("ERROR", {}), {}, [](const FoundLine&) {}, [](std::string_view) {});
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt && error.kind() != ErrorKind::input &&
        error.kind() != ErrorKind::unsupported)
      std::abort();
  }
  return 0;
}
