#include "methods/text/logzip/archive_format.h"

#include <sys/stat.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/base/error.h"
#include "methods/text/logzip/format_phrases.h"
#include "methods/text/logzip/lines.h"

namespace laconic::logzip {
namespace {

constexpr unsigned archive_version = 2;
constexpr std::size_t longest_section_name = 4096;

constexpr unsigned lossy_flag = 4, sections_flag = 8;  // above the mode, below the version
constexpr unsigned open_end_flag = 1, times_flag = 2, carried_flag = 4, placed_flag = 8;
constexpr std::int64_t second = 1'000'000'000;

std::int64_t floor_seconds(std::int64_t moment) { return moment / second - (moment % second < 0 ? 1 : 0); }
std::int64_t ceil_seconds(std::int64_t moment) { return moment / second + (moment % second > 0 ? 1 : 0); }

std::int64_t read_seconds(ByteReader& reader) {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max() / second - 1;
  const std::int64_t seconds = reader.signed_varint();
  if (seconds < -most || seconds > most) reader.corrupt("a time out of range");
  return seconds;
}

}  // namespace

Bytes write_archive_header(const ArchiveHeader& header) {
  ByteWriter writer;
  writer.u8(static_cast<std::uint8_t>(archive_version << 4 | (header.sections ? sections_flag : 0) |
                                      (header.lossy ? lossy_flag : 0) | static_cast<unsigned>(header.mode)));
  writer.append(shorten_format(header.format));
  return writer.take();
}

ArchiveHeader read_archive_header(ByteSpan bytes, std::string_view where) {
  ByteReader reader(bytes, std::string(where));
  const unsigned flags = reader.u8();
  if (flags >> 4 != archive_version) {
    fail(ErrorKind::unsupported, "is a log archive of version " + std::to_string(flags >> 4), where,
         flags >> 4 > archive_version ? "use a newer laconic"
                                      : "unpack it with the laconic that wrote it, and compress it again");
  }
  ArchiveHeader header;
  if ((flags & 3u) > static_cast<unsigned>(LogMode::maximum)) reader.corrupt("a mode that does not exist");
  header.mode = static_cast<LogMode>(flags & 3u);
  header.lossy = (flags & lossy_flag) != 0;
  header.sections = (flags & sections_flag) != 0;
  header.format = lengthen_format(reader.take(reader.remaining()), where);
  return header;
}

SectionEntry describe_file(std::string name, const std::filesystem::path& path) {
  SectionEntry section;
  section.name = std::move(name);
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) {
    section.modified = status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec;
    section.mode = status.st_mode & 07777;
  }
  return section;
}

Bytes write_section_entry(const SectionEntry& section) {
  require(section.name.size() <= longest_section_name, "a name of an input that fits");
  ByteWriter writer;
  writer.varint(section.number);
  writer.text(section.name);
  writer.signed_varint(section.modified);
  writer.varint(section.mode);
  writer.varint(section.table);
  writer.append(shorten_format(section.format));
  return writer.take();
}

SectionEntry read_section_entry(ByteSpan bytes, std::string_view where) {
  ByteReader reader(bytes, std::string(where));
  SectionEntry section;
  section.number = reader.varint();
  section.name = reader.text(longest_section_name);
  section.modified = reader.signed_varint();
  section.mode = static_cast<std::uint32_t>(reader.length(07777));
  section.table = reader.varint();
  section.format = lengthen_format(reader.take(reader.remaining()), where);
  return section;
}

Bytes write_block_entry(const BlockEntry& entry, std::uint64_t ordinal) {
  const bool placed = entry.section != 0 || entry.number != ordinal;
  unsigned flags = 0;
  if (entry.open_end) flags |= open_end_flag;
  if (entry.times) flags |= times_flag;
  if (entry.carried) flags |= carried_flag;
  if (placed) flags |= placed_flag;
  ByteWriter writer;
  writer.varint(flags);  // of one byte
  if (placed) {
    writer.varint(entry.section);
    writer.varint(entry.number);
  }
  writer.varint(entry.bytes);
  writer.u64(entry.check);
  if (entry.times) {
    const std::int64_t first = floor_seconds(entry.times->first);
    writer.signed_varint(first);
    writer.varint(static_cast<std::uint64_t>(ceil_seconds(entry.times->last) - first));
  }
  if (entry.carried) writer.signed_varint(*entry.carried);
  return writer.take();
}

BlockEntry read_block_entry(ByteSpan bytes, std::uint64_t ordinal, std::string_view where) {
  ByteReader reader(bytes, std::string(where));
  const unsigned flags = reader.u8();
  if (flags >= 2 * placed_flag) reader.corrupt("flags of a block that do not exist");
  BlockEntry entry;
  entry.open_end = (flags & open_end_flag) != 0;
  entry.number = ordinal;
  if ((flags & placed_flag) != 0) {
    entry.section = reader.varint();
    entry.number = reader.varint();
  }
  entry.bytes = reader.length(block_bytes);
  entry.check = reader.u64();
  if ((flags & times_flag) != 0) {
    const std::int64_t first = read_seconds(reader);
    constexpr std::int64_t longest = std::int64_t{1} << 34;  // years 1900 to 2199 are 9.5e9 seconds
    const auto length = static_cast<std::int64_t>(reader.length(static_cast<std::uint64_t>(longest)));
    std::int64_t last = 0;
    if (__builtin_mul_overflow(first + length, second, &last)) reader.corrupt("a time out of range");
    entry.times = {first * second, last};
  }
  if ((flags & carried_flag) != 0) entry.carried = reader.signed_varint();
  reader.expect_end();
  return entry;
}

bool safe_section_name(std::string_view name) {
  if (name.empty() || name.find('\0') != std::string_view::npos) return false;
  for (std::size_t at = 0; at <= name.size();) {
    const std::size_t end = std::min(name.find('/', at), name.size());
    const std::string_view part = name.substr(at, end - at);
    if (part.empty() || part == "." || part == "..") return false;
    at = end + 1;
  }
  return true;
}

}  // namespace laconic::logzip
