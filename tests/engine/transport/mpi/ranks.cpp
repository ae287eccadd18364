// Started by mpirun: the collectives over MPI give what threads as ranks give, and count the same bytes.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "engine/base/error.h"
#include "engine/base/random.h"
#include "engine/transport/collectives.h"
#include "engine/transport/communication_thread.h"
#include "engine/transport/mpi/mpi_communicator.h"
#include "engine/transport/reductions.h"
#include "engine/transport/thread_world.h"

namespace laconic {
namespace {

struct Seen {
  std::vector<float> sum, sum_bf16;
  std::vector<Bytes> gathered, exchanged;
  Bytes broadcasted;
  std::vector<std::uint64_t> counts;
};

Seen exchange(Communicator& c) {
  Seen seen;
  RandomStream random(1, "mpi test", "values", 0, static_cast<std::uint16_t>(c.rank()));
  for (int i = 0; i < 100003; ++i) seen.sum.push_back(random.gaussian());
  seen.sum_bf16 = seen.sum;
  all_reduce_sum(c, seen.sum);
  all_reduce_sum_bf16(c, seen.sum_bf16);
  const Bytes own(static_cast<std::size_t>(c.rank()) * 1000, std::byte(c.rank()));
  seen.gathered = all_gather(c, own);
  std::vector<Bytes> parts;
  for (int to = 0; to < c.size(); ++to)
    parts.emplace_back(static_cast<std::size_t>(c.rank() * 10 + to), std::byte(to));
  seen.exchanged = all_to_all(c, std::move(parts));
  seen.broadcasted =
      broadcast(c, c.size() - 1, c.rank() == c.size() - 1 ? Bytes(5000, std::byte(7)) : Bytes());
  barrier(c);
  for (int kind = 0; kind < exchange_kinds; ++kind) {
    const Traffic& traffic = c.traffic(static_cast<Exchange>(kind));
    seen.counts.insert(seen.counts.end(), {traffic.sent_bytes, traffic.received_bytes, traffic.sent_messages,
                                           traffic.received_messages});
  }
  return seen;
}

int run() {
  Seen over_mpi;
  int rank = 0, size = 0;
  {
    CommunicationThread thread(make_mpi_communicator);
    rank = thread.rank();
    size = thread.size();
    thread.run("everything", [&](Communicator& c) { over_mpi = exchange(c); });
  }
  bool equal = true;
  run_ranks(size, [&](Communicator& c) {
    const Seen wanted = exchange(c);
    if (c.rank() != rank) return;
    equal = wanted.sum == over_mpi.sum && wanted.sum_bf16 == over_mpi.sum_bf16 &&
            wanted.gathered == over_mpi.gathered && wanted.exchanged == over_mpi.exchanged &&
            wanted.broadcasted == over_mpi.broadcasted && wanted.counts == over_mpi.counts;
  });
  std::printf("rank %d of %d: %s\n", rank, size, equal ? "equal" : "DIFFERENT");
  return equal ? 0 : 1;
}

}  // namespace
}  // namespace laconic

int main(int argc, char** argv) {
  try {
    // A rank that fails: mpirun must end, and not hang.
    if (argc > 1 && std::strcmp(argv[1], "fail") == 0) {
      laconic::CommunicationThread thread(laconic::make_mpi_communicator);
      thread.run("fails on one rank", [](laconic::Communicator& c) {
        if (c.rank() == 1) laconic::fail(laconic::ErrorKind::input, "no data");
        laconic::barrier(c);
      });
      return 0;
    }
    return laconic::run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 3;
  }
}
