#include "runtime/tokenizer/bpe_trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <memory>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/random.h"
#include "runtime/tokenizer/tokenizer.h"
#include "runtime/tokenizer/tokenizer_json.h"

namespace laconic {
namespace {

std::unique_ptr<Tokenizer> trained(std::string_view text, const BpeTrainerOptions& options) {
  const BpeVocabulary vocabulary = train_bpe(text, options);
  TokenizerSettings settings;
  settings.apply_tokenizer_config(vocabulary.tokenizer_config_json(), "tokenizer_config.json");
  return json_tokenizer(vocabulary.tokenizer_json(), settings, "tokenizer.json");
}

// Sennrich's algorithm as it is written: count every pair anew, join the best one everywhere.
std::vector<std::string> plain_training(const std::map<std::string, int>& words, int merges) {
  struct Word {
    std::vector<std::string> pieces;
    int count;
  };
  std::vector<Word> list;
  for (const auto& [word, count] : words) {
    Word entry{{}, count};
    for (const char c : word) entry.pieces.emplace_back(1, c);
    list.push_back(entry);
  }
  std::vector<std::string> order;
  for (int byte = 0; byte < 256; ++byte) order.emplace_back(1, static_cast<char>(byte));
  const auto index = [&](const std::string& piece) {
    return std::find(order.begin(), order.end(), piece) - order.begin();
  };
  std::vector<std::string> joined;
  for (int m = 0; m < merges; ++m) {
    std::map<std::pair<long, long>, int> counts;
    for (const Word& word : list) {
      for (std::size_t i = 0; i + 1 < word.pieces.size(); ++i) {
        counts[{index(word.pieces[i]), index(word.pieces[i + 1])}] += word.count;
      }
    }
    std::pair<long, long> best{};
    int best_count = 1;
    for (const auto& [pair, count] : counts) {
      const bool is_new = index(order[pair.first] + order[pair.second]) == static_cast<long>(order.size());
      if (count > best_count && is_new) best = pair, best_count = count;
    }
    if (best_count < 2) break;
    const std::string left = order[best.first], right = order[best.second];
    for (Word& word : list) {
      for (std::size_t i = 0; i + 1 < word.pieces.size(); ++i) {
        if (word.pieces[i] == left && word.pieces[i + 1] == right) {
          word.pieces[i] += right;
          word.pieces.erase(word.pieces.begin() + static_cast<std::ptrdiff_t>(i) + 1);
        }
      }
    }
    order.push_back(left + right);
    joined.push_back(left + right);
  }
  return joined;
}

TEST(BpeTrainer, EqualsThePlainAlgorithm) {
  const RandomStream random(7, "bpe", "words");
  std::map<std::string, int> words;
  std::string text;
  for (int i = 0; i < 400; ++i) {
    std::string word = " ";
    const int length = 1 + static_cast<int>(random.bits_at(2 * i) % 7);
    for (int k = 0; k < length; ++k) word += static_cast<char>('a' + random.bits_at(1000 + 10 * i + k) % 4);
    ++words[word];
    text += word;
  }
  BpeTrainerOptions options;
  options.vocabulary_size = 258 + 100;
  const BpeVocabulary vocabulary = train_bpe(text, options);
  const std::vector<std::string> expected = plain_training(words, 100);
  ASSERT_EQ(vocabulary.pieces.size(), 256 + expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(vocabulary.pieces[256 + i], expected[i]) << i;
}

TEST(BpeTrainer, WritesATokenizerThatRoundTripsAndPutsBosInFront) {
  BpeTrainerOptions options;
  options.vocabulary_size = 300;
  const std::string text = "the cat sat on the mat, the cat ate the rat<|eos|>the end the end";
  const auto tokenizer = trained(text, options);
  EXPECT_EQ(tokenizer->bos(), 0);
  EXPECT_EQ(tokenizer->eos(), 1);
  EXPECT_EQ(tokenizer->encode("the", true).front(), 0);
  EXPECT_EQ(tokenizer->encode("", true), std::vector<std::int32_t>{0});
  EXPECT_LE(tokenizer->size(), 300);
  const std::string all = text + " caf\xC3\xA9 \xF0\x9F\x98\x80\n\t\x01 42";
  const auto ids = tokenizer->encode(all, false);
  EXPECT_EQ(tokenizer->decode(ids), all);
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 1), 1);
  EXPECT_TRUE(tokenizer->is_special(1));
  // " the" is frequent enough to be one piece.
  EXPECT_EQ(tokenizer->encode(" the", false).size(), 1u);
  for (const std::string& piece : train_bpe(text, options).pieces)
    EXPECT_EQ(piece.find("<|e"), std::string::npos);
}

TEST(BpeTrainer, EveryByteHasAPieceEvenForEmptyText) {
  BpeTrainerOptions options;
  options.vocabulary_size = 1024;
  const auto tokenizer = trained("", options);
  EXPECT_EQ(tokenizer->size(), 258);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("any text at all \xE2\x82\xAC", false)),
            "any text at all \xE2\x82\xAC");
}

TEST(BpeTrainer, SplitsDigitsWhenAsked) {
  BpeTrainerOptions options;
  options.vocabulary_size = 400;
  options.split_digits = true;
  const auto tokenizer = trained("1234 1234 1234 1234 year 1234", options);
  EXPECT_EQ(tokenizer->encode("1234", false).size(), 4u);
}

TEST(BpeTrainer, RefusesASizeWithoutRoomForTheBytes) {
  BpeTrainerOptions options;
  options.vocabulary_size = 257;
  EXPECT_THROW(train_bpe("text", options), Error);
  options.vocabulary_size = 300;
  options.bos = "\xC3\xA9";  // also the name of byte E9
  EXPECT_THROW(train_bpe("text", options).tokenizer_json(), Error);
}

TEST(BpeTrainer, TrainsOnRealText) {
  const char* data = std::getenv("LACONIC_DATA");
  if (data == nullptr) GTEST_SKIP() << "LACONIC_DATA is not set";
  const std::string text = read_text_file(std::filesystem::path(data) / "text/tinyshakespeare/input.txt");
  BpeTrainerOptions options;
  options.vocabulary_size = 1024;
  const auto tokenizer = trained(text, options);
  EXPECT_EQ(tokenizer->size(), 1024);
  const auto ids = tokenizer->encode(text, false);
  EXPECT_EQ(tokenizer->decode(ids), text);
  const double bytes_per_token = static_cast<double>(text.size()) / static_cast<double>(ids.size());
  RecordProperty("bytes_per_token", std::to_string(bytes_per_token));
  EXPECT_GT(bytes_per_token, 2.0);
}

}  // namespace
}  // namespace laconic
