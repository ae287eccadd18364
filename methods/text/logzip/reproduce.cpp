#include "methods/text/logzip/reproduce.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>

#include "engine/base/hash.h"
#include "methods/arm_numbers.h"
#include "methods/text/logzip/log_generator.h"
#include "methods/text/logzip/measurements.h"

namespace laconic::logzip {
namespace {

using Scale = ReproduceRequest::Scale;

constexpr int version = 2;

struct MeasuredLog {
  std::string name;
  ArmNumbers baselines, best, max;
  double ratio(const ArmNumbers& ours, const char* baseline) const {
    return number(baselines, baseline) / number(ours, "stored");
  }
};

class ReproducingLogzip {
 public:
  explicit ReproducingLogzip(const ReproduceRequest& request)
      : request_(request), cache_(request.cache, request.on_arm) {
    result_.slug = "logzip";
    result_.seed = request.seed;
  }

  Reproduction run() {
    samples();
    large_logs();
    generated_log();
    speed();
    random_lines();
    search_speed();
    memory();
    ablations();
    result_.arms = cache_.records();
    result_.notes.push_back(
        "Sizes are those of files. xz -9e, gzip -9 and zstd -19 --long=27 are their libraries' output for "
        "the "
        "whole file; bzip2 -9 is the installed program.");
    return std::move(result_);
  }

 private:
  bool quick() const { return request_.scale == Scale::quick; }
  bool full() const { return request_.scale == Scale::full; }
  std::string key(std::string_view what) const {
    return fmt::format("logzip {} {}\nseed {}", version, what, request_.seed);
  }
  void skipped(std::string_view what, std::string_view why) {
    result_.notes.push_back(fmt::format("skipped: {}: {}", what, why));
  }
  static ArchiveOptions in_mode(LogMode mode) {
    ArchiveOptions options;
    options.mode = mode;
    return options;
  }

  MeasuredLog measure(const NamedLog& log) {
    const std::string data = to_hex(xxh3_128(as_byte_span(log.text)));
    MeasuredLog measured;
    measured.name = log.name;
    measured.baselines = cache_.arm(log.name + ", general compressors", key("baselines " + data),
                                    [&] { return measure_baselines(log.text); });
    measured.best = cache_.arm(log.name + ", best", key("best " + data),
                               [&] { return measure_archive(log.text, in_mode(LogMode::best)); });
    measured.max = cache_.arm(log.name + ", max", key("max " + data),
                              [&] { return measure_archive(log.text, in_mode(LogMode::maximum)); });
    return measured;
  }
  std::vector<MeasuredLog> measure_all(const std::vector<NamedLog>& logs) {
    std::vector<MeasuredLog> measured;
    for (const NamedLog& log : logs) measured.push_back(measure(log));
    return measured;
  }
  static double geometric_mean(const std::vector<MeasuredLog>& logs, bool max, const char* baseline) {
    double sum = 0;
    for (const MeasuredLog& log : logs) sum += std::log(log.ratio(max ? log.max : log.best, baseline));
    return std::exp(sum / static_cast<double>(logs.size()));
  }
  void add_table(const std::string& title, const std::vector<MeasuredLog>& logs) {
    ReproductionTable table{title,
                            {{"log", "bytes", "gzip -9", "bzip2 -9", "zstd -19", "xz -9e", "best", "max",
                              "xz / best", "xz / max", "framing"}}};
    const auto bytes = [](double value) { return fmt::format("{:.0f}", value); };
    for (const MeasuredLog& log : logs) {
      const auto bzip2 = log.baselines.find("bzip2");
      table.rows.push_back(
          {log.name, bytes(number(log.baselines, "bytes")), bytes(number(log.baselines, "gzip")),
           bzip2 == log.baselines.end() ? "-" : bytes(bzip2->second), bytes(number(log.baselines, "zstd")),
           bytes(number(log.baselines, "xz")), bytes(number(log.best, "stored")),
           bytes(number(log.max, "stored")), fmt::format("{:.3f}", log.ratio(log.best, "xz")),
           fmt::format("{:.3f}", log.ratio(log.max, "xz")), bytes(number(log.best, "framing"))});
    }
    result_.tables.push_back(std::move(table));
  }

