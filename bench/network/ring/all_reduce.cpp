// Time of an all-reduce between processes over TCP: the ring of peers (engine/transport/tcp) on loopback, or
// between hosts of limited rate on this machine.
//
//   bench_all_reduce --ranks 4 --megabytes 64 --repeat 7
//   bench_all_reduce --ranks 4 --rate 200 --bits 8             200 Mbit/s for each host and direction
//   bench_all_reduce --ranks 2 --pool 8 --stripes 8 --pacing 40   connections of 40 Mbit/s each
//   bench_all_reduce --ranks 4 --rate 200 -- COMMAND...       another program's, in each of the same hosts
//
// A command finds HOST (from 0), HOSTS and ADDRESS (of host 0) in its environment. Times are of the slowest
// rank, rounds begin together; one round more than told is run first and not counted.
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/error.h"
#include "engine/transport/limited_hosts.h"
#include "engine/transport/tcp/ring_all_reduce.h"

namespace {

using namespace laconic;

struct Settings {
  int ranks = 2, repeat = 7, pool = 1, stripes = 1, bits = 32;
  double megabytes = 64, rate = 0, pacing = 0;
  bool keyed = false, tls = false, direct = false, in_place = false;
  std::vector<char*> command;
};

Settings parse_words(int count, char** words) {
  Settings settings;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (word == "--") {
      settings.command.assign(words + i + 1, words + count);
      settings.command.push_back(nullptr);
      break;
    }
    const auto number = [&] {
      if (i + 1 >= count) fail(ErrorKind::usage, "a number is missing", word);
      return std::atof(words[++i]);
    };
    const auto whole = [&] { return static_cast<int>(number()); };
    if (word == "--ranks") {
      settings.ranks = whole();
    } else if (word == "--repeat") {
      settings.repeat = whole();
    } else if (word == "--pool") {
      settings.pool = whole();
    } else if (word == "--stripes") {
      settings.stripes = whole();
    } else if (word == "--bits") {
      settings.bits = whole();
    } else if (word == "--megabytes") {
      settings.megabytes = number();
    } else if (word == "--rate") {
      settings.rate = number();
    } else if (word == "--pacing") {
      settings.pacing = number();
    } else if (word == "--keyed") {
      settings.keyed = true;
    } else if (word == "--tls") {
      settings.keyed = settings.tls = true;
    } else if (word == "--direct") {
      settings.direct = true;
    } else if (word == "--in-place") {
      settings.in_place = true;
    } else {
      fail(ErrorKind::usage, "unknown option", word);
    }
  }
  return settings;
}

void write_all(int descriptor, const void* data, std::size_t size) {
  if (::send(descriptor, data, size, MSG_NOSIGNAL) != static_cast<ssize_t>(size))
    fail(ErrorKind::io, "the other process is gone");
}
void read_all(int descriptor, void* data, std::size_t size) {
  if (::recv(descriptor, data, size, MSG_WAITALL) != static_cast<ssize_t>(size))
    fail(ErrorKind::io, "the other process is gone");
}

PeerId id_of(int rank) { return {static_cast<std::uint8_t>(rank + 1)}; }
std::string host_of(const Settings& settings, int rank) {
  return settings.rate > 0 ? LimitedHosts::address(rank) : "127.0.0.1";
}

// One rank: tells its port, hears all of them, and reports the seconds of each round.
void run_rank(const Settings& settings, int rank, int parent) {
  PeerLinkOptions options;
  options.pool_size = settings.pool;
  options.pacing = settings.pacing * 1e6 / 8;
  options.listen = {host_of(settings, rank), 0};
  options.link.allow_unauthenticated = true;
  if (settings.keyed) options.link.key = Key{std::byte{1}};
  options.link.tls = settings.tls;
  PeerLinks links(options);
  links.set_self(id_of(rank));
  const std::uint16_t port = links.port();
  write_all(parent, &port, sizeof port);
  std::vector<std::uint16_t> ports(static_cast<std::size_t>(settings.ranks));
  read_all(parent, ports.data(), ports.size() * sizeof ports[0]);
  Ring ring;
  ring.position = static_cast<std::size_t>(rank);
  for (int i = 0; i < settings.ranks; ++i) ring.members.push_back(id_of(i));
  const int reach = settings.direct ? settings.ranks : 2;
  for (int step = 1; step < reach; ++step) {
    const int to = (rank + step) % settings.ranks;
    links.open(id_of(to), {host_of(settings, to), ports[static_cast<std::size_t>(to)]}, 20);
  }
  for (int step = 1; step < reach; ++step)
    links.await(id_of((rank - step + settings.ranks) % settings.ranks), 20);

  const auto count = static_cast<std::size_t>(settings.megabytes * 1e6 / 4);
  std::vector<float> source(count), result(settings.in_place ? 0 : count);
  std::uint64_t sequence = 0;
  AbortToken token;
  for (int round = 0; round <= settings.repeat; ++round) {
    for (std::size_t i = 0; i < count; ++i)
      source[i] = static_cast<float>(rank + 1) * static_cast<float>(i % 256);
    float beat = 0;
    AllReduceRequest barrier;
    barrier.count = 1;
    barrier.source = barrier.destination = &beat;
    barrier.sequence = ++sequence;
    AllReduce(links, ring, barrier).run(token);
    AllReduceRequest request;
    request.count = count;
    request.source = source.data();
    request.destination = settings.in_place ? source.data() : result.data();
    request.sequence = ++sequence;
    request.stripes = settings.stripes;
    if (settings.direct) request.algorithm = AllReduceAlgorithm::direct;
    if (settings.bits < 32) {
      request.quantization.kind = QuantizationKind::min_max;
      request.quantization.bits = settings.bits;
    }
    const auto start = Clock::now();
    AllReduce operation(links, ring, request);
    operation.run(token);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    const float* sums = settings.in_place ? source.data() : result.data();
    const float total = static_cast<float>(settings.ranks * (settings.ranks + 1) / 2);
    for (std::size_t i = 0; i < count; ++i) {
      const float expected = total * static_cast<float>(i % 256);
      const float slack = settings.bits < 32 ? total * static_cast<float>(settings.ranks) : 0.0f;
      if (std::abs(sums[i] - expected) > slack) fail(ErrorKind::internal, "the sum is wrong");
    }
    write_all(parent, &seconds, sizeof seconds);
  }
  char end = 0;
  read_all(parent, &end, 1);
}

