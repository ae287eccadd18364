#include "methods/text/logzip/skeleton.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/random.h"

namespace laconic::logzip {
namespace {

using ::testing::ElementsAre;

struct Shown {
  std::string key;
  std::vector<std::string> slots;
};

Shown skeleton_of(std::string_view text, std::initializer_list<const char*> kept = {}) {
  WordSet words;
  for (const char* word : kept) words.add(word);
  Shown shown;
  std::vector<Slot> slots;
  append_skeleton(text, 0, words, shown.key, slots);
  for (const Slot slot : slots) shown.slots.emplace_back(text.substr(slot.begin, slot.length));
  for (char& c : shown.key)
    if (c == slot_mark) c = '*';
  return shown;
}

TEST(Skeleton, KeptWordsAndSeparatorsStay) {
  const Shown shown = skeleton_of("open file a1.txt ok!", {"open", "file", "ok"});
  EXPECT_EQ(shown.key, "open file * ok!");
  EXPECT_THAT(shown.slots, ElementsAre("a1.txt"));
}

TEST(Skeleton, WordsWithDigitsSingleLettersAndOtherWordsAreSlots) {
  const Shown shown = skeleton_of("ssh2 a word", {"ssh", "a"});
  EXPECT_EQ(shown.key, "* * *");
  EXPECT_THAT(shown.slots, ElementsAre("ssh2", "a", "word"));
}

TEST(Skeleton, JoinedSlotsAreOneValue) {
  EXPECT_THAT(skeleton_of("from 10.0.0.1:80,7e7c-3cb9", {"from"}).slots,
              ElementsAre("10.0.0.1:80", "7e7c-3cb9"));
  EXPECT_THAT(skeleton_of("blk_77", {"blk"}).slots, ElementsAre("77"));
  EXPECT_EQ(skeleton_of("1##2").key, "*##*");
  EXPECT_EQ(skeleton_of("1. 2").key, "*. *");
  EXPECT_EQ(skeleton_of("1..2").key, "*..*");
}

TEST(Skeleton, SignsBelongToNumbers) {
  EXPECT_THAT(skeleton_of("blk_-77 x=-5", {"blk"}).slots, ElementsAre("-77", "x", "-5"));
  EXPECT_THAT(skeleton_of("-5").slots, ElementsAre("-5"));
  EXPECT_EQ(skeleton_of("word-5", {"word"}).key, "word-*");
  EXPECT_EQ(skeleton_of("a - 5").key, "* - *");
}

TEST(Skeleton, NulBytesAreSlotsOfTheirOwn) {
  const std::string text("kept\0kept", 9);
  const Shown shown = skeleton_of(text, {"kept"});
  EXPECT_EQ(shown.key, "kept*kept");
  EXPECT_EQ(shown.slots, std::vector<std::string>{std::string(1, '\0')});
}

TEST(Skeleton, SlotsFillTheKeyToTheText) {
  RandomStream random(3, "skeleton", "bytes");
  for (int trial = 0; trial < 500; ++trial) {
    std::string text;
    for (int i = 0; i < 60; ++i) text += std::string_view("ab1-._ :/\0\x80z", 13)[random.bits() % 13];
    WordSet words;
    words.add("ab");
    words.add("zz");
    std::string key;
    std::vector<Slot> slots;
    append_skeleton(text, 0, words, key, slots);
    std::string filled;
    std::size_t next = 0;
    for (const char c : key) {
      if (c != slot_mark) {
        filled += c;
      } else {
        filled += text.substr(slots[next].begin, slots[next].length);
        ++next;
      }
    }
    ASSERT_EQ(filled, text);
    ASSERT_EQ(next, slots.size());
  }
}

TEST(WordCounts, WordsOfLettersAreCounted) {
  WordCounts counts;
  for (int i = 0; i < 2000; ++i) {  // the table grows on the way
    std::string word = "w";
    for (int n = i; n > 0; n /= 26) word += static_cast<char>('a' + n % 26);
    counts.add("often a b2 " + word);
  }
  WordSet words;
  counts.keep(3, words);
  EXPECT_EQ(words.size(), 1u);
  EXPECT_TRUE(words.contains(WordSet::hash_of("often")));
  EXPECT_FALSE(words.contains(WordSet::hash_of("a")));
}

}  // namespace
}  // namespace laconic::logzip
