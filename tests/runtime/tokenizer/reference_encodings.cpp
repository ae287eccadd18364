// Every published encoding of the reference data (LACONIC_DATA), both ways.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/tokenizer/tokenizer.h"

namespace laconic {
namespace {

class ReferenceEncodings : public testing::TestWithParam<const char*> {};

TEST_P(ReferenceEncodings, EveryLineAgrees) {
  const char* data = std::getenv("LACONIC_DATA");
  if (data == nullptr) GTEST_SKIP() << "LACONIC_DATA is not set";
  const std::filesystem::path root = std::filesystem::path(data) / "tokenizers";
  std::ifstream goldens(root / "goldens.jsonl");
  if (!goldens) GTEST_SKIP() << "no goldens.jsonl in " << root;
  const auto tokenizer = Tokenizer::load(root / GetParam());
  std::string line;
  int lines = 0;
  while (std::getline(goldens, line)) {
    const auto golden = nlohmann::json::parse(line);
    if (golden["tokenizer"] != GetParam()) continue;
    ++lines;
    const std::string text = golden["text"], source = golden["source"];
    const std::vector<std::int32_t> ids = golden["ids"];
    EXPECT_EQ(tokenizer->encode(text, golden["add_special"]), ids) << source << "\n" << text;
    if (golden.contains("decoded")) {
      EXPECT_EQ(tokenizer->decode(ids), golden["decoded"].get<std::string>()) << source;
    }
    if (golden.contains("decoded_skip_special")) {
      EXPECT_EQ(tokenizer->decode(ids, true), golden["decoded_skip_special"].get<std::string>()) << source;
    }
  }
  const std::map<std::string, int> expected = {
      {"gpt2", 101},      {"tinyllama", 112},     {"tinyllama-resaved", 64},
      {"t5-small", 60},   {"falcon-7b", 71},      {"llama3-tiktoken", 98},
      {"llama2-sp", 147}, {"sp-unigram-1k", 147}, {"sp-unigram-bytefallback", 147}};
  EXPECT_EQ(lines, expected.at(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, ReferenceEncodings,
                         testing::Values("gpt2", "tinyllama", "tinyllama-resaved", "t5-small", "falcon-7b",
                                         "llama3-tiktoken", "llama2-sp", "sp-unigram-1k",
                                         "sp-unigram-bytefallback"),
                         [](const auto& parameter) {
                           std::string name = parameter.param;
                           for (char& c : name) c = c == '-' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace laconic
