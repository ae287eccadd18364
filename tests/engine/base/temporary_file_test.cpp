#include "engine/base/temporary_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/scratch_folder.h"

namespace laconic {
namespace {

namespace fs = std::filesystem;

class TemporaryFiles : public testing::Test {
 protected:
  ScratchFolder folder{"files"};
  fs::path path = folder.path() / "file", temporary = path.string() + ".tmp." + std::to_string(::getpid());

  static unsigned mode_of(const fs::path& file) {
    return static_cast<unsigned>(fs::status(file).permissions());
  }
};

TEST_F(TemporaryFiles, ALinkUnderTheirNameIsNotFollowed) {
  write_file(folder.path() / "other", "of somebody else");
  fs::create_symlink(folder.path() / "other", temporary);
  write_file(path, "mine");
  EXPECT_EQ(read_text_file(folder.path() / "other"), "of somebody else");
  EXPECT_EQ(read_text_file(path), "mine");
  EXPECT_FALSE(fs::is_symlink(path));
}

TEST_F(TemporaryFiles, WhatAKilledOneLeftIsReplaced) {
  {
    AtomicFile other(folder.path() / "left");
    other.write("much more than there will be");
    other.commit();
  }
  fs::rename(folder.path() / "left", temporary);
  write_file(path, "mine");
  EXPECT_EQ(read_text_file(path), "mine");
  EXPECT_FALSE(fs::exists(temporary));
}

TEST_F(TemporaryFiles, OneThatIsWrittenIsNotTaken) {
  AtomicFile first(path);
  first.write("first");
  EXPECT_THROW(AtomicFile{path}, Error);
  first.commit();
  EXPECT_EQ(read_text_file(path), "first");
}

TEST_F(TemporaryFiles, AccessIsNarrowFromTheBeginning) {
  const mode_t umask_before = ::umask(0);
  {
    TemporaryFile file(path, {.access = FileAccess{0640, {}}});
    EXPECT_EQ(mode_of(temporary), 0600u);
    file.put_in_place();
  }
  EXPECT_EQ(mode_of(path), 0640u);
  ::umask(umask_before);
}

TEST_F(TemporaryFiles, AFileIsReplacedOnlyWhereThatIsAllowed) {
  write_file(path, "old");
  {
    TemporaryFile file(path, {.replace = false});
    EXPECT_THROW(file.put_in_place(), Error);
  }
  EXPECT_EQ(read_text_file(path), "old");
  EXPECT_FALSE(fs::exists(temporary));
  TemporaryFile file(path);
  file.write(as_byte_span("new"));
  file.put_in_place();
  EXPECT_EQ(read_text_file(path), "new");
}

TEST(FileAccesses, WhatBothAllow) {
  const FileAccess both = shared_access({0640, 4}, {0604, 4});
  EXPECT_EQ(both.mode, 0600u);
  EXPECT_EQ(both.group, 4u);
  // Members of one group are not those of another.
  const FileAccess groups = shared_access({0664, 4}, {0664, 5});
  EXPECT_EQ(groups.mode, 0644u);
  EXPECT_FALSE(groups.group);
}

}  // namespace
}  // namespace laconic
