#include "methods/gradients/pccl/measurements.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/random.h"
#include "engine/math/random_fill.h"
#include "engine/transport/communication_thread.h"
#include "engine/transport/tcp/peers_on_hosts.h"
#include "runtime/benchmark/measure.h"

namespace laconic::pccl {
namespace {

using Numbers = std::vector<float>;

// Multiples of 1/8 below 256, so that sums are exact in any order.
Numbers exact_numbers(std::size_t count, std::size_t peer) {
  Numbers numbers(count);
  for (std::size_t i = 0; i < count; ++i)
    numbers[i] = static_cast<float>((i * 7 + peer * 13) % 2048) * 0.125f;
  return numbers;
}
ReduceRequest reduction_of(const Numbers& source, Numbers& result, std::uint64_t tag, ReduceOp op) {
  ReduceRequest request;
  request.source = source.data();
  request.destination = result.data();
  request.count = source.size();
  request.tag = tag;
  request.op = op;
  return request;
}

template <class T>
bool all_equal(const std::vector<T>& values) {
  return std::all_of(values.begin(), values.end(), [&](const T& value) { return value == values.front(); });
}

}  // namespace

PoolResult measure_pool(const PoolTrial& trial) {
  const LimitedHosts hosts(trial.peers, trial.host_rate);
  PeersOnHosts run(static_cast<std::size_t>(trial.peers), &hosts, [&](PeerOptions& options) {
    options.pool_size = trial.pool;
    options.pacing = trial.connection_rate / 8;
  });
  const auto operations = static_cast<std::size_t>(trial.operations);
  std::vector<Numbers> own, results(run.size());
  Numbers sum(trial.numbers, 0.0f);
  for (std::size_t i = 0; i < run.size(); ++i) {
    own.push_back(exact_numbers(trial.numbers, i));
    results[i].resize(trial.numbers * operations);
    for (std::size_t j = 0; j < trial.numbers; ++j) sum[j] += own[i][j];
  }
  PoolResult result;
  std::atomic<std::uint64_t> sent = 0;
  std::vector<double> seconds;
  for (int round = 0; round < trial.rounds; ++round) {
    sent = 0;
    seconds.push_back(run.seconds_of([&](Peer& peer, std::size_t i) {
      std::vector<ReduceRequest> requests(operations);
      for (std::size_t k = 0; k < operations; ++k) {
        requests[k].source = own[i].data();
        requests[k].destination = results[i].data() + k * trial.numbers;
        requests[k].count = trial.numbers;
        requests[k].tag = k;
      }
      const ManyReport report = peer.all_reduce(requests, trial.operations);
      for (const auto& each : report.each) sent += each->sent_bytes;
    }));
  }
  result.seconds = median(seconds);
  result.sent_bytes = static_cast<double>(sent) / trial.peers;
  result.same_bits = true;
  for (const Numbers& numbers : results) {
    for (std::size_t k = 0; k < operations; ++k)
      result.same_bits = result.same_bits && std::memcmp(numbers.data() + k * trial.numbers, sum.data(),
                                                         trial.numbers * sizeof(float)) == 0;
  }
  return result;
}

RingOrderResult measure_ring_order(const RingOrderTrial& trial) {
  const LimitedHosts hosts(trial.peers, trial.host_rate);
  PeersOnHosts run(static_cast<std::size_t>(trial.peers), &hosts);
  // Which host stands where in the ring.
  const auto hosts_in_ring = [&] {
    std::vector<int> order;
    for (const PeerId& id : run.peer(0).ring().members) {
      for (std::size_t i = 0; i < run.size(); ++i) {
        if (run.peer(i).id() == id) order.push_back(static_cast<int>(i));
      }
    }
    return order;
  };
  std::vector<Numbers> own, results(run.size(), Numbers(trial.numbers));
  for (std::size_t i = 0; i < run.size(); ++i) own.push_back(exact_numbers(trial.numbers, i));
  const auto one = [&] {
    return run.seconds_of([&](Peer& peer, std::size_t i) {
      peer.all_reduce(reduction_of(own[i], results[i], 1, ReduceOp::sum));
    });
  };
  const auto middle = [&] {
    std::vector<double> seconds;
    for (int round = 0; round < trial.rounds; ++round) seconds.push_back(one());
    return median(seconds);
  };
  const std::vector<int> shuffled = hosts_in_ring();
  const int slow[] = {shuffled[2], shuffled[3]};
  hosts.limit_pair(slow[0], slow[1], trial.slow_rate);
  RingOrderResult result;
  result.before = middle();
  result.ordering = run.seconds_of([](Peer& peer, std::size_t) { peer.optimize_topology(); });
  const std::vector<int> ordered = hosts_in_ring();
  result.avoids_slow = true;
  for (std::size_t i = 0; i < ordered.size(); ++i) {
    const int from = ordered[i], to = ordered[(i + 1) % ordered.size()];
    if (std::minmax(from, to) == std::minmax(slow[0], slow[1])) result.avoids_slow = false;
  }
  result.after = middle();
  return result;
}

namespace {

constexpr double abort_pacing = 1e6;  // bytes per second of a connection: operations last for seconds
constexpr std::size_t abort_numbers = 4'000'000;
constexpr double lost_after = 0.5;

void sleep_seconds(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

AbortResult abort_with_master(int peers) {
  PeersOnHosts run(static_cast<std::size_t>(peers), nullptr,
                   [](PeerOptions& options) { options.pacing = abort_pacing; });
  std::vector<double> ends(run.size());
  double lost = 0;
  run.run([&](Peer& peer, std::size_t i) {
    Numbers numbers = exact_numbers(abort_numbers, i);
    std::thread leaving;
    if (i == 0) {
      leaving = std::thread([&] {
        sleep_seconds(lost_after);
        lost = steady_seconds();
        peer.leave();
      });
    }
    try {
      peer.all_reduce(reduction_of(numbers, numbers, 1, ReduceOp::sum));
    } catch (const PeerError&) {
    }
    ends[i] = steady_seconds();
    if (leaving.joinable()) leaving.join();
  });
  return {*std::max_element(ends.begin() + 1, ends.end()) - lost, 0};
}

// Peers' links without a master: member i sends to i + 1.
AbortResult abort_of_links(AbortForm form, int peers, double limit) {
  const auto count = static_cast<std::size_t>(peers);
  PeerLinkOptions options;
  options.listen = {"127.0.0.1", 0};
  options.pacing = abort_pacing;
  options.link.allow_unauthenticated = true;
  std::vector<PeerId> ids;
  std::vector<std::unique_ptr<PeerLinks>> links;
  for (std::size_t i = 0; i < count; ++i) {
    ids.push_back({static_cast<std::uint8_t>(i + 1)});
    links.push_back(std::make_unique<PeerLinks>(options));
    links.back()->set_self(ids.back());
  }
  for (std::size_t i = 0; i < count; ++i)
    links[i]->open(ids[(i + 1) % count], {"127.0.0.1", links[(i + 1) % count]->port()}, 10);
  for (std::size_t i = 0; i < count; ++i) links[i]->await(ids[(i + count - 1) % count], 10);

  std::vector<AbortToken> tokens(count);
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<double> ends(count, -1);
  std::size_t ended = 0;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      Numbers numbers = exact_numbers(abort_numbers, i);
      AllReduceRequest request;
      request.source = request.destination = numbers.data();
      request.count = numbers.size();
      request.sequence = 1;
      {
        AllReduce operation(*links[i], {ids, i}, request);
        try {
          operation.run(tokens[i]);
        } catch (const Error&) {
        }
      }
      const double end = steady_seconds();
      if (i != 0 && form == AbortForm::told) {
        for (AbortToken& token : tokens) token.abort("a member was lost");
      }
      if (i != 0 && form == AbortForm::closing) links[i]->close_all();
      const std::lock_guard lock(mutex);
      ends[i] = end;
      ++ended;
      changed.notify_all();
    });
  }
  sleep_seconds(lost_after);
  const double lost = steady_seconds();
  links[0]->close_all();
  AbortResult result;
  {
    std::unique_lock lock(mutex);
    changed.wait_for(lock, std::chrono::duration<double>(limit), [&] { return ended == count; });
    for (std::size_t i = 1; i < count; ++i) {
      if (ends[i] < 0) ++result.blocked;
      result.seconds = std::max(result.seconds, ends[i] - lost);
    }
  }
  for (AbortToken& token : tokens) token.abort("the limit was reached");
  for (std::thread& thread : threads) thread.join();
  return result;
}

}  // namespace

