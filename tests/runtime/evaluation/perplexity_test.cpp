// Published models beside their published perplexities.
#include "runtime/evaluation/perplexity.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "engine/base/files.h"
#include "runtime/documents.h"

namespace laconic {
namespace {

class PublishedPerplexity : public testing::Test {
 protected:
  void SetUp() override {
    const char* data = std::getenv("LACONIC_DATA");
    if (data == nullptr) GTEST_SKIP() << "LACONIC_DATA does not name the folder of reference data";
    data_ = data;
  }
  std::string text(const char* name) const { return read_text_file(data_ / "text" / name); }
  // `count` stories after the first `skipped` ones; 0: all the rest.
  std::string stories(int skipped, int count) const {
    const std::string all = text("tinystories/tinystories_sample.txt");
    std::size_t begin = 0, end = all.size();
    for (int i = 0; i < skipped; ++i) begin = all.find(document_separator, begin) + document_separator.size();
    for (int i = 0; i < count; ++i) end = all.find(document_separator, i == 0 ? begin : end + 1);
    return all.substr(begin, end - begin);
  }
  TextEvaluation measured(const char* name, const std::string& from, std::int64_t tokens) const {
    const std::filesystem::path directory = data_ / "models" / name;
    const Transformer model = Transformer::load(directory);
    const auto tokenizer = Tokenizer::load(directory);
    return evaluate(model, make_windows(*tokenizer, model.config(), from, 512, tokens));
  }
  std::filesystem::path data_;
};

constexpr double tolerance = 0.005;

TEST_F(PublishedPerplexity, Stories260KOnTheFirst39Stories) {
  const TextEvaluation result = measured("stories260K-hf", stories(0, 39), 0);
  EXPECT_EQ(result.tokens, 12308);
  EXPECT_NEAR(result.perplexity, 3.472, tolerance * 3.472);
}

TEST_F(PublishedPerplexity, Lm5mOnStories) {
  EXPECT_NEAR(measured("lm-5m", stories(2000, 0), 20000).perplexity, 22.65, tolerance * 22.65);
}

TEST_F(PublishedPerplexity, Lm5mOnDickens) {
  std::string dickens = text("dickens/dickens").substr(9173201, 200000);
  std::erase(dickens, '\r');
  EXPECT_NEAR(measured("lm-5m", dickens, 20000).perplexity, 38.31, tolerance * 38.31);
}

TEST_F(PublishedPerplexity, Lm5mOnWikitext) {
  std::string wikitext = text("wikitext-2/test.txt");
  for (const std::string mark : {"-", ",", "."}) {
    const std::string from = " @" + mark + "@ ";
    for (std::size_t at = 0; (at = wikitext.find(from, at)) != std::string::npos;) {
      wikitext.replace(at, from.size(), mark);
    }
  }
  EXPECT_NEAR(measured("lm-5m", wikitext, 20000).perplexity, 48.79, tolerance * 48.79);
}

}  // namespace
}  // namespace laconic
