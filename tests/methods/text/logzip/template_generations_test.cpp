// Templates of blocks join the table at the end of a generation, for writers and readers alike.
#include "methods/text/logzip/template_generations.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "methods/text/logzip/generation_tables.h"
#include "methods/text/logzip/template_history.h"

namespace laconic::logzip {
namespace {

// Every second block finds what the one before it found.
std::vector<Template> added_by(std::uint64_t block) {
  return {Template("Pkind " + std::to_string(block / 2) + "\n")};
}

TEST(TemplateGenerations, AdditionsJoinAtTheEndOfAGenerationInTheOrderOfBlocks) {
  GenerationTables tables(1);
  for (std::uint64_t block = 0; block < 2 * generation_blocks; ++block) {
    const GenerationTables::Start start = tables.start_of(block);
    EXPECT_EQ(start.known->table().size(), block < generation_blocks ? 2u : 2 + generation_blocks / 2);
    EXPECT_EQ(start.before, 2u);
    // In any order within a generation.
    const std::uint64_t other = block ^ 5u;
    tables.publish(other, added_by(other));
  }
  const GenerationTables::Start last = tables.start_of(2 * generation_blocks);
  EXPECT_EQ(last.before, 2 + generation_blocks / 2);
  EXPECT_EQ(last.known->table().size(), 2 + generation_blocks);
  EXPECT_EQ(last.known->table().find("Pkind 0\n"), 2u);
  EXPECT_EQ(last.known->table().find("Pkind 7\n"), 9u);
}

// The first block of a generation repeats what the one before added, also where that is nothing: other blocks
// may then be lost.
TEST(TemplateGenerations, ReadersTakeEitherTheRepetitionOrTheBlocks) {
  bool repeated = true, blocks = true;
  const auto read = [&](std::uint64_t number, BlockPart part) -> std::optional<std::vector<Template>> {
    std::vector<Template> all;
    if (part == BlockPart::templates) {
      if (!blocks) return std::nullopt;
      return number < generation_blocks ? added_by(number) : all;
    }
    if (!repeated) return std::nullopt;
    for (std::uint64_t i = 0; number == generation_blocks && i < generation_blocks; ++i)
      all.push_back(added_by(i).front());
    return all;
  };
  for (int turn = 0; turn < 3; ++turn) {
    repeated = turn != 1;
    blocks = turn != 2;
    TemplateHistory history(1, read);
    EXPECT_EQ(history.start_of(7)->size(), 2u);
    EXPECT_EQ(history.start_of(8)->size(), 6u);
    EXPECT_EQ(history.start_of(30)->size(), 6u);
    EXPECT_EQ(history.start_of(30)->find("Pkind 3\n"), 5u);
  }
  repeated = blocks = false;
  TemplateHistory history(1, read);
  EXPECT_EQ(history.start_of(7)->size(), 2u);
  EXPECT_THROW(history.start_of(8), Error);
}

}  // namespace
}  // namespace laconic::logzip
