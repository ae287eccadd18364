// SentencePiece models of the reference data, read by this project and by the library, on random text. A
// program of its own: the library must not share a process with LibTorch.
#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include <cstdlib>
#include <filesystem>

#include "../small_files.h"
#include "engine/base/files.h"
#include "engine/base/random.h"
#include "runtime/tokenizer/sentencepiece.h"

namespace laconic {
namespace {

// Sentences of the text beside the models, cut anywhere, mixed with other characters.
std::string random_text(RandomStream& random, std::string_view book) {
  static const std::vector<std::string> parts = {" ",
                                                 "  ",
                                                 "\n",
                                                 "\t",
                                                 "\xC2\xA0",
                                                 "\xE3\x80\x80",
                                                 "\xE2\x96\x81",
                                                 "<s>",
                                                 "</s>",
                                                 "<unk>",
                                                 "<0x41>",
                                                 "123",
                                                 "\xEF\xAC\x81",
                                                 "e\xCC\x81",
                                                 "\xE4\xB8\xAD\xE6\x96\x87",
                                                 "\xEF\xBD\xB6\xEF\xBE\x9E",
                                                 "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB",
                                                 "\xC2\xBD",
                                                 "\xE2\x80\x8B",
                                                 "\xEF\xBB\xBF"};
  std::string text;
  for (std::uint32_t count = random.below(8); count > 0; --count) {
    const std::uint32_t kind = random.below(8);
    if (kind < 4) {
      const std::uint32_t begin = random.below(static_cast<std::uint32_t>(book.size()));
      text += book.substr(begin, random.below(60));
    } else if (kind < 7) {
      text += parts[random.below(static_cast<std::uint32_t>(parts.size()))];
    } else {
      char32_t character = 1 + random.below(random.below(2) == 0 ? 0x2FFF : 0x10FFFE);
      if (character >= 0xD800 && character < 0xE000) character = 'x';
      text += small::utf8(character);
    }
  }
  return text;
}

class SentencePieceOracle : public testing::TestWithParam<const char*> {};

TEST_P(SentencePieceOracle, EncodesAndDecodesAlike) {
  const char* data = std::getenv("LACONIC_DATA");
  if (data == nullptr) GTEST_SKIP() << "LACONIC_DATA is not set";
  const std::filesystem::path path = std::filesystem::path(data) / GetParam() / "tokenizer.model";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  sentencepiece::SentencePieceProcessor library;
  ASSERT_TRUE(library.Load(path.string()).ok());
  const Bytes file = read_file(path);
  const auto ours =
      sentencepiece_tokenizer(SentencePieceModel::parse(file, path.string()), {}, path.string());
  ASSERT_EQ(library.GetPieceSize(), ours->size());

  std::string book = "Once upon a time, there was a little girl. \"Don't!\" she cried; it cost 3,50 euros.\n";
  const auto tales = std::filesystem::path(data) / "text" / "tinyshakespeare";
  if (std::filesystem::exists(tales)) {
    for (const auto& item : std::filesystem::directory_iterator(tales)) {
      if (item.path().extension() == ".txt") book += read_text_file(item.path()).substr(0, 200000);
    }
  }
  const char* stated = std::getenv("LACONIC_SEED");
  RandomStream random(stated == nullptr ? 1 : std::strtoull(stated, nullptr, 10), "oracle", GetParam());
  for (int round = 0; round < 4000; ++round) {
    const std::string text = random_text(random, book);
    std::vector<int> wanted;
    ASSERT_TRUE(library.Encode(text, &wanted).ok());
    ASSERT_EQ(ours->encode(text, false), wanted) << "round " << round << ": " << testing::PrintToString(text);
    std::string decoded;
    ASSERT_TRUE(library.Decode(wanted, &decoded).ok());
    ASSERT_EQ(ours->decode(wanted), decoded) << "round " << round << ": " << testing::PrintToString(text);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SentencePieceOracle,
                         testing::Values("tokenizers/llama2-sp", "tokenizers/sp-unigram-1k",
                                         "tokenizers/sp-unigram-bytefallback", "models/stories260K-hf",
                                         "models/lm-5m"));

}  // namespace
}  // namespace laconic
