#include "runtime/tokenizer/tiktoken.h"

#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "small_files.h"

namespace laconic {
namespace {

using Ids = std::vector<std::int32_t>;

TEST(Tiktoken, WholeWordsThenTheLowestRank) {
  const std::string file = small::tiktoken();
  ASSERT_TRUE(is_tiktoken_text(file));
  const auto tokenizer = tiktoken_tokenizer(file, {}, "test");
  EXPECT_EQ(tokenizer->size(), 262 + 256);
  EXPECT_EQ(tokenizer->encode("hello", false), (Ids{259}));
  EXPECT_EQ(tokenizer->encode("hello", true), (Ids{262, 259}));
  EXPECT_EQ(tokenizer->encode("hell wo", false), (Ids{258, 260, 'o'}));
  EXPECT_EQ(tokenizer->encode("ll12345", false),
            (Ids{257, 261, '3', '4', '5'}));  // digits in threes: 123, 45
  EXPECT_EQ(tokenizer->encode("\xC3\xA9", false), (Ids{0xC3, 0xA9}));
  EXPECT_EQ(tokenizer->encode("he<|eot_id|>", false), (Ids{256, 262 + 9}));
  EXPECT_EQ(tokenizer->decode(Ids{262, 259, 260, 262 + 9}, true), "hello w");
  EXPECT_EQ(tokenizer->decode(Ids{262, 256}), "<|begin_of_text|>he");
  EXPECT_EQ(tokenizer->bos(), 262);
  EXPECT_EQ(tokenizer->eos(), 263);
  EXPECT_EQ(tokenizer->id_of("<|start_header_id|>"), 262 + 6);
  EXPECT_TRUE(tokenizer->is_special(262 + 255));
  TokenizerSettings settings;
  settings.apply_tokenizer_config(R"({"eos_token": "<|eot_id|>", "added_tokens_decoder":
      {"264": {"content": "<|mine|>", "special": true}}})",
                                  "test");
  const auto renamed = tiktoken_tokenizer(file, settings, "test");
  EXPECT_EQ(renamed->encode("<|mine|>", false), (Ids{264}));
  EXPECT_EQ(renamed->eos(), 262 + 9);
}

TEST(Tiktoken, RefusesDamage) {
  const std::string file = small::tiktoken();
  const auto refused = [](const std::string& text) {
    try {
      tiktoken_tokenizer(text, {}, "test");
      ADD_FAILURE() << text.substr(0, 60);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::corrupt) << error.what();
    }
  };
  refused("");
  refused(file.substr(0, 100));  // bytes without a rank
  refused(file.substr(5));       // does not begin with rank 0
  refused(file + "aGU= 262\n");  // he again
  refused(file + "aGVs 999\n");  // a rank that does not follow
  refused(file + "aGVs\n");      // no rank
  refused(file + "a*Vs 262\n");  // not base64
  refused(file + small::base64(std::string(5000, 'x')) + " 262\n");
  EXPECT_FALSE(is_tiktoken_text("\n\x0E\n\x05<unk>"));
  EXPECT_FALSE(is_tiktoken_text("hello world"));
  EXPECT_FALSE(is_tiktoken_text(""));
}

}  // namespace
}  // namespace laconic
