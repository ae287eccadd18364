#include "methods/text/logzip/skeleton.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/base/random.h"
#include "methods/text/logzip/varied_paths.h"

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

TEST(VariedPaths, PathsAreFound) {
  const auto paths = [](std::string_view text) {
    std::vector<std::string> found;
    for (std::size_t from = 0;;) {
      const std::string_view path = next_path(text, from);
      if (path.empty()) return found;
      found.emplace_back(path);
      from = static_cast<std::size_t>(path.data() - text.data()) + path.size();
    }
  };
  EXPECT_THAT(paths("open /a/b.c, (/var/log/x-1.gz) and/or/not 1/2 /one x=/p/q/r. /"),
              ElementsAre("/a/b.c", "/var/log/x-1.gz", "/p/q/r"));
  EXPECT_THAT(paths("/a/b"), ElementsAre("/a/b"));
  EXPECT_THAT(paths("//"), ElementsAre("//"));
  EXPECT_THAT(paths("/.-/-."), ElementsAre("/.-/"));
  EXPECT_TRUE(paths("").empty());
  EXPECT_EQ(path_shape("/srv/x7/part-003.seg"), path_shape("/var/b00/disk-1.log"));
  EXPECT_NE(path_shape("/srv/x7/part-003.seg"), path_shape("/srv/x7/part.003.seg"));
}

TEST(VariedPaths, FoldersThatVaryMakeOneSlot) {
  PathCounts counts;
  const char* folders[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
  for (int round = 0; round < 2; ++round)
    for (const char* folder : folders)
      counts.add("moved /srv/" + std::string(folder) + "/part-07.seg to /var/log/file-9.log");
  WordSet words;
  for (const char* word : {"moved", "srv", "part", "seg", "to", "var", "log", "file", "aa"}) words.add(word);
  const std::string text = "moved /srv/aa/part-12.seg:17, to /var/log/file-3.log";
  const auto key = [&] {
    std::string made;
    std::vector<Slot> slots;
    append_skeleton(text, 0, words, made, slots);
    for (char& c : made)
      if (c == slot_mark) c = '*';
    std::size_t next = 0;
    std::string filled;
    for (const char c : made)
      filled += c == '*' ? text.substr(slots[next].begin, slots[next].length) : std::string(1, c),
          next += c == '*';
    EXPECT_EQ(filled, text);
    return made;
  };
  EXPECT_EQ(key(), "moved /srv/aa/part-*.seg:*, to /var/log/file-*.log");
  counts.keep(words);
  EXPECT_TRUE(words.has_paths());
  EXPECT_EQ(key(), "moved *:*, to *");  // both have the shape /w/w/w-0.w
  WordSet none;
  PathCounts().keep(none);
  EXPECT_FALSE(none.has_paths());
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
