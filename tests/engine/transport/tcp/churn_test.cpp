// Peers that are spawned and killed at random, as processes: no hang, no disagreement, and every survivor
// back in operation within two seconds of a death. Half a minute here; ten with LACONIC_NIGHTLY.
#include "engine/transport/tcp/churn.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>

#include "engine/base/error.h"
#include "engine/transport/tcp/churn_member.h"
#include "tests/engine/transport/tcp/peer_run_fixture.h"

namespace laconic {
namespace {

TEST(PeerProcess, DISABLED_Churner) {
  PeerOptions options = options_for(static_cast<std::uint16_t>(std::atoi(std::getenv("LACONIC_MASTER"))));
  options.pool_size = 2;
  run_churn_member(options, churn_form_named(std::getenv("LACONIC_CHURN_FORM")),
                   std::getenv("LACONIC_CHURN_LOG"));
}

// This program once more, as the member above.
std::vector<std::string> member_of(ChurnForm form, std::uint16_t master, const std::filesystem::path& log) {
  return {"env",
          fmt::format("LACONIC_MASTER={}", master),
          fmt::format("LACONIC_CHURN_FORM={}", name_of(form)),
          "LACONIC_CHURN_LOG=" + log.string(),
          std::filesystem::read_symlink("/proc/self/exe").string(),
          "--gtest_also_run_disabled_tests",
          "--gtest_filter=PeerProcess.DISABLED_Churner",
          "--gtest_brief=1"};
}

void churn(ChurnForm form, double here, std::uint64_t seed) {
  const char* wanted = std::getenv("LACONIC_NIGHTLY");
  ChurnPlan plan;
  plan.seconds = wanted != nullptr && *wanted != '\0' ? 600 : here;
  plan.seed = seed;
  const ChurnReport report =
      measure_churn(plan, [form](std::uint16_t master, const std::filesystem::path& log) {
        return member_of(form, master, log);
      });
  std::printf(
      "%zu spawned, %zu killed, %zu steps (%zu lines), groups of up to %zu, slowest recovery of %zu %.3f s, "
      "longest silence %.3f s, %zu aborted operations\n",
      report.spawned, report.killed, report.steps, report.lines, report.most_members, report.recoveries,
      report.slowest_recovery, report.longest_silence, report.aborted_operations);
  EXPECT_EQ(report.ended_by_themselves, 0u);
  EXPECT_EQ(report.disagreements, 0u);
  EXPECT_EQ(report.lineages, 1u) << "the state was lost";
  EXPECT_EQ(report.hung, 0u);
  EXPECT_GT(report.recoveries, 0u);
  EXPECT_GE(report.most_members, 3u);
  EXPECT_LT(report.slowest_recovery, 2.0);
  EXPECT_LT(report.longest_silence, 10.0);
  EXPECT_GT(report.aborted_operations, 0u);
}

TEST(Churn, OneCollectiveAtATime) { churn(ChurnForm::synchronous, 30, 1); }
TEST(Churn, CollectivesThatOverlap) { churn(ChurnForm::overlapping, 30, 2); }
TEST(Churn, CollectivesBesideTheNextStep) { churn(ChurnForm::delayed, 15, 3); }

TEST(Churn, UnknownFormsAreRefused) { EXPECT_THROW(churn_form_named("sometimes"), Error); }

}  // namespace
}  // namespace laconic
