// laconic bench: speed of the hot kernels relative to the machine's copy rate, and of decoding a packed
// model.
#include <fmt/format.h>
#include <hwy/highway.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/cli/attention_report.h"
#include "apps/cli/mixed_length_report.h"
#include "apps/cli/overlap_report.h"
#include "apps/cli/verb.h"
#include "engine/base/error.h"
#include "engine/base/threads.h"
#include "engine/math/blas.h"
#include "engine/transport/link_check.h"
#include "engine/transport/mpi_plugin.h"
#include "methods/cache/pipeline.h"
#include "methods/gradients/training/exchange_speed.h"
#include "runtime/benchmark/cache_attention.h"
#include "runtime/benchmark/coders.h"
#include "runtime/benchmark/decode.h"
#include "runtime/benchmark/gradient_codecs.h"
#include "runtime/benchmark/kernels.h"

namespace laconic::cli {
namespace {

std::string vector_targets() {
  std::string text;
  for (const std::int64_t target : hwy::SupportedAndGeneratedTargets()) {
    text += (text.empty() ? "" : " ") + std::string(hwy::TargetName(target));
  }
  return text;
}

std::vector<int> thread_counts() {
  const int all = thread_count();
  return all == 1 ? std::vector<int>{1} : std::vector<int>{1, all};
}

std::string gigabytes(double rate) { return fmt::format("{:.2f}", rate / 1e9); }

nlohmann::json kernels(int rounds, const std::string& only, const Session& session) {
  std::vector<std::vector<std::string>> table = {
      {"kernel", "threads", "GB/s", "copy GB/s", "ratio", "by processor time", "G items/s", "wanted"}};
  nlohmann::json values = nlohmann::json::array();
  CopyProbe copy;
  std::vector<PassMaker> makers = kernel_passes();
  for (PassMaker& maker : gradient_codec_passes()) makers.push_back(std::move(maker));
  std::erase_if(makers, [&](const PassMaker& maker) { return maker.name.find(only) == std::string::npos; });
  if (makers.empty()) fail(ErrorKind::usage, fmt::format("no kernel has \"{}\" in its name", only), "--only");
  const std::vector<int> counts = thread_counts();
  const int before = thread_count();
  Progress progress(session.progress, "kernels", static_cast<std::int64_t>(makers.size()));
  for (const PassMaker& maker : makers) {
    set_thread_count(before);
    const Pass pass = maker.make();
    for (const int threads : counts) {
      set_thread_count(threads);
      const Measured measured = measure(pass, copy, rounds);
      const bool promised = measured.wanted_ratio > 0 && threads == (measured.per_core ? 1 : counts.back());
      table.push_back(
          {measured.name, std::to_string(threads), gigabytes(measured.rate), gigabytes(measured.copy_rate),
           fmt::format("{:.2f}", measured.ratio), fmt::format("{:.2f}", measured.processor_ratio),
           fmt::format("{:.2f}", measured.items_per_second / 1e9),
           !promised ? ""
                     : fmt::format("{:.2f}: {}", measured.wanted_ratio, measured.met() ? "met" : "not met")});
      values.push_back({{"name", measured.name},
                        {"threads", threads},
                        {"bytes", measured.bytes},
                        {"bytes_per_second", measured.rate},
                        {"copy_bytes_per_second", measured.copy_rate},
                        {"ratio", measured.ratio},
                        {"processor_ratio", measured.processor_ratio},
                        {"items_per_second", measured.items_per_second}});
      if (promised) {
        values.back()["wanted_ratio"] = measured.wanted_ratio;
        values.back()["met"] = measured.met();
      }
    }
    progress.advance();
  }
  set_thread_count(before);
  if (!session.json) fmt::print("{}\n", format_table(table));
  return values;
}

nlohmann::json decode(int rounds, const Session& session) {
  DecodeOptions options;
  options.rounds = rounds;
  options.threads = thread_counts();
  const std::vector<DecodeSpeed> speeds = measure_decode(options, session.progress);
  std::vector<std::vector<std::string>> table = {
      {"decode", "threads", "tokens/s", "times bf16", "by processor time", "linear layers", "wanted"}};
  nlohmann::json values = nlohmann::json::array();
  for (const DecodeSpeed& speed : speeds) {
    const bool packed = speed.name != "bf16", met = speed.speedup > 1;
    table.push_back({speed.name, std::to_string(speed.threads),
                     fmt::format("{:.2f}", speed.tokens_per_second), fmt::format("{:.2f}", speed.speedup),
                     fmt::format("{:.2f}", speed.processor_speedup), human_bytes(speed.linear_bytes),
                     !packed ? ""
                     : met   ? "over 1: met"
                             : "over 1: not met"});
    values.push_back({{"name", speed.name},
                      {"threads", speed.threads},
                      {"tokens_per_second", speed.tokens_per_second},
                      {"speedup", speed.speedup},
                      {"processor_speedup", speed.processor_speedup},
                      {"linear_bytes", speed.linear_bytes}});
    if (packed) values.back()["met"] = met;
  }
  if (!session.json) {
    const GeneratedModel& model = options.model;
    fmt::print("a random Llama of {} layers, width {}, MLP width {}\n{}\n", model.layers, model.hidden,
               model.intermediate, format_table(table));
  }
  return values;
}

// What is promised of the caches of KIVI: share of the bound, and times faster than f16.
struct CachePromise {
  std::string_view cache;
  double ratio, speedup;
};
constexpr CachePromise cache_promises[] = {{"kivi(bits=4)", 0.6, 1.7}, {"kivi(bits=2)", 0.6, 2.0}};

nlohmann::json caches(const Arguments& arguments, int rounds, const Session& session) {
  CacheAttentionOptions options;
  options.rounds = rounds;
  options.tokens = arguments.integer("context", 4096, 64, 1 << 20);
  options.appended = arguments.flag("appended");
  options.make = [](const std::string& cache, const KvShape& shape) {
    CacheRequest request;
    request.shape = shape;
    return CacheFactory(cache, request).make();
  };
  options.caches = {"f16",          "f32",          "per-token(bits=8)", "kivi(bits=8)",
                    "kivi(bits=4)", "kivi(bits=3)", "kivi(bits=2)"};
  if (arguments.has("pipeline")) {
    options.caches = {"f16"};
    for (const std::string& cache : arguments.list("pipeline")) options.caches.push_back(cache);
  }
  const CacheAttentionReport report = measure_cache_attention(options, session.progress);
  std::vector<std::vector<std::string>> table = {
      {"cache", "queries per KV head", "MB", "ms/token", "GB/s", "ms by bytes", "ms by products",
       "of the bound", "times f16", "by processor time", "KL of weights", "wanted"}};
  nlohmann::json values = nlohmann::json::array();
  for (const CacheAttentionSpeed& speed : report.speeds) {
    const auto milliseconds = [](double seconds) { return fmt::format("{:.3f}", 1e3 * seconds); };
    nlohmann::json value = {{"cache", speed.cache},
                            {"queries_per_head", speed.group},
                            {"threads", speed.threads},
                            {"sequences", speed.sequences},
                            {"bytes", speed.bytes},
                            {"seconds_per_token", speed.seconds},
                            {"bound_bytes_seconds", speed.bound_bytes},
                            {"bound_products_seconds", speed.bound_products},
                            {"ratio", speed.ratio},
                            {"speedup", speed.speedup},
                            {"processor_ratio", speed.processor_ratio},
                            {"processor_speedup", speed.processor_speedup},
                            {"weight_divergence", speed.divergence}};
    std::string wanted;
    for (const CachePromise& promise : cache_promises) {
      if (canonical_text(parse_cache_pipeline(promise.cache)) !=
          canonical_text(parse_cache_pipeline(speed.cache)))
        continue;
      const bool met = speed.ratio >= promise.ratio && speed.speedup >= promise.speedup;
      wanted = fmt::format("{:.2f} and {:.1f}: {}", promise.ratio, promise.speedup, met ? "met" : "not met");
      value["wanted_ratio"] = promise.ratio;
      value["wanted_speedup"] = promise.speedup;
      value["met"] = met;
    }
    table.push_back({speed.cache, std::to_string(speed.group),
                     gigabytes(static_cast<double>(speed.bytes) * 1e3), milliseconds(speed.seconds),
                     gigabytes(static_cast<double>(speed.bytes) / speed.seconds),
                     milliseconds(speed.bound_bytes), milliseconds(speed.bound_products),
                     fmt::format("{:.2f}", speed.ratio), fmt::format("{:.2f}", speed.speedup),
                     fmt::format("{:.2f} {:.2f}", speed.processor_ratio, speed.processor_speedup),
                     fmt::format("{:.1e}", speed.divergence), wanted});
    values.push_back(std::move(value));
  }
  if (!session.json) {
    fmt::print(
        "attention of one token over {} {}: {} layers, {} KV heads of {} channels, random numbers, {} "
        "threads\n"
        "copy rate {} GB/s, sgemm {:.1f} G multiply-adds/s; the bound is the larger of the times by bytes "
        "and "
        "by products\n{}\n",
        options.tokens, options.appended ? "appended ones" : "of a prompt", options.layers, options.kv_heads,
        options.head_dim, thread_count(), gigabytes(report.copy_rate), report.multiply_add_rate / 1e9,
        format_table(table));
  }
  return values;
}

nlohmann::json coders(int rounds, const Session& session) {
  const std::vector<CoderSpeed> speeds = measure_coders(rounds, session.progress);
  std::vector<std::vector<std::string>> table = {
      {"entropy coder", "bits/byte", "encode MB/s per core", "decode MB/s per core", "wanted"}};
  nlohmann::json values = nlohmann::json::array();
  for (const CoderSpeed& speed : speeds) {
    table.push_back(
        {speed.name, fmt::format("{:.3f}", speed.bits_per_byte),
         fmt::format("{:.0f}", speed.encode_rate / 1e6), fmt::format("{:.0f}", speed.decode_rate / 1e6),
         speed.wanted_rate == 0
             ? ""
             : fmt::format("{:.0f}: {}", speed.wanted_rate / 1e6, speed.met() ? "met" : "not met")});
    values.push_back({{"name", speed.name},
                      {"bits_per_byte", speed.bits_per_byte},
                      {"encode_bytes_per_second", speed.encode_rate},
                      {"decode_bytes_per_second", speed.decode_rate}});
    if (speed.wanted_rate > 0) {
      values.back()["wanted_bytes_per_second"] = speed.wanted_rate;
      values.back()["met"] = speed.met();
    }
  }
  if (!session.json) fmt::print("bytes of source per second of processor time\n{}\n", format_table(table));
  return values;
}

// What a step costs on a link of so many Mbit/s each worker, when nothing overlaps.
double seconds_over(const ExchangeSpeed& speed, double megabits) {
  return speed.encode + speed.decode + static_cast<double>(speed.sent_bytes) * 8e-6 / megabits;
}

nlohmann::json exchanges(const Arguments& arguments, const Session& session) {
  ExchangeSpeedOptions options;
  options.exchanges = arguments.list("exchange");
  options.workers = static_cast<int>(arguments.integer("workers", 2, 2, 64));
  options.rounds = static_cast<int>(arguments.integer("rounds", 5, 1, 1000));
  options.numbers = static_cast<std::size_t>(arguments.integer("numbers", 4'000'000, 1024, 1 << 30));
  if (arguments.has("bucket")) {
    options.bucket_bytes.clear();
    for (const std::string& text : arguments.list("bucket"))
      options.bucket_bytes.push_back(parse_bytes(text, "--bucket"));
  }
  const std::vector<ExchangeSpeed> speeds = measure_exchanges(options, session.progress);
  std::vector<std::vector<std::string>> table = {{"exchange", "bucket", "sent", "ratio", "encode ms",
                                                  "transfer ms", "decode ms", "in copies", "at 20 Mbit/s",
                                                  "at 100", "at 1000"}};
  nlohmann::json values = nlohmann::json::array();
  for (const ExchangeSpeed& speed : speeds) {
    const auto milliseconds = [](double seconds) { return fmt::format("{:.2f}", 1e3 * seconds); };
    table.push_back({speed.exchange, human_bytes(speed.bucket_bytes), human_bytes(speed.sent_bytes),
                     fmt::format("{:.2f}", speed.ratio), milliseconds(speed.encode),
                     milliseconds(speed.transfer), milliseconds(speed.decode),
                     fmt::format("{:.1f}", (speed.encode + speed.decode) / speed.copy),
                     human_seconds(seconds_over(speed, 20)), milliseconds(seconds_over(speed, 100)) + " ms",
                     milliseconds(seconds_over(speed, 1000)) + " ms"});
    values.push_back({{"exchange", speed.exchange},
                      {"bucket_bytes", speed.bucket_bytes},
                      {"buckets", speed.buckets},
                      {"sent_bytes", speed.sent_bytes},
                      {"ratio", speed.ratio},
                      {"encode_seconds", speed.encode},
                      {"transfer_seconds", speed.transfer},
                      {"decode_seconds", speed.decode},
                      {"total_seconds", speed.total},
                      {"copy_seconds", speed.copy}});
  }
  if (!session.json) {
    fmt::print(
        "exchanges of a vector of {} numbers between {} workers (threads); times of worker 0 and a step;\n"
        "\"in copies\": encode and decode over memcpy of the vector; on a link: encode + decode + the bytes "
        "it sends\n{}\n",
        options.numbers, options.workers, format_table(table));
  }
  return values;
}

// The cost model of collectives on the link between ranks that mpirun started, or between threads.
int network(const Arguments& arguments, const Session& session) {
  const bool shared = arguments.flag("shared");
  const auto rounds = static_cast<int>(arguments.integer("rounds", 5, 1, 1000));
  LinkCheck check;
  int ranks = 0;
  bool leads = true;
  const auto body = [&](CommunicationThread& thread) {
    LinkCheck own;
    thread.run("link", [&](Communicator& communicator) { own = check_link(communicator, shared, rounds); });
    if (thread.rank() != 0) return;
    ranks = thread.size();
    check = std::move(own);
  };
  if (started_by_mpi()) {
    CommunicationThread thread(open_mpi_communicator);
    leads = thread.rank() == 0;
    body(thread);
  } else {
    run_training_ranks(static_cast<int>(arguments.integer("workers", 2, 2, 64)), body);
  }
  if (!leads) return 0;
  std::vector<std::vector<std::string>> table = {{"exchange", "bytes", "predicted", "measured", "ratio"}};
  nlohmann::json rows = nlohmann::json::array();
  for (const LinkCheck::Row& row : check.rows) {
    table.push_back({row.exchange, human_bytes(static_cast<std::uint64_t>(row.bytes)),
                     fmt::format("{:.2f} ms", 1e3 * row.predicted),
                     fmt::format("{:.2f} ms", 1e3 * row.measured),
                     fmt::format("{:.2f}", row.measured / row.predicted)});
    rows.push_back({{"exchange", row.exchange},
                    {"bytes", row.bytes},
                    {"predicted_seconds", row.predicted},
                    {"measured_seconds", row.measured}});
  }
  if (session.json) {
    const nlohmann::json value = {{"ranks", ranks},
                                  {"shared", shared},
                                  {"seconds_per_message", check.link.alpha},
                                  {"seconds_per_byte", check.link.beta},
                                  {"exchanges", rows}};
    fmt::print("{}\n", value.dump(2));
    return 0;
  }
  fmt::print("{} ranks, {}: {:.4g} Mbit/s, {:.3g} ms a message\n{}\n", ranks,
             shared ? "one link for all" : "a link for each", 8e-6 / check.link.beta, 1e3 * check.link.alpha,
             format_table(table));
  return 0;
}

int bench(const Arguments& arguments, const Session& session) {
  if (arguments.text("what") == "network") return network(arguments, session);
  if (arguments.text("what") == "mixed-length") return mixed_length_plans(arguments, session);
  const std::string what = arguments.text("what", "all");
  if (what != "kernels" && what != "decode" && what != "attention" && what != "cache" && what != "coders" &&
      what != "exchange" && what != "overlap" && what != "all") {
    fail(ErrorKind::usage, fmt::format("\"{}\" cannot be measured", what), "bench",
         "known: kernels, decode, attention, cache, coders, exchange, overlap, network, mixed-length, all");
  }
  if (arguments.flag("plan")) {
    if (what != "attention")
      fail(ErrorKind::usage, "only attention has a plan", "--plan", "laconic bench attention --plan");
    return attention_plans(arguments, session);
  }
  const auto rounds = static_cast<int>(arguments.integer("rounds", 7, 1, 1000));
  nlohmann::json value = {{"vector_targets", vector_targets()},
                          {"blas_core", blas_core_name()},
                          {"threads", thread_count()},
                          {"cores", std::thread::hardware_concurrency()}};
  if (!session.json) {
    fmt::print("vectors {}; OpenBLAS kernels for {}; {} threads of {} cores\n", vector_targets(),
               blas_core_name(), thread_count(), std::thread::hardware_concurrency());
    fmt::print(
        "copy rate: memcpy of 256 MiB, N / time; rates count packed bytes of products and the larger side of "
        "conversions\n\n");
  }
  bool met = true;
  const auto look = [&](const char* name, nlohmann::json values) {
    for (const auto& item : values) met = met && item.value("met", true);
    value[name] = std::move(values);
  };
  if (what == "kernels" || what == "all") look("kernels", kernels(rounds, arguments.text("only"), session));
  if (what == "decode" || what == "all") look("decode", decode(rounds, session));
  if (what == "attention" || what == "all") look("attention", attention_speeds(arguments, session));
  if (what == "cache" || what == "all") look("cache", caches(arguments, rounds, session));
  if (what == "coders" || what == "all") look("coders", coders(rounds, session));
  if (what == "exchange" || what == "all") look("exchange", exchanges(arguments, session));
  if (what == "overlap" || what == "all") look("overlap", overlap_speeds(arguments, session));
  value["met"] = met;
  if (session.json) fmt::print("{}\n", value.dump(2));
  return met ? 0 : 1;
}

}  // namespace

Verb bench_verb() {
  using Kind = OptionSpec::Kind;
  Verb verb = {
      "bench",
      "Measure the kernels, decoding and exchanges on this machine",
      "  laconic bench\n"
      "  laconic bench kernels --only product --rounds 15\n"
      "  laconic bench decode --json\n"
      "  laconic bench cache\n"
      "  laconic bench cache --context 8192 --pipeline \"kivi(bits=3)\" --appended\n"
      "  laconic bench attention --head-dim 128 --naive --search\n"
      "  laconic bench attention --plan --tokens 32768 --head-dim 128 --cache 1MiB\n"
      "  mpirun -n 4 laconic bench network\n"
      "  laconic bench overlap --workers 4 --exchange-time 0.8\n"
      "  laconic bench mixed-length --ranks 1024 --lengths long-text --longest 2097152\n"
      "  laconic bench exchange --exchange dense --exchange powersgd --bucket 4MB --workers 4\n",
      {{"what", Kind::text,
        "kernels, decode, attention, cache, coders, exchange, overlap; network, mixed-length; or all of the "
        "former",
        false, "all"},
       {"--rounds", Kind::integer, "repetitions that medians are taken over", false, "7; 5 for exchange"},
       {"--only", Kind::text, "only kernels with this in their name"},
       {"--context", Kind::integer, "cache: tokens that are cached", false, "4096"},
       {"--pipeline", Kind::list, "cache: only these, beside f16"},
       {"--appended", Kind::flag, "cache: tokens came one by one, not as a prompt"},
       {"--tokens", Kind::integer, "attention: queries and keys", false, "4096"},
       {"--head-dim", Kind::list, "attention: sizes of a head", false, "64 and 128"},
       {"--full", Kind::flag, "attention: without a causal mask"},
       {"--naive", Kind::flag, "attention: beside plain loops, too"},
       {"--search", Kind::flag, "attention: the planned tiles beside all others of a grid"},
       {"--plan", Kind::flag, "attention: measure nothing, say what has to move and in which tiles"},
       {"--cache", Kind::bytes, "attention: plan for a fast memory of this size", false,
        "the caches of this machine"},
       {"--kv-bits", Kind::number, "attention: plan for keys and values at so many bits a number", false,
        "32"},
       {"--exchange", Kind::list, "exchange: only these methods or pipelines", false, "every method"},
       {"--bucket", Kind::list, "exchange: bucket sizes", false, "1MB and 25MB"},
       {"--numbers", Kind::integer, "exchange: length of the vector", false, "4000000"},
       {"--shared", Kind::flag, "network: all ranks share one link, as on a limited loopback"},
       {"--rows", Kind::integer, "overlap: rows of the product", false, "2048"},
       {"--columns", Kind::integer, "overlap: columns of the product", false, "2048"},
       {"--depth", Kind::integer, "overlap: each rank's share of the depth", false, "512"},
       {"--exchange-time", Kind::number, "overlap: how long the link takes, in products", false, "1"},
       {"--workers", Kind::integer, "exchange, overlap and network: workers, as threads", false, "2"}},
      bench};
  for (OptionSpec& option : mixed_length_options()) verb.options.push_back(std::move(option));
  return verb;
}

}  // namespace laconic::cli