AbortResult measure_abort(AbortForm form, int peers, double limit) {
  return form == AbortForm::whole_protocol ? abort_with_master(peers) : abort_of_links(form, peers, limit);
}

RoundingResult round_block(const std::vector<float>& numbers, WireRounding rounding) {
  Quantization quantization;
  quantization.kind = QuantizationKind::min_max;
  quantization.rounding = rounding;
  const BlockQuantizer<float> quantizer(quantization);
  std::vector<std::byte> wire(quantizer.wire_bytes(numbers.size()));
  if (quantizer.encode(numbers, RandomStream(0, "rounding", ""), 0, wire.data()))
    fail(ErrorKind::input, "is not finite", "numbers");
  std::vector<float> decoded(numbers.size());
  quantizer.decode(wire.data(), decoded);
  RoundingResult result;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (numbers.size() <= quantizer.block())
      result.codes.push_back(static_cast<int>(wire[wire.size() - numbers.size() + i]));
    result.mean_error += (static_cast<double>(decoded[i]) - static_cast<double>(numbers[i])) /
                         static_cast<double>(numbers.size());
  }
  return result;
}

double rounding_bias(WireRounding rounding, std::uint64_t seed) {
  // Blocks from exactly 0 to exactly 1: a step is 1/255.
  constexpr std::size_t block = 1024, blocks = 256;
  const RandomStream random(seed, "rounding bias", "");
  Numbers numbers(block * blocks);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = i % block == 0 ? 0.0f : i % block == 1 ? 1.0f : random.uniform_at(i);
  return 255 * round_block(numbers, rounding).mean_error;
}

