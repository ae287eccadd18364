#include <gtest/gtest.h>

#include "tests/engine/transport/tcp/schedule.h"

#include <cstdlib>
#include <iostream>

namespace laconic::control {
namespace {

TEST(ScheduleCheck, Try) {
  const char* from = std::getenv("SEED");
  if (from) {
    const auto r = run_schedule(std::strtoull(from, nullptr, 10), Mutation::none, true);
    std::cout << "VIOLATION: " << r.violation << " events " << r.events << "\n";
    return;
  }
  std::uint64_t events = 0, bad = 0;
  const char* n = std::getenv("N");
  const std::uint64_t count = n ? std::strtoull(n, nullptr, 10) : 2000;
  for (std::uint64_t seed = 0; seed < count; ++seed) {
    const auto r = run_schedule(seed);
    events += r.events;
    if (!r.violation.empty() && ++bad <= 12) std::cout << seed << ": " << r.violation << "\n";
  }
  std::cout << bad << " bad, events per schedule " << events / count << "\n";
}

}  // namespace
}  // namespace laconic::control
