// Small SentencePiece models, written field by field; expected ids are worked out by hand.
#include <gtest/gtest.h>

#include "engine/base/error.h"
#include "runtime/tokenizer/sentencepiece.h"
#include "small_files.h"

namespace laconic {
namespace {

using Ids = std::vector<std::int32_t>;
using small::mark;
using small::SentencePieceFile;

std::unique_ptr<Tokenizer> made(const std::string& file, const TokenizerSettings& settings = {}) {
  return sentencepiece_tokenizer(SentencePieceModel::parse(as_byte_span(file), "test"), settings, "test");
}

// Ids: ab 3, bc 4, abc 5, mark 6, a 7, b 8, c 9; scores fall by one.
SentencePieceFile bpe() {
  SentencePieceFile file;
  file.model_type = 2;
  float score = 0;
  for (const std::string& piece : {std::string("ab"), std::string("bc"), std::string("abc"), mark,
                                   std::string("a"), std::string("b"), std::string("c")}) {
    file.pieces.push_back({piece, score--, 1});
  }
  return file;
}

// Ids: mark 3 (-2), a 4 (-1), b 5 (-1.5), ab 6 (-2.25), mark+a 7 (-2.5), mark+ab 8 (-3.2).
SentencePieceFile unigram() {
  SentencePieceFile file;
  for (const auto& [text, score] : std::vector<std::pair<std::string, float>>{{mark, -2.0f},
                                                                              {"a", -1.0f},
                                                                              {"b", -1.5f},
                                                                              {"ab", -2.25f},
                                                                              {mark + "a", -2.5f},
                                                                              {mark + "ab", -3.2f}}) {
    file.pieces.push_back({text, score, 1});
  }
  return file;
}

TEST(SentencePieceBpe, TheBestScoreMergesFirst) {
  const auto tokenizer = made(bpe().text());
  EXPECT_EQ(tokenizer->encode("abc", false), (Ids{6, 5}));
  EXPECT_EQ(tokenizer->encode("abc", true), (Ids{1, 6, 5}));
  EXPECT_EQ(tokenizer->encode("bca", false), (Ids{6, 4, 7}));
  EXPECT_EQ(tokenizer->encode("abab", false), (Ids{6, 3, 3}));
  EXPECT_EQ(tokenizer->encode("azzb", false), (Ids{6, 7, 0, 8}));  // a run of unknown characters
  EXPECT_EQ(tokenizer->encode("  a   b ", false), (Ids{6, 7, 6, 8}));
  EXPECT_EQ(tokenizer->encode("", false), Ids{});
  EXPECT_EQ(tokenizer->encode("<s>", false), (Ids{6, 0}));  // ordinary text
  EXPECT_EQ(tokenizer->decode(Ids{6, 5, 6, 7}), "abc a");
  EXPECT_EQ(tokenizer->decode(Ids{1, 6, 7}, true), "a");
  EXPECT_EQ(tokenizer->decode(Ids{6, 0}), " \xE2\x81\x87 ");
  EXPECT_EQ(tokenizer->token_bytes(6), " ");
  EXPECT_TRUE(tokenizer->is_special(1));
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
}

TEST(SentencePieceBpe, ByteFallback) {
  SentencePieceFile file = bpe();
  file.add_bytes();  // byte b is 10 + b
  const auto tokenizer = made(file.text());
  EXPECT_EQ(tokenizer->encode("a\xC3\xA9", false), (Ids{6, 7, 10 + 0xC3, 10 + 0xA9}));
  EXPECT_EQ(tokenizer->decode(Ids{6, 7, 10 + 0xC3, 10 + 0xA9}), "a\xC3\xA9");
  EXPECT_EQ(tokenizer->decode(Ids{6, 7, 10 + 0xC3, 8}),
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(tokenizer->token_bytes(10 + 0xC3), "\xC3");
}

TEST(SentencePieceBpe, UserDefinedAndUnusedPieces) {
  SentencePieceFile file = bpe();
  file.pieces.push_back({"ca", 0, 4});  // 10: found as a whole, merges with nothing
  EXPECT_EQ(made(file.text())->encode("abcab", false), (Ids{6, 3, 10, 8}));
  file = bpe();
  file.pieces[5].kind = 5;  // abc is split again into the pair that made it
  EXPECT_EQ(made(file.text())->encode("abc", false), (Ids{6, 3, 9}));
}

TEST(SentencePieceUnigram, TheBestSumOfScores) {
  const auto tokenizer = made(unigram().text());
  EXPECT_EQ(tokenizer->encode("ab", false), (Ids{8}));
  EXPECT_EQ(tokenizer->encode("ab ba", false), (Ids{8, 3, 5, 4}));
  EXPECT_EQ(tokenizer->encode("aab", false), (Ids{7, 6}));
  EXPECT_EQ(tokenizer->encode("abcc", false), (Ids{8, 0}));
  EXPECT_EQ(tokenizer->decode(Ids{8, 3, 5, 4}), "ab ba");
}

TEST(SentencePieceUnigram, SpacesPrefixAndCharacterMap) {
  SentencePieceFile file = unigram();
  file.dummy_prefix = false;
  EXPECT_EQ(made(file.text())->encode("ab", false), (Ids{6}));
  file.remove_extra_spaces = false;
  EXPECT_EQ(made(file.text())->encode(" a  b ", false), (Ids{7, 3, 3, 5, 3}));
  EXPECT_EQ(made(file.text())->decode(Ids{7, 3, 3, 5, 3}), " a  b ");
  file = unigram();
  file.character_map = small::character_map({{"A", "a"}, {"\xE1\xBA\x9E", "ab"}, {"\t", " "}});
  EXPECT_EQ(made(file.text())->encode("Ab", false), (Ids{8}));
  EXPECT_EQ(made(file.text())->encode("\xE1\xBA\x9E\t\xE1\xBA\x9E", false), (Ids{8, 8}));
}

TEST(SentencePieceSettings, NameTokensThatAreFoundInText) {
  TokenizerSettings settings;
  settings.apply_tokenizer_config(
      R"({"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": false, "add_eos_token": true, "legacy": false,
          "added_tokens_decoder": {"12": {"content": "<new>", "special": true}}})",
      "test");
  const auto tokenizer = made(bpe().text(), settings);
  EXPECT_EQ(tokenizer->size(), 13);
  EXPECT_EQ(tokenizer->encode("a<new>b<s>", true), (Ids{6, 7, 12, 8, 1, 2}));
  EXPECT_EQ(tokenizer->decode(Ids{6, 7, 12, 8}), "a<new>b");
  EXPECT_EQ(tokenizer->decode(Ids{6, 7, 12, 8}, true), "ab");
}

TEST(SentencePieceReader, RefusesDamage) {
  const auto refused = [](const std::string& file, ErrorKind kind = ErrorKind::corrupt) {
    try {
      made(file);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), kind) << error.what();
    }
  };
  refused("");
  refused("not a protobuf at all");
  const std::string whole = bpe().text();
  for (std::size_t size = 1; size < whole.size(); ++size) {
    try {
      made(whole.substr(0, size));  // cut between fields it is a smaller model
    } catch (const Error& error) {
      EXPECT_TRUE(error.kind() == ErrorKind::corrupt) << error.what();
    }
  }
  SentencePieceFile file = bpe();
  file.pieces.push_back({"ab", 0, 1});
  refused(file.text());  // twice
  file = bpe();
  file.pieces[0].kind = 1;
  refused(file.text());  // no unknown piece
  file = bpe();
  file.pieces[1].kind = 2;
  refused(file.text());  // two of them
  file = bpe();
  file.byte_fallback = true;
  refused(file.text());  // without byte pieces
  file = bpe();
  file.pieces.push_back({"<0xZZ>", 0, 6});
  refused(file.text());
  file = bpe();
  file.pieces.push_back({std::string(5000, 'x'), 0, 1});
  refused(file.text());
  file = bpe();
  file.pieces.push_back({"\xC3", 0, 1});
  refused(file.text());
  file = bpe();
  file.pieces[3].score = -1.0f / 0.0f;
  refused(file.text());
  file = bpe();
  file.pieces[3].kind = 9;
  refused(file.text());
  file = bpe();
  file.model_type = 3;
  refused(file.text(), ErrorKind::unsupported);
  file = bpe();
  file.character_map = std::string("\x08\x00\x00\x00\x00\x00", 6);
  refused(file.text());
}

}  // namespace
}  // namespace laconic
