// Small tokenizer.json files; the expected ids are worked out by hand from the lists of pieces in
// small_files.h.
#include <gtest/gtest.h>

#include <functional>

#include "engine/base/error.h"
#include "runtime/tokenizer/tokenizer_json.h"
#include "small_files.h"

namespace laconic {
namespace {

using Ids = std::vector<std::int32_t>;
using small::Json;
using small::mark;

std::unique_ptr<Tokenizer> made(const Json& file, const TokenizerSettings& settings = {}) {
  return json_tokenizer(file.dump(), settings, "test");
}

TEST(ByteLevelBpe, MergesByRankInsideWords) {
  for (const bool pairs : {false, true}) {
    const auto tokenizer = made(small::byte_level_bpe(pairs));
    EXPECT_EQ(tokenizer->size(), 265);
    EXPECT_EQ(tokenizer->encode("hello world", false), (Ids{259, 261, 263}));
    EXPECT_EQ(tokenizer->encode("hell", false), (Ids{258}));
    EXPECT_EQ(tokenizer->encode("helo", false), (Ids{256, 'l', 'o'}));
    EXPECT_EQ(tokenizer->encode("lll", false), (Ids{257, 'l'}));  // the leftmost of equals
    EXPECT_EQ(tokenizer->encode("llll", false), (Ids{257, 257}));
    EXPECT_EQ(tokenizer->encode("\xC3\xA9\n", false), (Ids{0xC3, 0xA9, '\n'}));
    EXPECT_EQ(tokenizer->encode("world", false), (Ids{'w', 'o', 263}));  // no space before it
    EXPECT_EQ(tokenizer->encode("hello<|end|>hello", false), (Ids{259, 264, 259}));
    EXPECT_EQ(tokenizer->encode("", true), Ids{});
    EXPECT_EQ(tokenizer->decode(Ids{259, 264, 260, 261, 0xC3, 0xA9}), "hello<|end|> w wo\xC3\xA9");
    EXPECT_EQ(tokenizer->decode(Ids{259, 264, 260}, true), "hello w");
    EXPECT_EQ(tokenizer->decode(Ids{'a', 0xC3, 'b'}),
              "a\xEF\xBF\xBD"
              "b");
    EXPECT_EQ(tokenizer->token_bytes(261), " wo");
    EXPECT_EQ(tokenizer->token_bytes(0xC3), "\xC3");
    EXPECT_TRUE(tokenizer->is_special(264));
    EXPECT_FALSE(tokenizer->is_special(259));
    EXPECT_EQ(tokenizer->id_of("hello"), 259);
    EXPECT_EQ(tokenizer->id_of("<|end|>"), 264);
  }
}

TEST(ByteLevelBpe, PrefixSpaceAndWholeWords) {
  Json file = small::byte_level_bpe(false);
  file["pre_tokenizer"]["add_prefix_space"] = true;
  EXPECT_EQ(made(file)->encode("world", false), (Ids{261, 263}));
  // A word that is in the vocabulary but that no merges lead to.
  file = small::byte_level_bpe(false);
  file["model"]["vocab"]["lo"] = 264;
  file["added_tokens"][0]["id"] = 265;
  EXPECT_EQ(made(file)->encode("lo", false), (Ids{'l', 'o'}));
  file["model"]["ignore_merges"] = true;
  EXPECT_EQ(made(file)->encode("lo", false), (Ids{264}));
  EXPECT_EQ(made(file)->encode("hello lo", false), (Ids{259, ' ', 'l', 'o'}));
}

TEST(ByteFallbackBpe, UnknownCharactersBecomeBytes) {
  for (const bool pairs : {false, true}) {
    const auto tokenizer = made(small::byte_fallback_bpe(pairs));
    EXPECT_EQ(tokenizer->encode("hi", false), (Ids{263}));
    EXPECT_EQ(tokenizer->encode("hi", true), (Ids{1, 263}));
    EXPECT_EQ(tokenizer->encode("hi \xC3\xA9", false), (Ids{263, 259, 3 + 0xC3, 3 + 0xA9}));
    EXPECT_EQ(tokenizer->encode("ihi", false), (Ids{259, 261, 262}));
    EXPECT_EQ(tokenizer->encode("</s>hi", false), (Ids{2, 263}));
    EXPECT_EQ(tokenizer->decode(Ids{1, 263, 259, 3 + 0xC3, 3 + 0xA9}, true), "hi \xC3\xA9");
    EXPECT_EQ(tokenizer->decode(Ids{263, 3 + 0xC3}), "hi\xEF\xBF\xBD");
    EXPECT_EQ(tokenizer->token_bytes(3 + 0xC3), "\xC3");
    EXPECT_EQ(tokenizer->token_bytes(263), " hi");
    EXPECT_EQ(tokenizer->bos(), 1);
    EXPECT_EQ(tokenizer->eos(), 2);
  }
}

TEST(ByteFallbackBpe, WithoutBytesRunsAreOneUnknownPiece) {
  Json file = small::byte_fallback_bpe(true);
  file["model"]["byte_fallback"] = false;
  EXPECT_EQ(made(file)->encode("hixyz", false), (Ids{263, 0}));
  file["model"]["fuse_unk"] = false;
  EXPECT_EQ(made(file)->encode("hixyz", false), (Ids{263, 0, 0, 0}));
  file["model"].erase("unk_token");
  EXPECT_EQ(made(file)->encode("hixyz", false), (Ids{263}));
}

TEST(ByteFallbackBpe, PrefixAndSuffixOfPieces) {
  const Json file = {
      {"model",
       {{"type", "BPE"},
        {"continuing_subword_prefix", "##"},
        {"end_of_word_suffix", "</w>"},
        {"vocab", {{"a", 0}, {"##b", 1}, {"ab", 2}, {"##c</w>", 3}, {"abc</w>", 4}, {"a</w>", 5}}},
        {"merges", Json::array({"a ##b", "ab ##c</w>"})}}}};
  EXPECT_EQ(made(file)->encode("abc", false), (Ids{4}));
  EXPECT_EQ(made(file)->encode("a", false), (Ids{5}));
}

// Merging long texts in parts must give what merging them whole gives.
TEST(ByteFallbackBpe, LongWordsMergeAsShortOnesDo) {
  Json file = small::byte_fallback_bpe(true);
  file["model"]["vocab"].update({{"ih", 264}, {"hih", 265}, {"hihi", 266}});
  file["model"]["merges"] =
      Json::array({Json::array({"i", "h"}), Json::array({"h", "ih"}), Json::array({"h", "i"}),
                   Json::array({"hi", "hi"}), Json::array({mark, "hi"})});
  const auto tokenizer = made(file);
  // i+h comes first, from the left: h (ih) -> hih; then i.
  EXPECT_EQ(tokenizer->encode("hihi", false), (Ids{259, 265, 261}));
  // Bytes of unknown characters stand between and join with nothing.
  EXPECT_EQ(tokenizer->encode("hi\xC3\xA9hi", false), (Ids{263, 3 + 0xC3, 3 + 0xA9, 262}));
  // A merge of two byte pieces is a merge like any other.
  file["model"]["vocab"]["<0xC3><0xA9>"] = 267;
  file["model"]["merges"].push_back(Json::array({"<0xC3>", "<0xA9>"}));
  EXPECT_EQ(made(file)->encode("hi\xC3\xA9hi", false), (Ids{263, 267, 262}));
}

TEST(Settings, DecideOverTheFile) {
  TokenizerSettings settings;
  settings.apply_tokenizer_config(
      R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "add_bos_token": true, "add_eos_token": true,
          "added_tokens_decoder": {"300": {"content": "<new>", "special": true}}})",
      "test");
  const auto tokenizer = made(small::byte_fallback_bpe(true), settings);
  EXPECT_EQ(tokenizer->encode("hi", true), (Ids{1, 263, 2}));
  EXPECT_EQ(tokenizer->encode("hi<new>", false), (Ids{263, 300}));
  EXPECT_EQ(tokenizer->size(), 301);
  EXPECT_THROW(settings.apply_tokenizer_config("[]", "test"), Error);
  EXPECT_THROW(
      settings.apply_tokenizer_config(R"({"added_tokens_decoder": {"x": {"content": "a"}}})", "test"), Error);
}

