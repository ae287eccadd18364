// laconic bench mixed-length: plans of a drawn batch and of a file, and lengths that are refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "command.h"
#include "engine/base/scratch_folder.h"
#include "methods/gradients/bytescale/plan.h"

namespace laconic {
namespace {

using testing::HasSubstr;

class MixedLength : public testing::Test {
 protected:
  CommandResult run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"bench", "mixed-length"});
    return Command(folder_.path(), arguments).finish();
  }
  std::string file(const char* name) const { return (folder_.path() / name).string(); }
  ScratchFolder folder_{"mixed-length"};
};

TEST_F(MixedLength, ComparesPlansOfADrawnBatch) {
  const CommandResult shown = run({"--ranks", "32", "--longest", "131072", "--batch-tokens", "2000000",
                                   "--lengths", "long-text", "--json", "--output", file("plan.bin")});
  ASSERT_EQ(shown.code, 0) << shown.err;
  const nlohmann::json value = nlohmann::json::parse(shown.out);
  double fixed = 0, balanced = 0;
  for (const nlohmann::json& plan : value.at("plans")) {
    if (plan.at("plan") == "static") fixed = plan.at("seconds");
    if (plan.at("plan") == "balanced") balanced = plan.at("seconds");
  }
  EXPECT_GT(fixed, balanced);
  const bytescale::Plan plan = bytescale::decode_plan(read_file(file("plan.bin")));
  EXPECT_EQ(plan.ranks, 32u);
}

TEST_F(MixedLength, ReadsLengthsFromAFile) {
  write_file(file("lengths.txt"), std::string_view("100\n5000\r\n\n20000\n"));
  const CommandResult shown = run({"--ranks", "4", "--lengths", file("lengths.txt")});
  ASSERT_EQ(shown.code, 0) << shown.err;
  EXPECT_THAT(shown.out, HasSubstr("3 sequences, 25100 tokens"));
}

TEST_F(MixedLength, NamesWhatIsWrong) {
  write_file(file("word.txt"), std::string_view("100\ntwo\n"));
  const CommandResult word = run({"--lengths", file("word.txt")});
  EXPECT_EQ(word.code, 2);
  EXPECT_THAT(word.err, HasSubstr("word.txt:2"));
  write_file(file("zero.txt"), std::string_view("100\n0\n"));
  EXPECT_THAT(run({"--lengths", file("zero.txt")}).err, HasSubstr("sequence 1 has no tokens"));
  write_file(file("long.txt"), std::string_view("4000000000\n"));
  EXPECT_EQ(run({"--lengths", file("long.txt"), "--ranks", "4"}).code, 2);
  EXPECT_THAT(run({"--lengths", "nothing"}).err, HasSubstr("github-like"));
}

}  // namespace
}  // namespace laconic
