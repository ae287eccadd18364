#include "engine/base/child_process.h"

#include <gmock/gmock.h>

#include <chrono>

#include "engine/base/error.h"

namespace laconic {
namespace {

using testing::HasSubstr;

TEST(ChildProcess, LinesRestFaultsAndCode) {
  ChildProcess child({"sh", "-c", "echo one; echo two; printf three; echo wrong >&2; exit 5"});
  EXPECT_EQ(child.read_line(), "one");
  const ProcessResult result = child.finish();
  EXPECT_EQ(result.code, 5);
  EXPECT_EQ(result.out, "two\nthree");
  EXPECT_EQ(result.err, "wrong\n");
  ChildProcess silent({"true"});
  EXPECT_EQ(silent.read_line(), "");
  EXPECT_EQ(ChildProcess({"sh", "-c", "kill -9 $$"}).finish().code, 1009);
}

TEST(ChildProcess, MuchOutputAndManyFaultsBlockNothing) {
  const ProcessResult result =
      ChildProcess({"sh", "-c", "head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero"}).finish();
  EXPECT_EQ(result.out.size(), 3000000u);
  EXPECT_EQ(result.err.size(), 3000000u);
}

TEST(ChildProcess, IsAskedToEndAndReadsNothing) {
  const auto start = std::chrono::steady_clock::now();
  { ChildProcess child({"sleep", "60"}); }
  { ChildProcess child({"yes"}); }
  EXPECT_EQ(ChildProcess({"cat"}).finish().code, 0);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST(ChildProcess, WhatGoesWrongIsSaid) {
  EXPECT_THROW(ChildProcess({"no-such-program-anywhere"}), Error);
  EXPECT_EQ(output_of({"echo", "yes"}), "yes\n");
  try {
    output_of({"sh", "-c", "echo because >&2; exit 3"});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("ended with 3: because"));
  }
}

}  // namespace
}  // namespace laconic
