// Encoding time grows no faster than n log n, whatever the text: runs of one letter, of spaces, of combining
// marks.
#include <gtest/gtest.h>

#include <ctime>
#include <functional>
#include <map>

#include "engine/base/random.h"
#include "runtime/tokenizer/sentencepiece.h"
#include "runtime/tokenizer/tiktoken.h"
#include "runtime/tokenizer/tokenizer_json.h"
#include "small_files.h"

namespace laconic {
namespace {

// CPU time, so that other work on the machine does not count.
double cpu_seconds(const std::function<void()>& work) {
  const std::clock_t start = std::clock();
  work();
  return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
}

std::string repeated(std::string_view part, std::size_t bytes) {
  std::string text;
  while (text.size() < bytes) text += part;
  return text;
}

void expect_no_square(const Tokenizer& tokenizer, const std::string& name) {
  for (const std::string& part :
       {std::string("l"), std::string("a"), std::string("ab"), std::string(" "), std::string("\n"),
        std::string("hello world, "), std::string("\xCC\x81"), std::string("\xF0\x9F\x91\xA9\xE2\x80\x8D"),
        std::string("<|"), std::string("12")}) {
    const std::string small_text = repeated(part, 16 << 10), large_text = repeated(part, 256 << 10);
    const double few = cpu_seconds([&] { tokenizer.encode(small_text, false); });
    const double many = cpu_seconds([&] { tokenizer.encode(large_text, false); });
    // 16 times the text; a square would take 256 times as long.
    EXPECT_LT(many, 80 * few + 0.2) << name << " on \"" << part << "\": " << few << " s, then " << many
                                    << " s";
  }
}

TEST(Scaling, NothingIsQuadratic) {
  expect_no_square(*json_tokenizer(small::byte_level_bpe(true).dump(), {}, "test"), "byte-level BPE");
  expect_no_square(*json_tokenizer(small::byte_fallback_bpe(true).dump(), {}, "test"), "byte-fallback BPE");
  expect_no_square(*json_tokenizer(small::unigram(true, "always").dump(), {}, "test"), "unigram");
  expect_no_square(*tiktoken_tokenizer(small::tiktoken(), {}, "test"), "tiktoken");
  for (const int kind : {1, 2}) {
    small::SentencePieceFile file;
    file.model_type = kind;
    float score = -1;
    for (const std::string& piece :
         {std::string("ll"), std::string("llll"), std::string("ab"), small::mark, small::mark + small::mark,
          std::string("a"), std::string("b"), std::string("l")}) {
      file.pieces.push_back({piece, score--, 1});
    }
    file.add_bytes();
    file.character_map = small::character_map({{"\t", " "}, {"\xEF\xAC\x81", "fi"}});
    const std::string bytes = file.text();
    expect_no_square(
        *sentencepiece_tokenizer(SentencePieceModel::parse(as_byte_span(bytes), "test"), {}, "test"),
        kind == 1 ? "SentencePiece unigram" : "SentencePiece BPE");
  }
}

}  // namespace
}  // namespace laconic
