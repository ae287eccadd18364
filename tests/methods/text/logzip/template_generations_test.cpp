#include "methods/text/logzip/template_generations.h"

#include <gtest/gtest.h>

#include "methods/text/logzip/block_codec.h"
#include "methods/text/logzip/format_detection.h"
#include "tests/methods/text/logzip/example_logs.h"

namespace laconic::logzip {
namespace {

TEST(TemplateGenerations, AdditionsJoinAtTheEndOfAGenerationInTheOrderOfBlocks) {
  EncodingGenerations encoding(1);
  DecodingGenerations decoding(1);
  for (std::uint64_t block = 0; block < 2 * generation_blocks; ++block) {
    EXPECT_EQ(encoding.known().table().size(), block < generation_blocks ? 2u : 2 + generation_blocks / 2);
    // Every second block finds what the one before it found.
    const std::vector<Template> fresh{Template("Pkind " + std::to_string(block / 2) + "\n")};
    encoding.add(fresh);
    decoding.add(fresh);
  }
  EXPECT_EQ(encoding.known().table().find("Pkind 0\n"), 2u);
  EXPECT_EQ(encoding.known().table().find("Pkind 7\n"), 9u);
  EXPECT_EQ(decoding.known_to(0).size(), 2u);
  EXPECT_EQ(decoding.known_to(generation_blocks - 1).size(), 2u);
  EXPECT_EQ(decoding.known_to(generation_blocks).size(), 2 + generation_blocks / 2);
  EXPECT_EQ(decoding.known_to(2 * generation_blocks).size(), 2 + generation_blocks);
  EXPECT_EQ(decoding.known_to(2 * generation_blocks).back().text, "Pkind 7\n");
}

TEST(TemplateGenerations, BlocksOfManyGenerationsComeBack) {
  const HeaderFormat format = detect_format(example_log(300));
  EncodingGenerations encoding(template_segments(format));
  std::vector<CodedBlock> blocks;
  std::size_t first_templates = 0, last_templates = 0;
  BlockOptions options;
  options.mode = LogMode::fast;
  for (std::uint64_t block = 0; block < 18; ++block) {
    blocks.push_back(encode_block(example_log(120, block), format, encoding.known(), options));
    encoding.add(blocks.back().fresh);
    (block < generation_blocks ? first_templates : last_templates) += blocks.back().fresh.size();
  }
  EXPECT_GT(first_templates, 8 * last_templates);
  DecodingGenerations decoding(template_segments(format));
  std::vector<std::vector<Template>> fresh;
  for (const CodedBlock& block : blocks) {
    fresh.push_back(decode_templates(block.part_0, template_segments(format), "block"));
    decoding.add(fresh.back());
  }
  for (std::uint64_t block = 0; block < blocks.size(); ++block) {
    BlockReader reader(blocks[block].part_0, blocks[block].part_1, format, decoding.known_to(block),
                       fresh[block], "block");
    EXPECT_EQ(reader.text(), example_log(120, block)) << block;
  }
}

}  // namespace
}  // namespace laconic::logzip