TEST(Unigram, TakesTheBestSumOfScores) {
  const auto tokenizer = made(small::unigram(false, "always"));
  EXPECT_EQ(tokenizer->encode("ab", false), (Ids{6}));  // -3.2 against -4 and -4.25
  EXPECT_EQ(tokenizer->encode("ab ba", false), (Ids{6, 1, 3, 2}));
  EXPECT_EQ(tokenizer->encode("aab", false), (Ids{5, 4}));   // -4.75 against -5
  EXPECT_EQ(tokenizer->encode("abcc", false), (Ids{6, 0}));  // a run of unknown characters
  EXPECT_EQ(tokenizer->encode("cacb", false), (Ids{1, 0, 2, 0, 3}));
  EXPECT_EQ(tokenizer->decode(Ids{6, 1, 3, 2}), "ab ba");
}

TEST(Unigram, BytesForUnknownCharacters) {
  const auto tokenizer = made(small::unigram(true, "always"));
  EXPECT_EQ(tokenizer->encode("a\xC3\xA9", false), (Ids{5, 7 + 0xC3, 7 + 0xA9}));
  EXPECT_EQ(tokenizer->decode(Ids{5, 7 + 0xC3, 7 + 0xA9}), "a\xC3\xA9");
}

TEST(AddedTokens, FlagsOfOne) {
  const auto with = [](const Json& flags) {
    Json file = small::byte_level_bpe(false);
    Json token = {{"id", 264}, {"content", "END"}, {"special", false}};
    token.update(flags);
    file["added_tokens"] = Json::array({token});
    return made(file);
  };
  EXPECT_EQ(with(Json::object())->encode("a END b", false), (Ids{'a', ' ', 264, ' ', 'b'}));
  EXPECT_EQ(with({{"lstrip", true}})->encode("a  END b", false), (Ids{'a', 264, ' ', 'b'}));
  EXPECT_EQ(with({{"rstrip", true}})->encode("a END  b", false), (Ids{'a', ' ', 264, 'b'}));
  EXPECT_EQ(with({{"single_word", true}})->encode("END aEND", false), (Ids{264, ' ', 'a', 'E', 'N', 'D'}));
  // The longest of those that begin at one place; the leftmost first.
  Json file = small::byte_level_bpe(false);
  file["added_tokens"] = {
      {{"id", 264}, {"content", "AB"}}, {{"id", 265}, {"content", "ABC"}}, {{"id", 266}, {"content", "BCD"}}};
  EXPECT_EQ(made(file)->encode("ABCD", false), (Ids{265, 'D'}));
  // A normalised token is found in what the normaliser makes.
  file["normalizer"] = {{"type", "Lowercase"}};
  file["added_tokens"] = Json::array({{{"id", 264}, {"content", "End"}, {"normalized", true}}});
  EXPECT_EQ(made(file)->encode("aEND", false), (Ids{'a', 264}));
  file["added_tokens"] = Json::array({{{"id", 264}, {"content", "End"}, {"normalized", false}}});
  EXPECT_EQ(made(file)->encode("aENDEnd", false), (Ids{'a', 'e', 'n', 'd', 264}));
}

