#include "engine/transport/tcp/bandwidth_probe.h"

#include <gtest/gtest.h>

#include <future>

#include "engine/base/error.h"

namespace laconic {
namespace {

ProbeOptions quick_probe() {
  ProbeOptions options;
  options.slice = 0.15;
  options.longest = 0.8;
  options.busy_wait = 0.05;
  options.stability = 0.1;
  return options;
}

TEST(BandwidthProbes, MeasureWhatTheConnectionsMayCarry) {
  for (const bool keyed : {false, true}) {
    LinkSettings settings;
    if (keyed) settings.key = Key{std::byte{4}};
    BenchmarkServer server({"127.0.0.1", 0}, 1, settings);
    ProbeOptions options = quick_probe();
    options.connections = 2;
    options.pacing = 2.5e6;  // bytes per second: 40 Mbit/s for both
    const ProbeResult result = probe_bandwidth({"127.0.0.1", server.port()}, settings, options);
    EXPECT_GT(result.bits_per_second, 40e6 * 0.7);
    EXPECT_LT(result.bits_per_second, 40e6 * 1.4);
    EXPECT_GE(result.slices, 2);
    EXPECT_GE(static_cast<double>(server.received_bytes()) * 8, result.bits_per_second * 0.2);
  }
}

TEST(BandwidthProbes, TwoClientsTakeTurns) {
  BenchmarkServer server({"127.0.0.1", 0}, 1, {});
  ProbeOptions options = quick_probe();
  options.connections = 1;
  options.pacing = 1e6;
  const auto probe = [&] { return probe_bandwidth({"127.0.0.1", server.port()}, {}, options); };
  auto first = std::async(std::launch::async, probe);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const ProbeResult second = probe();
  EXPECT_GE(second.busy_answers, 1);
  EXPECT_GT(second.bits_per_second, 8e6 * 0.7) << "nobody shared the link";
  EXPECT_GT(first.get().bits_per_second, 8e6 * 0.7);
}

TEST(BandwidthProbes, AServerThatStaysBusyOrIsAbsentIsAnError) {
  BenchmarkServer server({"127.0.0.1", 0}, 1, {});
  ProbeOptions options = quick_probe();
  options.pacing = 1e6;
  options.longest = options.slice * 4;
  options.stability = 0;
  auto first = std::async(std::launch::async, [&] {
    return probe_bandwidth({"127.0.0.1", server.port()}, {}, options);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  ProbeOptions impatient = options;
  impatient.busy_longest = 0.1;
  EXPECT_THROW(probe_bandwidth({"127.0.0.1", server.port()}, {}, impatient), Error);
  EXPECT_FALSE(first.get().stable);
  const Listener silent({"127.0.0.1", 0});
  options.timeout = 0.1;
  EXPECT_THROW(probe_bandwidth({"127.0.0.1", silent.port()}, {}, options), Error);
}

}  // namespace
}  // namespace laconic
