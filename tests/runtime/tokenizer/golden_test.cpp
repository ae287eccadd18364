// Every encoding and decoding of the golden file, when the data directory is at hand.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "runtime/tokenizer/tokenizer.h"

namespace laconic {
namespace {

TEST(TokenizerGolden, EverySentencePieceLineAgrees) {
  const char* data = std::getenv("LACONIC_DATA");
  if (data == nullptr) GTEST_SKIP() << "LACONIC_DATA names no data directory";
  const std::filesystem::path root = std::filesystem::path(data) / "tokenizers";
  std::istringstream lines(read_text_file(root / "goldens.jsonl"));
  std::map<std::string, std::unique_ptr<Tokenizer>> tokenizers;
  std::map<std::string, int> checked;
  int wrong = 0;
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json golden = nlohmann::json::parse(line);
    const std::string name = golden["tokenizer"];
    if (!std::filesystem::exists(root / name / "tokenizer.model") || name == "llama3-tiktoken") continue;
    auto& tokenizer = tokenizers[name];
    if (!tokenizer) tokenizer = Tokenizer::load(root / name);
    const std::string text = golden["text"];
    const std::vector<std::int32_t> expected = golden["ids"];
    const bool special = golden["add_special"];
    if (tokenizer->encode(text, special) != expected) {
      if (++wrong < 20) {
        ADD_FAILURE() << name << " encodes " << golden["text"].dump() << " as "
                      << nlohmann::json(tokenizer->encode(text, special)).dump() << ", not "
                      << golden["ids"].dump();
      }
    }
    for (const auto& [key, skip] : {std::pair{"decoded", false}, std::pair{"decoded_skip_special", true}}) {
      if (!golden.contains(key)) continue;
      const std::string decoded = tokenizer->decode(expected, skip);
      if (decoded != golden[key].get<std::string>() && ++wrong < 20) {
        ADD_FAILURE() << name << ' ' << key << " gives " << nlohmann::json(decoded).dump() << ", not "
                      << golden[key].dump();
      }
    }
    ++checked[name];
  }
  EXPECT_EQ(wrong, 0);
  int total = 0;
  for (const auto& [name, count] : checked) total += count;
  EXPECT_EQ(total, 441);
}

}  // namespace
}  // namespace laconic