TEST(JsonTokenizer, RefusesWhatItCannotUse) {
  const auto refused = [](const std::function<void(Json&)>& change, ErrorKind kind, std::string_view part) {
    Json file = small::byte_fallback_bpe(true);
    change(file);
    try {
      made(file);
      ADD_FAILURE() << "accepted: " << part;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  const ErrorKind input = ErrorKind::input, unsupported = ErrorKind::unsupported;
  refused([](Json& f) { f.erase("model"); }, input, "no model");
  refused([](Json& f) { f["model"]["type"] = "WordPiece"; }, unsupported, "WordPiece");
  refused([](Json& f) { f["model"].erase("vocab"); }, input, "no \"vocab\"");
  refused([](Json& f) { f["model"].erase("merges"); }, input, "no list of merges");
  refused([](Json& f) { f["model"]["merges"][0] = Json::array({"h", "q"}); }, input, "not in the vocabulary");
  refused([](Json& f) { f["model"]["merges"] = {"hi"}; }, input, "not two pieces");
  refused([](Json& f) { f["model"]["merges"] = {7}; }, input, "not two pieces");
  refused([](Json& f) { f["model"]["vocab"]["hi"] = 260; }, input, "same id");
  refused([](Json& f) { f["model"]["vocab"]["hi"] = -1; }, input, "absurd id");
  refused([](Json& f) { f["model"]["vocab"]["hi"] = 1e15; }, input, "is not a number");
  refused([](Json& f) { f["model"]["vocab"]["hi"] = 1000000000000; }, input, "absurd id");
  refused([](Json& f) { f["model"]["unk_token"] = "<zz>"; }, input, "<zz>");
  refused([](Json& f) { f["model"]["dropout"] = 0.1; }, unsupported, "dropout");
  refused([](Json& f) { f["normalizer"] = {{"type", "Sideways"}}; }, unsupported, "Sideways");
  refused([](Json& f) { f["pre_tokenizer"] = {{"type", "Sideways"}}; }, unsupported, "Sideways");
  refused([](Json& f) { f["decoder"] = {{"type", "Sideways"}}; }, unsupported, "Sideways");
  refused([](Json& f) { f["post_processor"] = {{"type", "Sideways"}}; }, unsupported, "Sideways");
  refused(
      [](Json& f) {
        f["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Regex", "(a"}}}, {"content", ""}};
      },
      input, "not valid");
  refused([](Json& f) { f["added_tokens"] = {{{"id", 5}, {"content", "x"}}}; }, input, "has the id 5 of");
  refused([](Json& f) { f["added_tokens"] = {{{"id", 99999999}, {"content", "x"}}}; }, input, "absurd id");
  refused([](Json& f) { f["added_tokens"] = 7; }, input, "not a list");
  refused([](Json& f) { f["post_processor"]["special_tokens"] = Json::object(); }, input, "has no ids");
  refused([](Json& f) { f["post_processor"]["special_tokens"]["<s>"]["ids"] = {5000}; }, input,
          "adds the id 5000");
  Json deep = {{"type", "Lowercase"}};
  for (int i = 0; i < 20; ++i) deep = {{"type", "Sequence"}, {"normalizers", {deep}}};
  refused([&](Json& f) { f["normalizer"] = deep; }, input, "nested too deep");
  EXPECT_THROW(json_tokenizer(std::string(100000, '['), {}, "test"), Error);
  EXPECT_THROW(json_tokenizer("[]", {}, "test"), Error);
  EXPECT_THROW(json_tokenizer("{\"model\": {}, \"model\": {}}", {}, "test"), Error);
}

}  // namespace
}  // namespace laconic
