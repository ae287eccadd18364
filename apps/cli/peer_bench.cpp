// laconic peer-bench: all-reduces between peers over TCP, timed, and whether all hold the same bits.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <thread>

#include "apps/cli/collective_options.h"
#include "apps/cli/verb.h"
#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/random.h"
#include "engine/transport/tcp/churn_member.h"
#include "engine/transport/tcp/peer.h"

namespace laconic::cli {
namespace {

struct BenchResult {
  int world = 0, aborted = 0;
  std::vector<double> seconds;
  std::uint64_t sent_bytes = 0, received_bytes = 0;
  std::string hash;
};

struct BenchPlan {
  int peers = 2, rounds = 5;
  std::size_t count = 0;
  bool optimize = false;
  Quantization quantization;
  AllReduceAlgorithm algorithm = AllReduceAlgorithm::ring;
};

float bench_number(const RandomStream& random, std::size_t i) {
  return static_cast<float>(random.bits_at(i) >> 8) * 0x1p-23f - 1.0f;
}

BenchResult bench_peer(const PeerOptions& options, const BenchPlan& plan, const ProgressListener& progress) {
  Peer peer(options);
  peer.join();
  while (peer.group_size() < plan.peers) {
    throw_if_interrupted();
    if (peer.newcomers_pending())
      peer.update_topology();
    else
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  if (plan.optimize) peer.optimize_topology();
  BenchResult result;
  const RandomStream random(1, "peer bench", control::name_of(peer.id()), 0);
  std::vector<float> values(plan.count);
  for (int round = 0; round < plan.rounds;) {
    throw_if_interrupted();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = bench_number(random, i);
    ReduceRequest request;
    request.source = request.destination = values.data();
    request.count = values.size();
    request.op = ReduceOp::avg;
    request.quantization = plan.quantization;
    request.algorithm = plan.algorithm;
    try {
      const ReduceReport report = peer.all_reduce(request);
      result.seconds.push_back(report.seconds);
      result.sent_bytes += report.sent_bytes;
      result.received_bytes += report.received_bytes;
      result.world = report.world;
      ++round;
    } catch (const PeerError& error) {
      if (error.fault() != PeerFault::aborted) throw;
      ++result.aborted;
    }
    if (progress) progress({"all-reduce", round, plan.rounds});
  }
  result.hash = to_hex(xxh3_128(std::as_bytes(std::span(values))));
  // Nobody leaves before all have their numbers.
  std::vector<float> last(1, 1.0f);
  ReduceRequest request;
  request.source = request.destination = last.data();
  request.count = 1;
  request.tag = 1;
  try {
    peer.all_reduce(request);
  } catch (const PeerError&) {
    // Whoever was faster has left.
  }
  return result;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

int peer_bench(const Arguments& arguments, const Session& session) {
  PeerOptions options;
  options.link = link_settings(arguments);
  options.masters = parse_masters(arguments.text("master"));
  options.listen = arguments.text("bind");
  options.pool_size = static_cast<int>(arguments.integer("pool", 1, 1, 64));
  options.stripes = options.pool_size;
  options.pacing = arguments.number("pace", 0, 0, 1e12) / 8;
  options.message = [](std::string_view text) { print_notice(text); };
  if (arguments.has("steps") && !arguments.has("endless"))
    fail(ErrorKind::usage, "is how members of an endless run go", "--steps", "add --endless FILE");
  if (arguments.has("endless")) {
    for (const char* option : {"peers", "here", "bytes", "rounds", "quantize", "direct", "optimize"}) {
      if (arguments.has(option))
        fail(ErrorKind::usage, "does not go with --endless", std::string("--") + option, "leave it out");
    }
    const std::string steps = arguments.text("steps", "synchronous");
    options.settings = "peer-bench endless " + steps;
    run_churn_member(options, churn_form_named(steps), arguments.text("endless"));
  }
  BenchPlan plan;
  plan.peers = static_cast<int>(arguments.integer("peers", 2, 2, 1024));
  const auto here = static_cast<std::size_t>(arguments.integer("here", plan.peers, 1, plan.peers));
  plan.rounds = static_cast<int>(arguments.integer("rounds", 5, 1, 1'000'000));
  plan.count = static_cast<std::size_t>(arguments.bytes("bytes").value_or(64'000'000) / 4);
  if (plan.count == 0) fail(ErrorKind::usage, "there is nothing to reduce", "--bytes");
  plan.optimize = arguments.flag("optimize");
  if (arguments.flag("direct")) {
    plan.algorithm = AllReduceAlgorithm::direct;
    options.all_pairs = true;
  }
  if (arguments.has("quantize")) {
    plan.quantization.kind = QuantizationKind::min_max;
    plan.quantization.bits = static_cast<int>(arguments.integer("quantize", 8, 8, 16));
  }
  check_quantization(plan.quantization);
  options.settings =
      fmt::format("peer-bench {} peers, {} numbers, {} rounds, {} bits, pool {}, {}", plan.peers, plan.count,
                  plan.rounds, plan.quantization.kind == QuantizationKind::none ? 32 : plan.quantization.bits,
                  options.pool_size, plan.optimize);

  std::vector<BenchResult> results(here);
  std::vector<std::exception_ptr> faults(here);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < here; ++i) {
    threads.emplace_back([&, i] {
      try {
        results[i] = bench_peer(options, plan, i == 0 ? session.progress : ProgressListener());
      } catch (...) {
        faults[i] = std::current_exception();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& fault : faults) {
    if (fault) std::rethrow_exception(fault);
  }
  const BenchResult& own = results[0];
  const bool agree = std::all_of(results.begin(), results.end(),
                                 [&](const BenchResult& result) { return result.hash == own.hash; });
  const double seconds = median(own.seconds), bytes = 4.0 * static_cast<double>(plan.count);
  const double bus = 2.0 * (own.world - 1) / own.world * bytes / seconds;
  if (session.json) {
    fmt::print("{}\n", nlohmann::json({{"peers", own.world},
                                       {"peers_here", here},
                                       {"bytes", bytes},
                                       {"rounds", plan.rounds},
                                       {"aborted", own.aborted},
                                       {"seconds", own.seconds},
                                       {"median_seconds", seconds},
                                       {"bus_bytes_per_second", bus},
                                       {"sent_bytes", own.sent_bytes},
                                       {"received_bytes", own.received_bytes},
                                       {"hash", own.hash},
                                       {"agree", agree}})
                           .dump(2));
  } else {
    fmt::print("{} of f32 over {} peers: {} (median of {}), {}/s in numbers through each peer's link\n",
               human_bytes(static_cast<std::uint64_t>(bytes)), own.world, human_seconds(seconds), plan.rounds,
               human_bytes(static_cast<std::uint64_t>(bus)));
    fmt::print("sent {} and received {} a round; {} aborted\n",
               human_bytes(own.sent_bytes / static_cast<std::uint64_t>(plan.rounds)),
               human_bytes(own.received_bytes / static_cast<std::uint64_t>(plan.rounds)), own.aborted);
    fmt::print("result {}{}\n", own.hash,
               here > 1 ? (agree ? ", the same at all peers here" : ", and OTHERS at other peers") : "");
  }
  return agree ? 0 : 1;
}

}  // namespace

Verb peer_bench_verb() {
  using Kind = OptionSpec::Kind;
  std::vector<OptionSpec> options = {
      {"master", Kind::text, "the master of the run, tcp://ADDRESS[:PORT][,STANDBY..]", true},
      {"--peers", Kind::integer, "of the whole run", false, "2"},
      {"--here", Kind::integer, "of them that this command runs", false, "all"},
      {"--bytes", Kind::bytes, "of f32 numbers that are averaged", false, "64MB"},
      {"--rounds", Kind::integer, "all-reduces", false, "5"},
      {"--quantize", Kind::integer, "bits of a number on the wire, 8 or 16", false, "32, exact"},
      {"--pool", Kind::integer, "connections to each neighbour", false, "1"},
      {"--direct", Kind::flag, "direct exchange between all pairs instead of the ring"},
      {"--optimize", Kind::flag, "measure bandwidths first, and order the ring by them"},
      {"--pace", Kind::number, "bits per second of each connection at most; 0: no cap", false, "0"},
      {"--endless", Kind::text,
       "instead: take part in a run that never ends, and append what this peer holds after each step to this "
       "file; kill it when you like, and look whether the others agree"},
      {"--steps", Kind::text,
       "with --endless: synchronous, overlapping (two collectives at once) or delayed (one step late)", false,
       "synchronous"},
      {"--bind", Kind::text, "address where other peers reach this one", false,
       "127.0.0.1 beside a master on it, else all"},
  };
  for (OptionSpec& option : link_options()) options.push_back(std::move(option));
  return {"peer-bench", "Time all-reduces between peers over TCP",
          "  laconic peer-bench tcp://127.0.0.1 --peers 4 --bytes 64MB\n"
          "  laconic peer-bench tcp://10.0.0.1 --peers 3 --here 1 --quantize 8 --key-file run.key\n"
          "Start `laconic master` first, and with --here the same command on the other machines.\n",
          std::move(options), peer_bench};
}

}  // namespace laconic::cli