  // ---- the 16 samples of LogHub
  void samples() {
    const std::vector<NamedLog> logs =
        request_.data.empty() ? std::vector<NamedLog>() : read_logs(request_.data / "logs/loghub-2k");
    if (logs.empty()) {
      skipped("the samples of LogHub", "there is no logs/loghub-2k in the data directory");
      return;
    }
    const std::vector<MeasuredLog> measured = measure_all(logs);
    add_table("2,000 lines of each of the LogHub collection", measured);
    const double best = geometric_mean(measured, false, "xz"), max = geometric_mean(measured, true, "xz"),
                 gzip = geometric_mean(measured, false, "gzip");
    double worst = 1e9, smaller = 0, framing = 0;
    std::string worst_name;
    for (const MeasuredLog& log : measured) {
      const double ratio = log.ratio(log.best, "xz");
      smaller += ratio > 1 ? 1 : 0;
      framing = std::max(framing, number(log.best, "framing"));
      if (ratio < worst) {
        worst = ratio;
        worst_name = log.name;
      }
    }
    const auto count = static_cast<double>(measured.size());
    const std::string about_half = "about half the storage of general compressors";
    result_.judge("samples that are smaller than with xz -9e", "the released tool loses to bzip2 on HDFS",
                  "all", count, smaller, "every one", smaller == count,
                  fmt::format("closest: {}, {:.3f} times", worst_name, worst));
    result_.judge("sizes of the samples against xz -9e, geometric mean", about_half, "xz -9e", 1, best,
                  "at least 1.40", best >= 1.40, "default mode; framing and index counted");
    result_.judge("the same with --max", about_half, "xz -9e", 1, max, "at least 1.55", max >= 1.55);
    result_.judge("sizes of the samples against gzip -9, geometric mean", about_half, "gzip -9", 1, gzip,
                  "at least 2.1", gzip >= 2.1);
    result_.judge("bytes of framing and index of a one-block archive, largest", "not given", "", 0, framing,
                  "at most 96", framing <= 96);
  }

  // ---- larger logs
  void large_logs() {
    const std::vector<NamedLog> logs =
        request_.data.empty() ? std::vector<NamedLog>() : read_logs(request_.data / "logs/large");
    if (logs.empty()) {
      skipped("larger logs", "there is no logs/large in the data directory");
      return;
    }
    const std::vector<MeasuredLog> measured = measure_all(logs);
    add_table("larger logs", measured);
    double xz = 0, best = 0;
    for (const MeasuredLog& log : measured) {
      xz += number(log.baselines, "xz");
      best += number(log.best, "stored");
    }
    result_.judge("total size of larger logs against xz -9e", "about half", "xz -9e", 1, xz / best,
                  "at least 1.6", xz / best >= 1.6);
  }

  // ---- a generated log
  void generated_log() {
    const std::uint64_t bytes = quick() ? 8'000'000 : 100'000'000;
    const auto make = [&] { return LogGenerator(request_.seed + 1).make(bytes); };
    const std::string size = fmt::format("{} MB generated", bytes / 1'000'000);
    const ArmNumbers others =
        cache_.arm(size + ", general compressors", key(fmt::format("generated {}", bytes)), [&] {
          LogGenerator generator(request_.seed + 1);
          ArmNumbers all = measure_baselines(generator.make(bytes));
          all["entropy"] = generator.entropy_bits() / 8;
          return all;
        });
    const double raw = number(others, "bytes");
    ReproductionTable table{size,
                            {{"compressor", "bytes", "times smaller", "MB/s on one core", "MB/s back"}}};
    const auto add = [&](const std::string& name, double stored, double seconds, double back) {
      table.rows.push_back({name, fmt::format("{:.0f}", stored), fmt::format("{:.2f}", raw / stored),
                            fmt::format("{:.1f}", 1e-6 * raw / seconds),
                            back > 0 ? fmt::format("{:.1f}", 1e-6 * raw / back) : "-"});
    };
    for (const auto& [name, shown] : {std::pair("gzip", "gzip -9"), std::pair("bzip2", "bzip2 -9"),
                                      std::pair("zstd", "zstd -19 --long=27"), std::pair("xz", "xz -9e")}) {
      if (others.contains(name))
        add(shown, number(others, name), number(others, fmt::format("{} seconds", name)), 0);
    }
    double best = 0;
    for (const auto& [name, mode] : {std::pair("fast", LogMode::fast), std::pair("best", LogMode::best),
                                     std::pair("max", LogMode::maximum)}) {
      const ArmNumbers ours = cache_.arm(fmt::format("{}, {}", size, name),
                                         key(fmt::format("generated {} {}", bytes, name)), [&, m = mode] {
                                           ArchiveOptions options = in_mode(m);
                                           options.threads = 1;
                                           return measure_archive(make(), options);
                                         });
      add(fmt::format("laconic logs --{}", name), number(ours, "stored"), number(ours, "seconds"),
          number(ours, "seconds back"));
      if (mode == LogMode::best) best = number(ours, "stored");
    }
    result_.tables.push_back(std::move(table));
    const double ratio = number(others, "xz") / best;
    Claim& claim = result_.judge(
        size + " against xz -9e", "about half", "xz -9e", 1, ratio, "at least 2", ratio >= 2,
        fmt::format("240 templates; the information in it is about {:.0f} bytes, {:.2f} times less than xz "
                    "makes of it: "
                    "no archive can be smaller than that on average",
                    number(others, "entropy"), number(others, "xz") / number(others, "entropy")));
    claim.baseline_bytes = static_cast<std::uint64_t>(number(others, "xz"));
    claim.measured_bytes = static_cast<std::uint64_t>(best);
  }

