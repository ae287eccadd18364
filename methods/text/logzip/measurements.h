// What the reproduction measures, each as numbers with names.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/container/byte_source.h"
#include "methods/reproduce.h"
#include "methods/text/logzip/archive_writer.h"

namespace laconic::logzip {

// "bytes", "gzip", "xz", "zstd" and, where it is installed, "bzip2"; the seconds that each took as "gzip
// seconds" and so on, on one thread.
ArmNumbers measure_baselines(std::string_view text);

// "stored", "framing" and "blocks" of an archive of the text, which is read back and compared; "seconds" of
// writing and "seconds back" of reading it; "lines ms", milliseconds of opening it and reading 100 lines at
// a random place, the mean of 20.
ArmNumbers measure_archive(std::string_view text, const ArchiveOptions& options);

// Speed of the fast mode on a generated log: "compress" and "decompress" in bytes a second with one thread,
// "compress2" with two, "serial" the share of the time of one thread that threads cannot share, "stored".
ArmNumbers measure_speed(std::uint64_t bytes, std::uint64_t seed);

// Milliseconds of reading 100 lines at a random place, of `reads` such: "mean" and "most", of an archive in
// the fast mode ("fast …") and the default one ("best …").
ArmNumbers measure_random_lines(std::uint64_t bytes, int reads, std::uint64_t seed);

// Seconds of counting the lines with a rare literal: "ours" by the command `laconic logs grep`, "theirs" by
// `zstd -dc | grep -c -F`, each the best of three; "matches" of both. Nothing where zstd or grep is missing.
ArmNumbers measure_search(std::uint64_t bytes, std::uint64_t seed, const std::filesystem::path& program);

// The most memory, in bytes, that the command took to compress any of some logs on one thread: "generated",
// "one line" of 100 MB, "binary", and "words" that never come again, in every mode but binary in the maximum
// one.
ArmNumbers measure_memory(std::uint64_t seed, const std::filesystem::path& program);

struct NamedLog {
  std::string name, text;
};
std::string read_log(ByteSource& source);  // all of it
// The files of a folder that end in ".log", or ".log.gz" unpacked, by name; none where there is no folder.
std::vector<NamedLog> read_logs(const std::filesystem::path& folder);

}  // namespace laconic::logzip
