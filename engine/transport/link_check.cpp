#include "engine/transport/link_check.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include "engine/base/error.h"
#include "engine/transport/collectives.h"
#include "engine/transport/reductions.h"

namespace laconic {
namespace {

// The median over rounds of the slowest rank's seconds.
double measured_seconds(Communicator& communicator, int rounds, const std::function<void()>& exchange) {
  std::vector<double> seconds;
  for (int round = 0; round < rounds; ++round) {
    barrier(communicator);
    const auto begin = std::chrono::steady_clock::now();
    exchange();
    const auto own = std::chrono::steady_clock::now() - begin;
    const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(own).count();
    const Agreement agreement = agree(communicator, static_cast<std::uint64_t>(nanoseconds));
    seconds.push_back(static_cast<double>(agreement.most) * 1e-9);
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

double all_reduce_seconds(Communicator& communicator, int rounds, std::size_t bytes) {
  std::vector<float> values(bytes / sizeof(float), 1.0f);
  return measured_seconds(communicator, rounds, [&] { all_reduce_sum(communicator, values); });
}

double owners_exchange_seconds(Communicator& communicator, int rounds, std::size_t part) {
  return measured_seconds(communicator, rounds, [&] {
    all_to_all(communicator, std::vector<Bytes>(static_cast<std::size_t>(communicator.size()), Bytes(part)));
    all_gather(communicator, Bytes(part));
  });
}

}  // namespace

LinkCheck check_link(Communicator& communicator, bool shared, int rounds) {
  const int ranks = communicator.size();
  if (ranks < 2) fail(ErrorKind::usage, "a link has two ends", "bench network", "start at least two ranks");
  constexpr std::size_t kibibyte = 1024;
  all_reduce_seconds(communicator, 2, 64 * kibibyte);  // connections are made

  // Seconds of one round of a ring, and the bytes that the link carries in it.
  const std::size_t fitted[] = {16 * kibibyte, 128 * kibibyte, 512 * kibibyte};
  double bytes[3], seconds[3];
  for (int i = 0; i < 3; ++i) {
    bytes[i] = static_cast<double>(fitted[i]) / ranks * (shared ? ranks : 1);
    seconds[i] = all_reduce_seconds(communicator, rounds, fitted[i]) / (2.0 * (ranks - 1));
  }
  LinkCheck check;
  check.link = fit_link(bytes, seconds, 3);
  check.link.shared = shared;
  const auto add = [&](const char* exchange, std::size_t size, double predicted, double measured) {
    check.rows.push_back({exchange, static_cast<double>(size), predicted, measured});
  };
  for (const std::size_t size : {256 * kibibyte, 2048 * kibibyte}) {
    add("all-reduce", size, ring_all_reduce_seconds(check.link, ranks, static_cast<double>(size)),
        all_reduce_seconds(communicator, rounds, size));
  }
  for (const std::size_t size : {16 * kibibyte, 128 * kibibyte}) {
    const Bytes own(size);
    add("all-gather", size, all_gather_seconds(check.link, ranks, static_cast<double>(size)),
        measured_seconds(communicator, rounds, [&] { all_gather(communicator, own); }));
  }
  add("owners", 64 * kibibyte, owners_seconds(check.link, ranks, 64.0 * kibibyte),
      owners_exchange_seconds(communicator, rounds, 64 * kibibyte));
  const Bytes root(512 * kibibyte);
  add("broadcast", root.size(), broadcast_seconds(check.link, ranks, static_cast<double>(root.size())),
      measured_seconds(communicator, rounds, [&] { broadcast(communicator, 0, root); }));
  return check;
}

}  // namespace laconic