  // ---- speed
  void speed() {
    const std::uint64_t bytes = quick() ? 32'000'000 : 200'000'000;
    const ArmNumbers numbers = cache_.arm("speed", key(fmt::format("speed {}", bytes)),
                                          [&] { return measure_speed(bytes, request_.seed + 1); });
    const double compress = number(numbers, "compress"), both = number(numbers, "compress2"),
                 decompress = number(numbers, "decompress"), serial = number(numbers, "serial");
    const std::string where = fmt::format("--fast on {} MB generated", bytes / 1'000'000);
    result_.judge("MB/s compressing on one core", "not given", "", 0, compress / 1e6, "at least 30",
                  compress >= 30e6, where);
    result_.judge("MB/s decompressing on one core", "not given", "", 0, decompress / 1e6, "at least 100",
                  decompress >= 100e6, where);
    result_.judge("speed-up by two threads", "highly parallel", "one thread", 1, both / compress,
                  "at least 1.8", both / compress >= 1.8, where);
    result_.judge("share of the time that is serial", "not given", "", 0, serial, "at most 0.05",
                  serial <= 0.05, where);
  }

  void random_lines() {
    const std::uint64_t bytes = quick() ? 16'000'000 : 100'000'000;
    const int reads = quick() ? 20 : 200;
    const ArmNumbers numbers =
        cache_.arm("100 lines at random places", key(fmt::format("lines {} {}", bytes, reads)),
                   [&] { return measure_random_lines(bytes, reads, request_.seed + 1); });
    for (const char* mode : {"fast", "best"}) {
      const double mean = number(numbers, fmt::format("{} mean", mode));
      result_.judge(fmt::format("milliseconds for 100 lines at a random place, {} mode", mode), "not given",
                    "", 0, mean, "at most 20", mean <= 20,
                    fmt::format("mean of {}; the slowest took {:.1f}", reads,
                                number(numbers, fmt::format("{} most", mode))));
    }
  }

  void search_speed() {
    if (request_.program.empty()) {
      skipped("search", "the command laconic is not there");
      return;
    }
    const std::uint64_t bytes = quick() ? 64'000'000 : 1'000'000'000;
    const ArmNumbers numbers =
        cache_.arm(fmt::format("search in {} MB", bytes / 1'000'000), key(fmt::format("search {}", bytes)),
                   [&] { return measure_search(bytes, request_.seed + 1, request_.program); });
    if (numbers.empty()) {
      skipped("search", "the programs zstd and grep are not installed");
      return;
    }
    const double ours = number(numbers, "ours"), theirs = number(numbers, "theirs");
    result_.judge(fmt::format("seconds to find a rare literal in {} MB", bytes / 1'000'000), "not given",
                  "zstd -dc and grep -c", theirs, ours, "less than zstd -dc and grep", ours < theirs,
                  fmt::format("{:.0f} lines match", number(numbers, "matches")));
  }

