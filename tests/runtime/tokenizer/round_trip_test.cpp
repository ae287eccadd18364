// Decoding an encoding gives the text back, for every kind of tokenizer whose normaliser changes nothing; its
// tokens one by one give the same text; ids lie inside the vocabulary.
#include <gtest/gtest.h>

#include <functional>

#include "engine/base/random.h"
#include "runtime/tokenizer/sentencepiece.h"
#include "runtime/tokenizer/tiktoken.h"
#include "runtime/tokenizer/tokenizer_json.h"
#include "small_files.h"

namespace laconic {
namespace {

// Words, runs of white space, marks that combine, emoji with joiners, and any other character.
std::string random_text(std::uint64_t seed) {
  RandomStream random(seed, "test text", "round trip");
  static const std::vector<std::string> parts = {"hello",
                                                 " world",
                                                 "hi",
                                                 "ab",
                                                 "abc",
                                                 "<",
                                                 ">",
                                                 " ",
                                                 "  ",
                                                 "\n",
                                                 "\r\n",
                                                 "\t",
                                                 "'s",
                                                 "12345",
                                                 "\xC3\xA9",
                                                 "e\xCC\x81\xCC\xA3",
                                                 "\xE4\xB8\xAD\xE6\x96\x87",
                                                 "\xD8\xA7\xD9\x84",
                                                 "\xC2\xA0",
                                                 "\xE3\x80\x80",
                                                 "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB",
                                                 "\xEF\xBF\xBD",
                                                 "_",
                                                 ".",
                                                 "?!",
                                                 std::string(1, '\0')};
  std::string text;
  for (std::uint32_t count = random.below(12); count > 0; --count) {
    if (random.below(4) > 0) {
      text += parts[random.below(static_cast<std::uint32_t>(parts.size()))];
      continue;
    }
    char32_t character = random.below(random.below(2) == 0 ? 0x3000 : 0x110000);
    if (character >= 0xD800 && character < 0xE000) character = 'x';
    if (character == 0x2581) character = 'y';  // stands for a space
    text += small::utf8(character);
  }
  return text;
}

void expect_round_trips(const Tokenizer& tokenizer, bool first_token_differs) {
  for (std::uint64_t seed = 0; seed < 3000; ++seed) {
    const std::string text = random_text(seed);
    const std::vector<std::int32_t> ids = tokenizer.encode(text, false);
    ASSERT_EQ(tokenizer.decode(ids), text) << "seed " << seed;
    std::string bytes;
    for (const std::int32_t id : ids) {
      ASSERT_GE(id, 0);
      ASSERT_LT(id, tokenizer.size());
      bytes += tokenizer.token_bytes(id);
    }
    // In front of the first token stands a space that only whole texts lose.
    if (first_token_differs && !text.empty()) {
      ASSERT_EQ(bytes, " " + text) << "seed " << seed;
    } else {
      ASSERT_EQ(bytes, text) << "seed " << seed;
    }
  }
}

TEST(RoundTrip, ByteLevelBpe) {
  expect_round_trips(*json_tokenizer(small::byte_level_bpe(true).dump(), {}, "test"), false);
}
TEST(RoundTrip, ByteFallbackBpe) {
  expect_round_trips(*json_tokenizer(small::byte_fallback_bpe(false).dump(), {}, "test"), true);
}
TEST(RoundTrip, UnigramWithBytes) {
  expect_round_trips(*json_tokenizer(small::unigram(true, "never").dump(), {}, "test"), false);
}
TEST(RoundTrip, Tiktoken) { expect_round_trips(*tiktoken_tokenizer(small::tiktoken(), {}, "test"), false); }

TEST(RoundTrip, SentencePieceOfBothKinds) {
  for (const int kind : {1, 2}) {
    small::SentencePieceFile file;
    file.model_type = kind;
    file.remove_extra_spaces = false;
    float score = -1;
    for (const std::string& piece :
         {std::string("ab"), std::string("abc"), std::string("hi"), small::mark, std::string("a"),
          std::string("b"), std::string("c"), std::string("h"), std::string("i")}) {
      file.pieces.push_back({piece, score--, 1});
    }
    file.add_bytes();
    const std::string bytes = file.text();
    expect_round_trips(
        *sentencepiece_tokenizer(SentencePieceModel::parse(as_byte_span(bytes), "test"), {}, "test"), true);
  }
}

TEST(RoundTrip, BytesThatAreNotUtf8BecomeReplacementCharacters) {
  const std::string bad = "\xEF\xBF\xBD";
  for (const auto& tokenizer : {json_tokenizer(small::byte_level_bpe(true).dump(), {}, "test").release(),
                                tiktoken_tokenizer(small::tiktoken(), {}, "test").release()}) {
    const std::unique_ptr<Tokenizer> owned(tokenizer);
    EXPECT_EQ(owned->decode(owned->encode("a\xFFz\xC3", false)), "a" + bad + "z" + bad);
  }
}

}  // namespace
}  // namespace laconic