// A process in a host (or here), with one end of a pair of sockets.
pid_t start_process(const Settings& settings, const LimitedHosts* hosts, int rank, int own,
                    const std::vector<int>& close_too) {
  pid_t process = -1;
  const auto fork_here = [&] {
    process = ::fork();
    if (process != 0) return;
    int code = 0;
    try {
      for (const int descriptor : close_too) ::close(descriptor);
      if (settings.command.empty()) {
        run_rank(settings, rank, own);
      } else {
        ::setenv("HOST", std::to_string(rank).c_str(), 1);
        ::setenv("HOSTS", std::to_string(settings.ranks).c_str(), 1);
        ::setenv("ADDRESS", host_of(settings, 0).c_str(), 1);
        ::execvp(settings.command[0], settings.command.data());
        fail(ErrorKind::io, std::strerror(errno), settings.command[0]);
      }
    } catch (const std::exception& error) {
      std::fprintf(stderr, "rank %d: %s\n", rank, error.what());
      code = 1;
    }
    ::_exit(code);
  };
  if (hosts != nullptr) {
    hosts->run(rank, fork_here);
  } else {
    fork_here();
  }
  return process;
}

int measure(const Settings& settings) {
  std::unique_ptr<LimitedHosts> hosts;
  if (settings.rate > 0) hosts = std::make_unique<LimitedHosts>(settings.ranks, settings.rate * 1e6);
  std::vector<int> children;
  std::vector<pid_t> processes;
  for (int rank = 0; rank < settings.ranks; ++rank) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) fail(ErrorKind::io, "no pair of sockets");
    std::vector<int> others = children;
    others.push_back(ends[0]);
    processes.push_back(start_process(settings, hosts.get(), rank, ends[1], others));
    ::close(ends[1]);
    children.push_back(ends[0]);
  }
  int code = 0;
  if (settings.command.empty()) {
    std::vector<std::uint16_t> ports(children.size());
    for (std::size_t i = 0; i < children.size(); ++i) read_all(children[i], &ports[i], sizeof ports[i]);
    for (const int child : children) write_all(child, ports.data(), ports.size() * sizeof ports[0]);
    std::vector<double> rounds;
    for (int round = 0; round <= settings.repeat; ++round) {
      double slowest = 0;
      for (const int child : children) {
        double seconds = 0;
        read_all(child, &seconds, sizeof seconds);
        slowest = std::max(slowest, seconds);
      }
      if (round > 0) rounds.push_back(slowest);
    }
    for (const int child : children) write_all(child, "x", 1);
    std::sort(rounds.begin(), rounds.end());
    const double median = rounds[rounds.size() / 2];
    const double bytes = 2.0 * (settings.ranks - 1) / settings.ranks * settings.megabytes * 1e6;
    std::printf(
        "ranks %d  %.0f MB  rate %.0f Mbit/s  bits %d  pool %d stripes %d%s%s%s%s: median %.4f s  least %.4f "
        "s  "
        "(%.1f Mbit/s of f32 through each link)\n",
        settings.ranks, settings.megabytes, settings.rate, settings.bits, settings.pool, settings.stripes,
        settings.keyed ? " keyed" : "", settings.tls ? " tls" : "", settings.direct ? " direct" : "",
        settings.in_place ? " in place" : "", median, rounds.front(), bytes * 8 / median / 1e6);
  }
  for (const pid_t process : processes) {
    int status = 0;
    ::waitpid(process, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) code = 1;
  }
  return code;
}

}  // namespace

int main(int count, char** words) {
  try {
    return measure(parse_words(count, words));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_all_reduce: %s\n", error.what());
    return 1;
  }
}
