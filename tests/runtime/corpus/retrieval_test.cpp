#include "runtime/corpus/retrieval.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

#include "engine/base/bytes.h"
#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "engine/base/threads.h"

namespace laconic {
namespace {

using testing::HasSubstr;

// Words and single digits: what a tokenizer with such pieces would count.
std::int64_t count_words(std::string_view text) {
  std::int64_t words = 0;
  bool inside = false;
  for (const char c : text) {
    const bool digit = c >= '0' && c <= '9', letter = (c | 32) >= 'a' && (c | 32) <= 'z';
    if (digit || (!letter && c != ' ') || (letter && !inside)) ++words;
    inside = letter;
  }
  return words;
}

std::string joined(const std::vector<DocumentPart>& parts) {
  std::string text;
  for (const DocumentPart& part : parts) text += part.text;
  return text;
}

constexpr RetrievalTask tasks[] = {RetrievalTask::needle, RetrievalTask::recall, RetrievalTask::copy};

TEST(Haystack, CutsTextAtSentencesAndLosesNothing) {
  const std::string text = "One. Two two!\nThree \"four.\" five\n\nSix; seven";
  const std::vector<std::string> pieces = sentences_of(text);
  EXPECT_EQ(pieces, (std::vector<std::string>{"One.", " Two two!", "\nThree \"four.\"", " five", "\n\nSix;",
                                              " seven"}));
  std::string whole;
  for (const std::string& piece : pieces) whole += piece;
  EXPECT_EQ(whole, text);
  EXPECT_TRUE(sentences_of("").empty());
}

TEST(Haystack, DrawsEnoughTextFromDocuments) {
  std::vector<std::string> documents{"A short one. It has two sentences."};
  documents.push_back({});
  for (int i = 0; i < 300; ++i) documents[1] += "Sentence number " + std::to_string(i) + " stands here. ";
  const Haystack haystack(documents);
  std::set<std::string> seen;
  for (std::uint64_t i = 0; i < 20; ++i) {
    RandomStream random(1, "test", "haystack", i);
    std::string text;
    for (const std::string& sentence : haystack.sentences(random, 500)) text += sentence;
    EXPECT_GE(text.size(), 500u);
    EXPECT_TRUE(std::isalnum(static_cast<unsigned char>(text.front()))) << text;
    seen.insert(text);
  }
  EXPECT_GT(seen.size(), 15u);
  EXPECT_THROW(Haystack(std::vector<std::string>{"", ""}), Error);
}

TEST(RetrievalDocuments, ArePureFunctionsOfSeedAndIndex) {
  const Haystack haystack(1);
  for (const RetrievalTask task : tasks) {
    EXPECT_EQ(joined(make_retrieval_document(task, 3, 5, 900, haystack)),
              joined(make_retrieval_document(task, 3, 5, 900, haystack)));
    EXPECT_NE(joined(make_retrieval_document(task, 3, 5, 900, haystack)),
              joined(make_retrieval_document(task, 4, 5, 900, haystack)));
    EXPECT_NE(joined(make_retrieval_document(task, 3, 5, 900, haystack)),
              joined(make_retrieval_document(task, 3, 6, 900, haystack)));
  }
}

// What is marked as an answer stands in the text before it; training documents never name held-out entities.
TEST(RetrievalDocuments, AnswersFollowFromWhatStandsBefore) {
  const Haystack haystack(1);
  for (const RetrievalTask task : tasks) {
    for (std::uint64_t index = 0; index < 60; ++index) {
      const std::size_t bytes = 100 + 50 * index;
      std::string before;
      std::size_t answers = 0;
      for (const DocumentPart& part : make_retrieval_document(task, 1, index, bytes, haystack)) {
        ASSERT_FALSE(part.text.empty());
        if (part.role == PartRole::answer) {
          const std::string_view said = std::string_view(part.text).substr(0, part.text.find('.'));
          EXPECT_THAT(before, HasSubstr(std::string(said))) << index;
          ++answers;
        }
        before += part.text;
      }
      EXPECT_GE(answers, 1u) << before;
      EXPECT_GT(before.size(), bytes / 3);
      EXPECT_LT(before.size(), 3 * bytes + 500);
    }
  }
}

TEST(RetrievalDocuments, NeverNameHeldOutEntities) {
  const Haystack haystack(1);
  std::set<std::string> trained;
  for (std::uint64_t index = 0; index < 200; ++index) {
    for (const DocumentPart& part :
         make_retrieval_document(RetrievalTask::needle, 1, index, 1500, haystack)) {
      if (part.role != PartRole::given || part.text.find(' ', 1) == std::string::npos) continue;
      trained.insert(part.text.substr(1));
    }
  }
  EXPECT_GT(trained.size(), 300u);
  for (const std::string& entity : trained) EXPECT_FALSE(is_held_out_entity(entity)) << entity;
  RandomStream random(1, "test", "entities");
  for (int i = 0; i < 50; ++i) EXPECT_EQ(trained.count(draw_entity(random, true)), 0u);
}

TEST(Needles, MeetTheTokenBudgetAndTheDepth) {
  const Haystack haystack(9, true);
  for (const std::int64_t budget : {90, 255, 1023}) {
    for (const double depth : {0.0, 0.25, 0.5, 0.9, 1.0}) {
      NeedleOptions options;
      options.tokens = budget;
      options.depth = depth;
      options.distractors = budget > 200 ? 3 : 0;
      const RetrievalSample sample =
          make_needle(options, 5, first_held_out_retrieval + 7, haystack, count_words);
      EXPECT_EQ(count_words(sample.context + sample.question + sample.answer), budget);
      EXPECT_EQ(sample.tokens, budget);
      EXPECT_TRUE(is_held_out_entity(sample.entity));
      EXPECT_THAT(sample.context, HasSubstr("The code of " + sample.entity + " is" + sample.answer + "."));
      EXPECT_THAT(sample.question, HasSubstr("What is the code of " + sample.entity + "?"));
      const std::size_t place = sample.context.find("The code of " + sample.entity);
      EXPECT_EQ(count_words(std::string_view(sample.context).substr(0, place)), sample.fact_token);
      // A sentence of stories has at most 30 words, a fact 9.
      EXPECT_NEAR(sample.depth, depth, 30.0 / static_cast<double>(budget) + (budget < 100 ? 0.25 : 0.05));
    }
  }
}

TEST(Needles, DifferByIndexAndSayWhatIsWrong) {
  const Haystack haystack(9, true);
  NeedleOptions options;
  options.tokens = 200;
  const RetrievalSample a = make_needle(options, 5, 1, haystack, count_words),
                        b = make_needle(options, 5, 2, haystack, count_words);
  EXPECT_NE(a.context, b.context);
  EXPECT_NE(a.entity + a.answer, b.entity + b.answer);
  EXPECT_EQ(a.context, make_needle(options, 5, 1, haystack, count_words).context);
  bool twice = false;
  for (std::uint64_t i = 0; i < 60; ++i) {
    const std::string code = make_needle(options, 5, i, haystack, count_words).answer;
    EXPECT_EQ(std::set<char>(code.begin(), code.end()).size(), 5u) << "a space and four different digits";
    options.distinct_digits = false;
    const std::string any = make_needle(options, 5, i, haystack, count_words).answer;
    twice |= std::set<char>(any.begin(), any.end()).size() < 5;
    options.distinct_digits = true;
  }
  EXPECT_TRUE(twice) << "half of all codes of four digits have one twice";
  const auto kind_of = [&](const NeedleOptions& wrong) -> std::optional<ErrorKind> {
    try {
      make_needle(wrong, 5, 1, haystack, count_words);
    } catch (const Error& error) {
      return error.kind();
    }
    return std::nullopt;
  };
  options.tokens = 30;
  EXPECT_EQ(kind_of(options), ErrorKind::usage) << "four facts do not fit";
  options.tokens = 200;
  options.depth = 1.5;
  EXPECT_EQ(kind_of(options), ErrorKind::usage);
  options.depth = 0.5;
  options.distractors = -1;
  EXPECT_EQ(kind_of(options), ErrorKind::usage);
}

// Models were trained on version 1: its documents must not change without a new version.
TEST(RetrievalDocuments, KeepTheTextOfTheirVersion) {
  EXPECT_EQ(retrieval_generator_version, 1);
  const Haystack haystack(1);
  std::string text;
  for (const RetrievalTask task : tasks) {
    for (std::uint64_t index = 0; index < 50; ++index)
      text += joined(make_retrieval_document(task, 1, index, 700, haystack));
  }
  EXPECT_EQ(to_hex(xxh3_128(as_byte_span(text))), "5a52aa815781b29205e502142f198eb7");
}

TEST(Needles, KeepTheTextOfTheirVersion) {
  const Haystack haystack(1, true);
  std::string text;
  for (std::uint64_t index = 0; index < 50; ++index) {
    NeedleOptions options;
    options.tokens = 300;
    options.depth = static_cast<double>(index) / 49;
    const RetrievalSample sample =
        make_needle(options, 1, first_held_out_retrieval + index, haystack, count_words);
    text += sample.context + sample.question + sample.answer;
  }
  EXPECT_EQ(to_hex(xxh3_128(as_byte_span(text))), "2f5f0f2075cf046f825c037c7a60ff65");
}

}  // namespace
}  // namespace laconic
