// What tests ask of an elastic run, whatever carries it.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "engine/base/error.h"
#include "engine/transport/elastic_world.h"
#include "engine/transport/reductions.h"

namespace laconic {

// Sums `numbers` ones until `rounds` have succeeded; what the sizes of the groups were.
inline std::vector<int> sum_until(ElasticWorld& world, int rounds, std::size_t numbers = 100,
                                  const std::function<void(int)>& before_round = {}) {
  std::vector<int> sizes;
  auto communicator = world.communicator();
  while (static_cast<int>(sizes.size()) < rounds) {
    if (before_round) before_round(static_cast<int>(sizes.size()));
    world.begin_operation();
    std::vector<float> values(numbers, 1.0f);
    bool succeeded = true;
    try {
      all_reduce_sum(*communicator, values);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::io);
      succeeded = false;
    }
    if (world.end_operation(succeeded)) {
      EXPECT_EQ(values[7], static_cast<float>(world.size()));
      sizes.push_back(world.size());
    } else {
      world.renew();
      communicator = world.communicator();
    }
  }
  return sizes;
}

}  // namespace laconic