  void memory() {
    if (request_.program.empty() || quick()) {
      skipped("memory", quick() ? "not with --quick" : "the command laconic is not there");
      return;
    }
    const ArmNumbers numbers = cache_.arm("memory", key("memory by process"), [&] {
      return measure_memory(request_.seed + 1, request_.program);
    });
    double most = 0;
    for (const auto& [name, bytes] : numbers) most = std::max(most, bytes);
    result_.judge(
        "MB of memory of the command on one thread, the most of four logs and three modes", "not given", "",
        0, most / 1e6, "under 300", most < 300e6,
        fmt::format(
            "40 MB generated {:.0f}, 20 MB of random words {:.0f}, 20 MB of random bytes {:.0f}, one line of "
            "100 MB {:.0f}",
            number(numbers, "generated") / 1e6, number(numbers, "words") / 1e6,
            number(numbers, "binary") / 1e6, number(numbers, "one line") / 1e6));
  }

  // ---- what each part is worth
  struct Ablation {
    std::string name;
    std::function<void(ArchiveOptions&)> change;
  };
  static std::vector<Ablation> ablation_list() {
    return {{"all of it", [](ArchiveOptions&) {}},
            {"no header format (level 1)", [](ArchiveOptions& o) { o.format = "<Content>"; }},
            {"no sub-columns (level 2)", [](ArchiveOptions& o) { o.block.columns.sub_columns = false; }},
            {"no dictionaries (level 3)", [](ArchiveOptions& o) { o.block.columns.dictionaries = false; }},
            {"no shared columns", [](ArchiveOptions& o) { o.block.parse.join_columns = false; }},
            {"no deltas (D, DD)", [](ArchiveOptions& o) { o.block.columns.deltas = false; }},
            {"no cross columns (X)", [](ArchiveOptions& o) { o.block.columns.cross_columns = false; }},
            {"equal skeletons only", [](ArchiveOptions& o) { o.block.parse.extraction.clustering = false; }},
            {"all lines sampled", [](ArchiveOptions& o) { o.block.parse.extraction.sampled_share = 1; }},
            {"one round", [](ArchiveOptions& o) { o.block.parse.extraction.rounds = 1; }},
            {"kernel zstd -3", [](ArchiveOptions& o) { o.mode = LogMode::fast; }},
            {"kernel context mixing", [](ArchiveOptions& o) { o.mode = LogMode::maximum; }}};
  }
  void ablations() {
    const std::vector<NamedLog> logs =
        request_.data.empty() ? std::vector<NamedLog>() : read_logs(request_.data / "logs/loghub-2k");
    if (logs.empty() || quick()) {
      skipped("ablations", quick() ? "not with --quick" : "there is no logs/loghub-2k in the data directory");
      return;
    }
    ReproductionTable table{"Parts of the method off, 16 samples",
                            {{"variant", "bytes", "geometric mean of growth"}}};
    std::vector<double> whole;
    for (const Ablation& ablation : ablation_list()) {
      double bytes = 0, growth = 0;
      for (std::size_t i = 0; i < logs.size(); ++i) {
        const std::string data = to_hex(xxh3_128(as_byte_span(logs[i].text)));
        ArchiveOptions options = in_mode(LogMode::best);
        ablation.change(options);
        const ArmNumbers numbers = cache_.arm(fmt::format("{}, {}", logs[i].name, ablation.name),
                                              key(fmt::format("ablation {} {}", ablation.name, data)),
                                              [&] { return measure_archive(logs[i].text, options); });
        const double stored = number(numbers, "stored");
        if (whole.size() < logs.size()) whole.push_back(stored);
        bytes += stored;
        growth += std::log(stored / whole[i]);
      }
      table.rows.push_back({ablation.name, fmt::format("{:.0f}", bytes),
                            fmt::format("{:.3f}", std::exp(growth / static_cast<double>(logs.size())))});
    }
    result_.tables.push_back(std::move(table));
  }

  const ReproduceRequest& request_;
  ArmCache cache_;
  Reproduction result_;
};

}  // namespace

Reproduction reproduce(const ReproduceRequest& request) { return ReproducingLogzip(request).run(); }

}  // namespace laconic::logzip
