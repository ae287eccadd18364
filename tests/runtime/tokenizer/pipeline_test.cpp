// The parts of tokenizer.json's pipeline, one by one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "runtime/tokenizer/post_processor.h"
#include "runtime/tokenizer/pre_tokenizer.h"
#include "runtime/tokenizer/text_normalizer.h"
#include "runtime/tokenizer/token_decoder.h"
#include "small_files.h"

namespace laconic {
namespace {

using small::Json;
using small::mark;
using testing::ElementsAre;

const std::string e_acute = "\xC3\xA9", acute = "\xCC\x81";  // U+00E9, U+0301

std::string normal(const Json& rule, std::string_view text) {
  return TextNormalizer(rule, "test").apply(text);
}
std::string normal(const char* type, std::string_view text) { return normal(Json{{"type", type}}, text); }

TEST(Normalizers, UnicodeForms) {
  EXPECT_EQ(normal("NFC", "e" + acute), e_acute);
  EXPECT_EQ(normal("NFD", e_acute), "e" + acute);
  EXPECT_EQ(normal("NFC", "\xEF\xAC\x81"), "\xEF\xAC\x81");  // the ligature fi stays
  EXPECT_EQ(normal("NFKC",
                   "\xEF\xAC\x81\xE2\x91\xA0"
                   "e" +
                       acute),
            "fi1" + e_acute);
  EXPECT_EQ(normal("NFKD", "\xEF\xAC\x81" + e_acute), "fie" + acute);
}

TEST(Normalizers, CaseSpaceAndAccents) {
  EXPECT_EQ(normal("Lowercase",
                   "\xC3\x80"
                   "B\xC4\xB0"),
            "\xC3\xA0"
            "bi\xCC\x87");  // dotted I is two characters
  EXPECT_EQ(normal("Strip", " \t\xC2\xA0 a b\n\xE3\x80\x80"), "a b");
  EXPECT_EQ(normal({{"type", "Strip"}, {"strip_left", false}}, " a "), " a");
  EXPECT_EQ(normal("StripAccents", "e" + acute + e_acute), "e" + e_acute);
  EXPECT_EQ(normal("Nmt",
                   "a\x01\xE2\x80\x8B"
                   "b\tc\x7F"),
            "a b c");
  EXPECT_EQ(normal("BertNormalizer", "H\xC3\xA9\x01\t\xE4\xB8\xAD"), "he  \xE4\xB8\xAD ");
  EXPECT_EQ(normal({{"type", "BertNormalizer"}, {"lowercase", false}, {"handle_chinese_chars", false}},
                   "H\xC3\xA9\xE4\xB8\xAD"),
            "H\xC3\xA9\xE4\xB8\xAD");
}

TEST(Normalizers, ReplacePrependAndSequence) {
  EXPECT_EQ(normal({{"type", "Replace"}, {"pattern", {{"String", "aa"}}}, {"content", "b"}}, "aaaa a"),
            "bb a");
  EXPECT_EQ(normal({{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", "_"}}, "a   b c"),
            "a_b c");
  EXPECT_EQ(normal({{"type", "Prepend"}, {"prepend", mark}}, "a"), mark + "a");
  EXPECT_EQ(normal({{"type", "Prepend"}, {"prepend", mark}}, ""), "");
  EXPECT_EQ(normal("ByteLevel", " a"),
            "\xC4\xA0"
            "a");
  EXPECT_EQ(normal({{"type", "Sequence"}, {"normalizers", {{{"type", "NFD"}}, {{"type", "StripAccents"}}}}},
                   e_acute),
            "e");
}

TEST(Normalizers, PrecompiledMap) {
  const std::string map =
      small::character_map({{"\xEF\xAC\x81", "fi"}, {"A", "a"}, {"\xC2\xA0", " "}, {"\x01", ""}});
  const Json rule = {{"type", "Precompiled"}, {"precompiled_charsmap", small::base64(map)}};
  EXPECT_EQ(normal(rule,
                   "xA\xEF\xAC\x81\xC2\xA0"
                   "B\x01" +
                       e_acute),
            "xafi B" + e_acute);
  for (const std::string& damaged : {map.substr(0, 2), map.substr(0, 40), map.substr(0, map.size() - 1)}) {
    EXPECT_THROW(normal({{"type", "Precompiled"}, {"precompiled_charsmap", small::base64(damaged)}}, "a"),
                 Error);
  }
  EXPECT_THROW(normal({{"type", "Precompiled"}, {"precompiled_charsmap", "*"}}, "a"), Error);
}

std::vector<std::string> words(const Json& rule, std::string_view text, bool at_start = true) {
  std::vector<std::string> result;
  for (const Word& word : PreTokenizer(rule, "test").split(text, at_start)) result.push_back(word.text);
  return result;
}

TEST(PreTokenizers, ByteLevelCutsLikeGpt2) {
  const Json rule = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  const std::string space = "\xC4\xA0", newline = "\xC4\x8A";
  EXPECT_THAT(words(rule, "I'll  go, 12th\n"),
              ElementsAre("I", "'ll", space, space + "go", ",", space + "12", "th", newline));
  EXPECT_THAT(words({{"type", "ByteLevel"}, {"add_prefix_space", true}, {"use_regex", false}}, "a b"),
              ElementsAre(space + "a" + space + "b"));
}

TEST(PreTokenizers, SplitAndItsBehaviours) {
  const auto split = [](const char* behavior) {
    return words({{"type", "Split"}, {"pattern", {{"String", "-"}}}, {"behavior", behavior}}, "a--b-c");
  };
  EXPECT_THAT(split("Removed"), ElementsAre("a", "b", "c"));
  EXPECT_THAT(split("Isolated"), ElementsAre("a", "-", "-", "b", "-", "c"));
  EXPECT_THAT(split("MergedWithPrevious"), ElementsAre("a-", "-", "b-", "c"));
  EXPECT_THAT(split("MergedWithNext"), ElementsAre("a", "-", "-b", "-c"));
  EXPECT_THAT(split("Contiguous"), ElementsAre("a", "--", "b", "-", "c"));
  EXPECT_THAT(
      words({{"type", "Split"}, {"pattern", {{"Regex", "\\d{1,3}"}}}, {"behavior", "Isolated"}}, "a1234"),
      ElementsAre("a", "123", "4"));
  EXPECT_THAT(
      words(
          {{"type", "Split"}, {"pattern", {{"Regex", "[a-z]+"}}}, {"behavior", "Removed"}, {"invert", true}},
          "ab-c"),
      ElementsAre("ab", "c"));
  EXPECT_THROW(split("Sideways"), Error);
}

TEST(PreTokenizers, WordsDigitsAndPunctuation) {
  EXPECT_THAT(words({{"type", "Whitespace"}}, "a_b, c!? \xC3\xA9"),
              ElementsAre("a_b", ",", "c", "!?", e_acute));
  EXPECT_THAT(words({{"type", "WhitespaceSplit"}}, " a,b \n c"), ElementsAre("a,b", "c"));
  EXPECT_THAT(words({{"type", "Digits"}}, "a12b"), ElementsAre("a", "12", "b"));
  EXPECT_THAT(words({{"type", "Digits"}, {"individual_digits", true}}, "a12b"),
              ElementsAre("a", "1", "2", "b"));
  EXPECT_THAT(words({{"type", "Punctuation"}}, "a,!b"), ElementsAre("a", ",", "!", "b"));
  EXPECT_THAT(words({{"type", "Punctuation"}, {"behavior", "Contiguous"}}, "a,!b"),
              ElementsAre("a", ",!", "b"));
  EXPECT_THAT(words({{"type", "BertPreTokenizer"}}, "a b,c"), ElementsAre("a", "b", ",", "c"));
  EXPECT_THAT(words({{"type", "CharDelimiterSplit"}, {"delimiter", "|"}}, "a|b||c"),
              ElementsAre("a", "b", "c"));
  EXPECT_THAT(words({{"type", "UnicodeScripts"}}, "ab\xD0\xB0 c"), ElementsAre("ab", "\xD0\xB0 ", "c"));
  EXPECT_THAT(words({{"type", "FixedLength"}, {"length", 2}}, "a" + e_acute + "b"),
              ElementsAre("a" + e_acute, "b"));
}

TEST(PreTokenizers, MetaspaceInBothSpellings) {
  const auto scheme = [](const char* name, std::string_view text, bool at_start) {
    return words({{"type", "Metaspace"}, {"prepend_scheme", name}}, text, at_start);
  };
  EXPECT_THAT(scheme("always", "a b", true), ElementsAre(mark + "a", mark + "b"));
  EXPECT_THAT(scheme("always", "a b", false), ElementsAre(mark + "a", mark + "b"));
  EXPECT_THAT(scheme("first", "a b", true), ElementsAre(mark + "a", mark + "b"));
  EXPECT_THAT(scheme("first", "a b", false), ElementsAre("a", mark + "b"));
  EXPECT_THAT(scheme("never", "a b", true), ElementsAre("a", mark + "b"));
  EXPECT_THAT(words({{"type", "Metaspace"}, {"add_prefix_space", false}}, "a b"),
              ElementsAre("a", mark + "b"));
  EXPECT_THAT(words({{"type", "Metaspace"}, {"add_prefix_space", true}, {"split", false}}, "a b"),
              ElementsAre(mark + "a" + mark + "b"));
  EXPECT_THROW(scheme("sometimes", "a", true), Error);
}

TEST(PreTokenizers, SequenceRefinesWords) {
  EXPECT_THAT(words({{"type", "Sequence"},
                     {"pretokenizers",
                      {{{"type", "WhitespaceSplit"}}, {{"type", "Digits"}, {"individual_digits", true}}}}},
                    "ab 12"),
              ElementsAre("ab", "1", "2"));
  EXPECT_THAT(words(nullptr, "a b"), ElementsAre("a b"));
}

std::string decoded(const Json& rule, std::vector<std::string> pieces) {
  return TokenDecoder(rule, "test").decode(std::move(pieces));
}

TEST(Decoders, EachKind) {
  EXPECT_EQ(decoded(nullptr, {"a", "b"}), "a b");
  EXPECT_EQ(decoded({{"type", "ByteLevel"}}, {"\xC4\xA0"
                                              "a",
                                              "\xC3\x83", "\xC2\xA9"}),
            " a" + e_acute);
  EXPECT_EQ(decoded({{"type", "ByteFallback"}}, {"a", "<0xC3>", "<0xA9>", "<0xC3>", "b"}),
            "a\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(decoded({{"type", "ByteFallback"}}, {"<0xC3>", "<0xA9>", "b"}), e_acute + "b");
  EXPECT_EQ(decoded({{"type", "Metaspace"}}, {mark + "a", mark + "b"}), "a b");
  EXPECT_EQ(decoded({{"type", "Metaspace"}, {"prepend_scheme", "never"}}, {mark + "a", mark + "b"}), " a b");
  EXPECT_EQ(decoded({{"type", "BPEDecoder"}}, {"a", "b</w>", "c</w>"}), "ab c");
  EXPECT_EQ(decoded({{"type", "Strip"}, {"content", "_"}, {"start", 1}, {"stop", 1}}, {"__a_", "_b"}), "_ab");
  EXPECT_EQ(decoded({{"type", "Replace"}, {"pattern", {{"String", "_"}}}, {"content", " "}}, {"_a", "b_"}),
            " ab ");
  EXPECT_EQ(decoded({{"type", "Sequence"},
                     {"decoders", {{{"type", "Fuse"}}, {{"type", "Strip"}, {"content", "a"}, {"start", 1}}}}},
                    {"a", "a", "b"}),
            "ab");
}

TEST(PostProcessors, PutSpecialTokensAround) {
  const auto around = [](const Json& rule) { return PostProcessor(rule, "test").apply({7}); };
  EXPECT_THAT(around({{"type", "BertProcessing"}, {"sep", {"[SEP]", 102}}, {"cls", {"[CLS]", 101}}}),
              ElementsAre(101, 7, 102));
  EXPECT_THAT(around({{"type", "ByteLevel"}}), ElementsAre(7));
  EXPECT_THAT(around(nullptr), ElementsAre(7));
  const Json text = {{"Sequence", {{"id", "A"}}}}, token = {{"SpecialToken", {{"id", "<x>"}}}};
  const Json tokens = {{"<x>", {{"ids", {3, 4}}}}};
  EXPECT_THAT(around({{"type", "TemplateProcessing"}, {"single", {text, token}}, {"special_tokens", tokens}}),
              ElementsAre(7, 3, 4));
  EXPECT_THAT(
      around({{"type", "Sequence"},
              {"processors",
               {{{"type", "ByteLevel"}},
                {{"type", "TemplateProcessing"}, {"single", {token, text}}, {"special_tokens", tokens}}}}}),
      ElementsAre(3, 4, 7));
  EXPECT_THROW(around({{"type", "TemplateProcessing"}, {"single", {token}}, {"special_tokens", tokens}}),
               Error);
  EXPECT_THROW(around({{"type", "BertProcessing"}, {"sep", {"[SEP]"}}, {"cls", {"[CLS]", 101}}}), Error);
  EXPECT_THROW(around({{"type", "BertProcessing"}, {"sep", {"[SEP]", -1}}, {"cls", {"[CLS]", 101}}}), Error);
}

}  // namespace
}  // namespace laconic