RouteError measure_route_error(AllReduceAlgorithm route, int peers, std::size_t numbers, int bits,
                               std::uint64_t seed) {
  PeersOnHosts run(static_cast<std::size_t>(peers), nullptr,
                   [](PeerOptions& options) { options.all_pairs = true; });
  std::vector<Numbers> own(run.size(), Numbers(numbers)), results(run.size(), Numbers(numbers));
  std::vector<double> mean(numbers, 0.0);
  for (std::size_t i = 0; i < run.size(); ++i) {
    random_gaussians(RandomStream(seed, "route error", "", 0, static_cast<std::uint16_t>(i)), own[i]);
    for (std::size_t j = 0; j < numbers; ++j) mean[j] += static_cast<double>(own[i][j]) / peers;
  }
  std::atomic<std::uint64_t> sent = 0;
  run.run([&](Peer& peer, std::size_t i) {
    ReduceRequest request = reduction_of(own[i], results[i], 1, ReduceOp::avg);
    request.algorithm = route;
    request.quantization.kind = QuantizationKind::min_max;
    request.quantization.bits = bits;
    sent += peer.all_reduce(request).sent_bytes;
  });
  std::vector<Hash128> hashes;
  for (const Numbers& result : results) hashes.push_back(xxh3_128(std::as_bytes(std::span(result))));
  double error = 0, power = 0;
  for (std::size_t j = 0; j < numbers; ++j) {
    const double difference = static_cast<double>(results[0][j]) - mean[j];
    error += difference * difference;
    power += mean[j] * mean[j];
  }
  return {std::sqrt(error / power), static_cast<double>(sent) / peers, all_equal(hashes)};
}

}  // namespace laconic::pccl
