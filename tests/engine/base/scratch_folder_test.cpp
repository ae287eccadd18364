// Temporary folders that go away with their objects.
#include "engine/base/scratch_folder.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include "engine/base/error.h"
#include "engine/base/files.h"

namespace laconic {
namespace {

TEST(ScratchFolderTest, IsNewAndGoesAwayWithWhatItHolds) {
  std::filesystem::path one, other;
  {
    const ScratchFolder first("test"), second("test");
    one = first.path();
    other = second.path();
    EXPECT_NE(one, other);
    EXPECT_NE(one.string().find("laconic-test-"), std::string::npos);
    std::filesystem::create_directories(one / "deep");
    write_file(one / "deep" / "file", std::string_view("x"));
    EXPECT_EQ(std::filesystem::status(one).permissions() & std::filesystem::perms::others_all,
              std::filesystem::perms::none);
  }
  EXPECT_FALSE(std::filesystem::exists(one));
  EXPECT_FALSE(std::filesystem::exists(other));
}

TEST(ScratchFolderTest, SaysWhereNoneCanBeMade) {
  const ScratchFolder here("test");
  const char* before = ::getenv("TMPDIR");
  const std::string kept = before == nullptr ? "" : before;
  // A file of that name, so that not even root can make folders in it.
  write_file(here.path() / "file", std::string_view("x"));
  ::setenv("TMPDIR", (here.path() / "file").c_str(), 1);
  EXPECT_ANY_THROW(ScratchFolder("test"));
  if (before == nullptr) {
    ::unsetenv("TMPDIR");
  } else {
    ::setenv("TMPDIR", kept.c_str(), 1);
  }
}

}  // namespace
}  // namespace laconic
