#include "runtime/corpus/stories.h"

#include <gmock/gmock.h>

#include <cctype>
#include <map>
#include <set>

#include "engine/base/bytes.h"
#include "engine/base/hash.h"
#include "engine/base/threads.h"

namespace laconic {
namespace {

using testing::HasSubstr;

struct Word {
  std::size_t offset;
  std::string lower;
};

std::vector<Word> words_of(const std::string& text) {
  std::vector<Word> words;
  for (std::size_t i = 0; i < text.size();) {
    if (!std::isalpha(static_cast<unsigned char>(text[i]))) {
      ++i;
      continue;
    }
    Word word{i, {}};
    while (i < text.size() && std::isalpha(static_cast<unsigned char>(text[i]))) {
      word.lower += static_cast<char>(std::tolower(static_cast<unsigned char>(text[i++])));
    }
    words.push_back(word);
  }
  return words;
}

const std::map<std::string, Gender> gendered_pronouns = {
    {"he", Gender::male},    {"him", Gender::male},   {"his", Gender::male},    {"himself", Gender::male},
    {"she", Gender::female}, {"her", Gender::female}, {"hers", Gender::female}, {"herself", Gender::female}};

TEST(Stories, AreAPureFunctionOfSeedAndIndex) {
  EXPECT_EQ(make_story(7, 11).text, make_story(7, 11).text);
  EXPECT_NE(make_story(7, 11).text, make_story(8, 11).text);
  EXPECT_NE(make_story(7, 11).text, make_story(7, 12).text);
  // Any part of a corpus can be made alone and on any thread.
  std::vector<std::string> parts(64);
  parallel_for(64, [&](std::int64_t i) { parts[i] = make_story(3, 100 + i).text; });
  std::string joined;
  for (std::size_t i = 0; i < parts.size(); ++i) joined += (i ? "<|endoftext|>\n" : "") + parts[i] + "\n";
  EXPECT_EQ(joined, make_stories(3, 100, 64));
}

// The committed model was trained on version 1: its text must not change without a new version.
TEST(Stories, KeepTheTextOfTheirVersion) {
  EXPECT_EQ(story_generator_version, 1);
  EXPECT_EQ(to_hex(xxh3_128(as_byte_span(make_training_stories(1, 200)))),
            "c144166e50a5dccfacdd38aa9a65a111");
  EXPECT_EQ(to_hex(xxh3_128(as_byte_span(make_held_out_stories(1, 200)))),
            "c921accd9c1a4e17e6248ae3ff55acbe");
}

TEST(Stories, EveryPronounHasItsCharactersGenderAndOneReading) {
  int pronouns = 0;
  for (std::uint64_t index = 0; index < 3000; ++index) {
    const Story story = make_story(5, index);
    std::map<std::size_t, StoryMention> mention_at;
    for (const StoryMention& mention : story.mentions) mention_at[mention.offset] = mention;
    std::map<Gender, std::size_t> last_named;
    for (const Word& word : words_of(story.text)) {
      const auto found = mention_at.find(word.offset);
      const auto pronoun = gendered_pronouns.find(word.lower);
      if (pronoun != gendered_pronouns.end()) {
        ++pronouns;
        ASSERT_NE(found, mention_at.end()) << "an untracked pronoun at " << word.offset << " in\n"
                                           << story.text;
        const StoryCharacter& who = story.characters[found->second.character];
        EXPECT_EQ(who.gender, pronoun->second) << story.text;
        ASSERT_TRUE(last_named.count(who.gender)) << "a pronoun before any name\n" << story.text;
        EXPECT_EQ(last_named[who.gender], found->second.character) << "ambiguous at " << word.offset << "\n"
                                                                   << story.text;
      } else if (found != mention_at.end()) {
        const StoryCharacter& who = story.characters[found->second.character];
        EXPECT_EQ(story.text.substr(found->second.offset, found->second.length), who.name);
        last_named[who.gender] = found->second.character;
      }
    }
  }
  EXPECT_GT(pronouns, 10000);
}

TEST(Stories, HeldOutStoriesNeverOccurInTraining) {
  std::set<std::string> training;
  for (std::uint64_t index = 0; index < 4000; ++index) {
    const Story story = make_story(index % 3, index);
    EXPECT_FALSE(is_held_out_triple(story.characters[0].name, story.thing, story.place));
    training.insert(story.text);
  }
  for (std::uint64_t index = 0; index < 1000; ++index) {
    const Story story = make_story(index % 3, first_held_out_story + index);
    EXPECT_TRUE(is_held_out_triple(story.characters[0].name, story.thing, story.place));
    // The triple stands in the text, so texts of different triples differ.
    EXPECT_THAT(story.text, HasSubstr(story.characters[0].name));
    EXPECT_THAT(story.text, HasSubstr(story.thing));
    EXPECT_FALSE(training.count(story.text));
  }
}

TEST(Stories, UseEveryPlotAndAVocabularyThatSmallModelsCanLearn) {
  std::map<std::string, int> plots;
  std::set<std::string> words;
  for (std::uint64_t index = 0; index < 3000; ++index) {
    const Story story = make_story(1, index);
    ++plots[story.plot];
    for (const Word& word : words_of(story.text)) words.insert(word.lower);
    EXPECT_GT(story.text.size(), 500u) << story.text;
    EXPECT_LT(story.text.size(), 2000u) << story.text;
    for (const char* fault : {"{", "}", "  ", " .", " ,", "..", " a a ", " an an ", "\n\n"}) {
      EXPECT_THAT(story.text, testing::Not(HasSubstr(fault)));
    }
    EXPECT_EQ(std::count(story.text.begin(), story.text.end(), '"') % 2, 0) << story.text;
    EXPECT_THAT(std::string(".!\""), HasSubstr(std::string(1, story.text.back()))) << story.text;
  }
  EXPECT_EQ(plots.size(), 13u);
  for (const auto& [plot, count] : plots) EXPECT_GT(count, 150) << plot;
  EXPECT_GE(words.size(), 500u);
  EXPECT_LE(words.size(), 900u);
}

}  // namespace
}  // namespace laconic
