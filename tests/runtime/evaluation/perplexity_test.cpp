#include "runtime/evaluation/perplexity.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/base/files.h"

namespace laconic {
namespace {

std::filesystem::path data_directory() {
  const char* data = std::getenv("LACONIC_DATA");
  return data == nullptr ? "" : data;
}

std::string without_carriage_returns(std::string text) {
  std::erase(text, '\r');
  return text;
}

std::string joined_wikitext(std::string text) {
  for (const std::string mark : {"-", ",", "."}) {
    const std::string from = " @" + mark + "@ ";
    for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos;)
      text.replace(at, from.size(), mark);
  }
  return text;
}

Evaluation measured(const char* name, const std::string& text, std::int64_t tokens) {
  const std::filesystem::path directory = data_directory() / "models" / name;
  const Transformer model = Transformer::load(directory);
  const auto tokenizer = Tokenizer::load(directory);
  return evaluate(model, make_windows(*tokenizer, model.config(), text, 512, tokens));
}

TEST(Perplexity, ReferenceModelsGiveThePublishedFigures) {
  if (data_directory().empty()) GTEST_SKIP() << "LACONIC_DATA names no data directory";
  const std::filesystem::path text = data_directory() / "text";
  const std::string stories = read_text_file(text / "tinystories" / "tinystories_sample.txt");
  std::size_t end = 0;
  for (int story = 0; story < 40; ++story) end = stories.find("<|endoftext|>", end) + 1;
  EXPECT_NEAR(measured("stories260K-hf", stories.substr(0, end), 0).perplexity, 3.472, 0.005 * 3.472);
  const std::string dickens =
      without_carriage_returns(read_text_file(text / "dickens" / "dickens").substr(9173201));
  EXPECT_NEAR(measured("lm-5m", dickens, 20000).perplexity, 38.31, 0.005 * 38.31);
  const std::string wikitext = joined_wikitext(read_text_file(text / "wikitext-2" / "test.txt"));
  EXPECT_NEAR(measured("lm-5m", wikitext, 20000).perplexity, 48.79, 0.005 * 48.79);
}

}  // namespace
}  // namespace laconic
