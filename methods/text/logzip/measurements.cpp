#include "methods/text/logzip/measurements.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <functional>
#include <numeric>
#include <utility>

#include "engine/base/child_process.h"
#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/random.h"
#include "engine/base/scratch_folder.h"
#include "engine/base/threads.h"
#include "methods/text/logzip/archive_reader.h"
#include "methods/text/logzip/baselines.h"
#include "methods/text/logzip/lines.h"
#include "methods/text/logzip/log_generator.h"

namespace laconic::logzip {
namespace {

namespace fs = std::filesystem;

double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Blocks of a text in memory, cut as those of a file are.
ArchiveWriter::NextBlock blocks_of(std::string_view text) {
  return [text]() mutable -> std::optional<std::string> {
    const std::size_t size = next_block(text, false);
    if (size == 0) return std::nullopt;
    std::string block(text.substr(0, size));
    text.remove_prefix(size);
    return block;
  };
}

ArchiveTotals write_archive(std::string_view text, const ArchiveOptions& options, const fs::path& path) {
  auto writer = ArchiveWriter::create(path, options);
  writer.add(blocks_of(text));
  writer.finish();
  return writer.totals();
}

void write_generated(std::uint64_t bytes, std::uint64_t seed, const fs::path& path) {
  LogGenerator generator(seed);
  std::ofstream file(path, std::ios::binary);
  constexpr std::uint64_t piece = 8u << 20;
  for (std::uint64_t made = 0; made < bytes;) {
    const std::string text = generator.make(static_cast<std::size_t>(std::min(piece, bytes - made)));
    file << text;
    made += text.size();
  }
  file.close();
  if (!file) fail(ErrorKind::io, "cannot be written", path.string(), "free some disk space and run again");
}

// Seconds of each: what a command does, so that opening the archive is counted.
std::vector<double> read_random_lines(const fs::path& path, int reads, std::uint64_t seed) {
  RandomStream random(seed, "logzip", "random lines");
  std::vector<double> seconds;
  for (int i = 0; i < reads; ++i) {
    seconds.push_back(seconds_of([&] {
      const ArchiveReader archive(path);
      const std::uint64_t last = archive.lines() - std::min<std::uint64_t>(archive.lines(), 100);
      const std::uint64_t begin = random.below(static_cast<std::uint32_t>(last + 1));
      archive.read_lines(begin, begin + 100, [](std::string_view) {});
    }));
  }
  return seconds;
}

}  // namespace

ArmNumbers measure_baselines(std::string_view text) {
  ArmNumbers numbers = {{"bytes", static_cast<double>(text.size())}};
  const auto measure = [&](const std::string& name,
                           const std::function<std::optional<std::uint64_t>()>& compress) {
    std::optional<std::uint64_t> bytes;
    const double seconds = seconds_of([&] { bytes = compress(); });
    if (!bytes) return;
    numbers[name] = static_cast<double>(*bytes);
    numbers[name + " seconds"] = seconds;
  };
  measure("gzip", [&] { return gzip_bytes(text); });
  measure("bzip2", [&] { return bzip2_bytes(text); });
  measure("zstd", [&] { return zstd_bytes(text); });
  measure("xz", [&] { return xz_bytes(text); });
  return numbers;
}

ArmNumbers measure_archive(std::string_view text, const ArchiveOptions& options) {
  const ScratchFolder folder("logzip");
  const fs::path path = folder.path() / "a.lzl";
  const double seconds = seconds_of([&] { write_archive(text, options, path); });
  const ArchiveReader archive(path);
  std::string_view left = text;
  const double back = seconds_of([&] {
    archive.read_blocks(0, archive.blocks().size(), [&](std::string_view piece) {
      require(left.starts_with(piece), "an archive gives its log back");
      left.remove_prefix(piece.size());
    });
  });
  require(left.empty(), "an archive gives its whole log back");
  const std::vector<double> reads = read_random_lines(path, 20, 1);
  return {{"stored", static_cast<double>(archive.stored())},
          {"framing", static_cast<double>(archive.framing_bytes())},
          {"blocks", static_cast<double>(archive.blocks().size())},
          {"seconds", seconds},
          {"seconds back", back},
          {"lines ms", 1e3 * std::accumulate(reads.begin(), reads.end(), 0.0) / 20}};
}

ArmNumbers measure_speed(std::uint64_t bytes, std::uint64_t seed) {
  const ScratchFolder folder("logzip");
  const std::string text = LogGenerator(seed).make(static_cast<std::size_t>(bytes));
  const auto size = static_cast<double>(text.size());
  ArchiveOptions options;
  options.mode = LogMode::fast;
  ArmNumbers numbers;
  const fs::path path = folder.path() / "a.lzl";
  for (const int threads : {2, 1}) {
    options.threads = threads;
    ArchiveTotals totals;
    const double seconds = seconds_of([&] { totals = write_archive(text, options, path); });
    numbers[threads == 1 ? "compress" : "compress2"] = size / seconds;
    numbers["serial"] = totals.serial_seconds / seconds;
    numbers["stored"] = static_cast<double>(totals.stored);
  }
  const ArchiveReader archive(path);
  const int before = thread_count();
  set_thread_count(1);
  const double seconds =
      seconds_of([&] { archive.read_blocks(0, archive.blocks().size(), [](std::string_view) {}); });
  set_thread_count(before);
  numbers["decompress"] = size / seconds;
  return numbers;
}

ArmNumbers measure_random_lines(std::uint64_t bytes, int reads, std::uint64_t seed) {
  const ScratchFolder folder("logzip");
  const std::string text = LogGenerator(seed).make(static_cast<std::size_t>(bytes));
  ArmNumbers numbers;
  for (const auto& [mode, name] : {std::pair(LogMode::fast, "fast"), std::pair(LogMode::best, "best")}) {
    ArchiveOptions options;
    options.mode = mode;
    const fs::path path = folder.path() / "a.lzl";
    write_archive(text, options, path);
    const std::vector<double> seconds = read_random_lines(path, reads, seed);
    numbers[fmt::format("{} mean", name)] =
        1e3 * std::accumulate(seconds.begin(), seconds.end(), 0.0) / reads;
    numbers[fmt::format("{} most", name)] = 1e3 * *std::ranges::max_element(seconds);
    fs::remove(path);
  }
  return numbers;
}

ArmNumbers measure_search(std::uint64_t bytes, std::uint64_t seed, const fs::path& program) {
  const ScratchFolder folder("logzip");
  const std::string log = folder.path() / "a.log", archive = folder.path() / "a.lzl",
                    packed = folder.path() / "a.zst";
  write_generated(bytes, seed, log);
  const auto shell = [](const std::string& line) { return ChildProcess({"sh", "-c", line}).finish(); };
  if (shell("command -v zstd && command -v grep").code != 0) return {};
  output_of({program.string(), "logs", "compress", log, "-o", archive, "--fast"});
  output_of({"zstd", "-q", "-3", log, "-o", packed});
  // The first block identifier past the middle: it stands in one line or very few.
  const ProcessResult middle =
      shell(fmt::format("tail -c +{} {} | grep -a -o -m 1 'blk_[0-9]*' | head -n 1", bytes / 2, log));
  const std::string literal = middle.out.substr(0, middle.out.find('\n'));
  require(literal.size() > 4, "a generated log has block identifiers");
  ArmNumbers numbers = {{"ours", 1e9}, {"theirs", 1e9}};
  for (int i = 0; i < 3; ++i) {
    std::string ours, theirs;
    numbers["ours"] = std::min(numbers["ours"], seconds_of([&] {
                                 ours = output_of({program.string(), "logs", "grep", "-c", literal, archive});
                               }));
    numbers["theirs"] =
        std::min(numbers["theirs"], seconds_of([&] {
                   theirs = shell(fmt::format("zstd -dcq {} | grep -a -c -F '{}'", packed, literal)).out;
                 }));
    require(ours == theirs, "both searches count the same lines");
    numbers["matches"] = std::stod(ours);
  }
  return numbers;
}

ArmNumbers measure_memory(std::uint64_t seed, const fs::path& program) {
  const ScratchFolder folder("logzip");
  RandomStream random(seed, "logzip", "memory");
  std::string binary, words;
  for (int i = 0; i < 20'000'000; ++i) binary += static_cast<char>(random.bits());
  while (words.size() < 20'000'000) {
    for (int letter = 0; letter < 6; ++letter) words += static_cast<char>('a' + random.below(26));
    words += random.below(50) == 0 ? '\n' : ' ';
  }
  std::string line;
  line.resize(100'000'000, 'x');
  const std::vector<std::pair<std::string, std::string>> logs = {
      {"generated", LogGenerator(seed).make(40'000'000)},
      {"one line", std::move(line)},
      {"words", std::move(words)},
      {"binary", std::move(binary)}};
  // The system's own account of a process; that of its parent would count what the parent held when it began.
  const std::string watch =
      "\"$@\" > /dev/null & pid=$!; peak=0\n"
      "while kill -0 $pid 2> /dev/null; do\n"
      "  seen=$(sed -n 's/^VmHWM:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/$pid/status 2> /dev/null)\n"
      "  peak=${seen:-$peak}; sleep 0.02\n"
      "done\n"
      "wait $pid && echo $peak";
  ArmNumbers numbers;
  for (const auto& [name, text] : logs) {
    const fs::path log = folder.path() / "a.log";
    write_file(log, text);
    for (const char* mode : {"--fast", "--best", "--max"}) {
      if (name == "binary" && mode == std::string_view("--max")) continue;
      const std::string peak =
          output_of({"sh", "-c", watch, "sh", program.string(), "logs", "compress", log.string(), "-o",
                     (folder.path() / "a.lzl").string(), "--force", "--json", mode, "--threads", "1"});
      numbers[name] = std::max(numbers[name], 1024.0 * std::stod(peak));
    }
  }
  return numbers;
}

std::string read_log(ByteSource& source) {
  std::string text;
  for (std::size_t got = 1; got > 0;) {
    const std::size_t held = text.size();
    text.resize(held + (std::size_t{1} << 20));
    got = source.fill(std::as_writable_bytes(std::span(text.data() + held, std::size_t{1} << 20)));
    text.resize(held + got);
  }
  return text;
}

std::vector<NamedLog> read_logs(const fs::path& folder) {
  std::vector<NamedLog> logs;
  std::error_code fault;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, fault)) {
    std::string name = entry.path().filename().string();
    if (!name.ends_with(".log") && !name.ends_with(".log.gz")) continue;
    ByteSource source = ByteSource::open(entry.path());
    name.erase(name.rfind(".log"));
    logs.push_back({std::move(name), read_log(source)});
  }
  std::ranges::sort(logs, {}, &NamedLog::name);
  return logs;
}

}  // namespace laconic::logzip
