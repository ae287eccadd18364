// laconic logs decompress ARCHIVE: the logs again, byte for byte.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <optional>
#include <set>

#include "apps/cli/logs_options.h"
#include "engine/base/error.h"
#include "engine/base/temporary_file.h"

namespace laconic::cli {
namespace {

namespace fs = std::filesystem;

class LogUnpacker {
 public:
  LogUnpacker(const Arguments& arguments, const Session& session)
      : archive_(arguments.text("archive")),
        salvage_(arguments.flag("salvage")),
        force_(arguments.flag("force")),
        progress_(session.progress, "decompressing", archive_.bytes()) {
    print_archive_state(archive_, damage_);
    if (damage_.found() > 0 && !salvage_) {
      fail(ErrorKind::corrupt, archive_.lost_blocks() > 0 ? "blocks are lost" : "its end is damaged or cut",
           archive_.where(), "--salvage takes the blocks that are there");
    }
  }

  void to_standard_output() {
    StandardOutput out;
    read(0, archive_.blocks().size(), [&](std::string_view text) { out.write(text); });
    out.flush();
  }
  void to_file(const fs::path& output) {
    write_blocks(output, 0, archive_.blocks().size(), access_of(archive_.where()));
    std::error_code fault;
    const fs::file_time_type modified = fs::last_write_time(archive_.where(), fault);
    if (!fault) fs::last_write_time(output, modified, fault);
  }
  void to_folder(const fs::path& folder) {
    std::set<std::string> taken;
    for (const logzip::ArchiveSection& section : archive_.sections()) {
      const std::string name = section.entry.name.empty() ? "standard-input" : section.entry.name;
      if (!logzip::safe_section_name(name))
        fail(ErrorKind::corrupt, fmt::format("\"{}\" is no name for a file here", name), archive_.where());
      // A log that was rotated while it was followed is there several times.
      std::string own = name;
      for (int part = 2; !taken.insert(own).second; ++part) own = fmt::format("{}.part{}", name, part);
      const fs::path output = folder / own;
      make_folder_of(output);
      write_blocks(output, section.first_block, section.first_block + section.blocks,
                   access_of_section(section.entry));
      restore_time(output, section.entry);
    }
  }
  const logzip::ArchiveReader& archive() const { return archive_; }
  int exit_code() const { return damage_.found() > 0 ? 3 : 0; }

 private:
  void read(std::size_t begin, std::size_t end, const logzip::TextSink& sink) {
    archive_.read_blocks(
        begin, end,
        [&](std::string_view text) {
          sink(text);
          progress_.show(done_ += text.size());
        },
        salvage_ ? damage_.listener() : logzip::DamageListener());
  }
  static void make_folder_of(const fs::path& output) {
    if (!output.has_parent_path()) return;
    std::error_code fault;
    fs::create_directories(output.parent_path(), fault);
    if (fault) fail(ErrorKind::io, "cannot be made: " + fault.message(), output.parent_path().string());
  }
  static std::optional<FileAccess> access_of_section(const logzip::SectionEntry& entry) {
    if (entry.mode == 0) return std::nullopt;
    return FileAccess{entry.mode & 0777, {}};
  }
  // Said before a block is decoded; a file that appears later is not replaced either.
  void write_blocks(const fs::path& output, std::size_t begin, std::size_t end,
                    const std::optional<FileAccess>& access) {
    std::error_code fault;
    if (fs::exists(output, fault) && !force_) {
      fail(ErrorKind::usage, "already exists", output.string(),
           "choose another place with -o, or replace it with --force");
    }
    TemporaryFile file(output, {access, force_});
    read(begin, end, [&](std::string_view text) { file.write(as_byte_span(text)); });
    file.put_in_place();
  }
  static void restore_time(const fs::path& output, const logzip::SectionEntry& entry) {
    if (entry.modified == 0) return;
    struct timespec times[2];
    times[0] = times[1] = {entry.modified / 1'000'000'000, entry.modified % 1'000'000'000};
    ::utimensat(AT_FDCWD, output.c_str(), times, 0);
  }

  logzip::ArchiveReader archive_;
  bool salvage_, force_;
  DamageReport damage_;
  LogProgress progress_;
  std::uint64_t done_ = 0;
};

int decompress_logs(const Arguments& arguments, const Session& session) {
  LogUnpacker unpacker(arguments, session);
  const std::string archive = arguments.text("archive");
  std::string output = arguments.text("output");
  if (arguments.flag("stdout") || output == "-") {
    unpacker.to_standard_output();
  } else if (unpacker.archive().header().sections) {
    if (output.empty()) {
      fail(ErrorKind::usage, "holds several logs", archive,
           "say a folder for them with -o, or write one after the other to standard output with -o -");
    }
    unpacker.to_folder(output);
  } else {
    if (output.empty() && !archive.ends_with(".lzl"))
      fail(ErrorKind::usage, "has no name to take .lzl from", archive, "say a name with -o");
    if (output.empty()) output = archive.substr(0, archive.size() - 4);
    unpacker.to_file(output);
  }
  return unpacker.exit_code();
}

}  // namespace

Verb logs_decompress_verb() {
  using Kind = OptionSpec::Kind;
  return {
      "logs decompress",
      "Unpack a log archive",
      "  laconic logs decompress app.log.lzl                 makes app.log\n"
      "  laconic logs decompress all.lzl -o logs/            the logs under their names\n"
      "  laconic logs decompress app.log.lzl -o - | wc -l\n",
      {{"archive", Kind::text, "a log archive", true},
       {"-o,--output", Kind::text, "the new file, or the folder for an archive of several; - standard output",
        false, "its name without .lzl"},
       {"-c,--stdout", Kind::flag, "the same as -o -"},
       {"--force", Kind::flag, "replace files that are there"},
       {"--salvage", Kind::flag, "leave damaged blocks out instead of stopping at the first"}},
      decompress_logs};
}

}  // namespace laconic::cli
