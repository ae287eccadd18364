// laconic logs bench: archives beside general compressors on the user's own logs, in one run.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "apps/cli/logs_options.h"
#include "engine/base/error.h"
#include "methods/arm_numbers.h"
#include "methods/text/logzip/log_generator.h"
#include "methods/text/logzip/measurements.h"

namespace laconic::cli {
namespace {

struct BenchRow {
  std::string name;
  double stored = 0, seconds = 0;
  std::optional<double> seconds_back, lines_milliseconds;
};

std::vector<BenchRow> measure_log(const logzip::NamedLog& log) {
  std::vector<BenchRow> rows;
  const ArmNumbers others = logzip::measure_baselines(log.text);
  for (const auto& [name, shown] : {std::pair("gzip", "gzip -9"), std::pair("bzip2", "bzip2 -9"),
                                    std::pair("zstd", "zstd -19 --long=27"), std::pair("xz", "xz -9e")})
    if (others.contains(name))
      rows.push_back({shown, number(others, name), number(others, fmt::format("{} seconds", name)), {}, {}});
  for (const auto& [mode, shown] : {std::pair(logzip::LogMode::fast, "laconic logs --fast"),
                                    std::pair(logzip::LogMode::best, "laconic logs --best"),
                                    std::pair(logzip::LogMode::maximum, "laconic logs --max")}) {
    logzip::ArchiveOptions options;
    options.mode = mode;
    options.threads = 1;
    const ArmNumbers ours = logzip::measure_archive(log.text, options);
    rows.push_back({shown, number(ours, "stored"), number(ours, "seconds"), number(ours, "seconds back"),
                    number(ours, "lines ms")});
  }
  return rows;
}

std::vector<logzip::NamedLog> logs_to_measure(const Arguments& arguments) {
  std::vector<logzip::NamedLog> logs;
  for (const std::string& path : arguments.list("files")) {
    ByteSource source = path == "-" ? ByteSource::standard_input() : ByteSource::open(path);
    logs.push_back({path, logzip::read_log(source)});
  }
  if (logs.empty()) {
    const auto bytes = arguments.bytes("generated").value_or(20'000'000);
    if (bytes == 0 || bytes > 4'000'000'000)
      fail(ErrorKind::usage, "a size from 1 byte to 4 GB", "--generated");
    logs.push_back({fmt::format("{} generated", human_bytes(bytes)), logzip::LogGenerator(1).make(bytes)});
  }
  return logs;
}

int bench_logs(const Arguments& arguments, const Session& session) {
  nlohmann::json json = nlohmann::json::array();
  for (const logzip::NamedLog& log : logs_to_measure(arguments)) {
    const auto bytes = static_cast<double>(log.text.size());
    if (!session.json)
      fmt::print("{}: {}, everything on one thread\n", log.name, human_bytes(log.text.size()));
    std::vector<std::vector<std::string>> table = {
        {"compressor", "bytes", "times smaller", "MB/s", "MB/s back", "ms for 100 lines"}};
    nlohmann::json rows = nlohmann::json::array();
    for (const BenchRow& row : measure_log(log)) {
      table.push_back({row.name, fmt::format("{:.0f}", row.stored), fmt::format("{:.2f}", bytes / row.stored),
                       fmt::format("{:.1f}", bytes / row.seconds / 1e6),
                       row.seconds_back ? fmt::format("{:.1f}", bytes / *row.seconds_back / 1e6) : "-",
                       row.lines_milliseconds ? fmt::format("{:.1f}", *row.lines_milliseconds) : "-"});
      nlohmann::json one = {{"compressor", row.name}, {"stored", row.stored}, {"seconds", row.seconds}};
      if (row.seconds_back) one["seconds_back"] = *row.seconds_back;
      if (row.lines_milliseconds) one["milliseconds_for_100_lines"] = *row.lines_milliseconds;
      rows.push_back(std::move(one));
    }
    if (!session.json) fmt::print("{}\n", format_table(table));
    json.push_back({{"log", log.name}, {"bytes", bytes}, {"rows", std::move(rows)}});
  }
  if (session.json) fmt::print("{}\n", json.dump(2));
  return 0;
}

}  // namespace

Verb logs_bench_verb() {
  using Kind = OptionSpec::Kind;
  return {"logs bench",
          "Compare archives of your logs with gzip, bzip2, xz and zstd: size, speed, reading of a few lines",
          "  laconic logs bench app.log\n"
          "  laconic logs bench app.log.1.gz app.log --json\n"
          "  laconic logs bench --generated 100MB\n",
          {{"files", Kind::list, "logs, plain or compressed by gzip, zstd or xz; none: a generated one"},
           {"--generated", Kind::bytes, "size of the generated log", false, "20MB"}},
          bench_logs};
}

}  // namespace laconic::cli
