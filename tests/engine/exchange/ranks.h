// Ranks on threads for tests of exchanges: every rank runs the same body with its own communicator.
#pragma once

#include <exception>
#include <functional>
#include <thread>
#include <vector>

#include "engine/exchange/gradient_exchange.h"
#include "engine/transport/thread_world.h"

namespace laconic::testing_ranks {

inline void on_ranks(int ranks, const std::function<void(Communicator&)>& body) {
  ThreadWorld world(ranks);
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      auto communicator = world.communicator(rank);
      try {
        communicator->set_timeout(20);
        body(*communicator);
      } catch (const std::exception& error) {
        failures[static_cast<std::size_t>(rank)] = std::current_exception();
        communicator->abandon(error.what());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

// One step over all buckets; whether it was accepted.
inline bool exchange_step(GradientExchange& exchange, Communicator& communicator, std::uint64_t step,
                          std::span<const float> own, std::span<float> agreed) {
  exchange.begin_step(communicator, step);
  bool accepted = true;
  for (std::size_t bucket = 0; bucket < exchange.buckets().size(); ++bucket) {
    if (!exchange.exchange(communicator, step, bucket, own, agreed)) accepted = false;
  }
  exchange.end_step(accepted);
  return accepted;
}

}  // namespace laconic::testing_ranks
