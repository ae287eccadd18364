// The skeleton of a text: its words and separators as they are, everything else a slot. Lines with equal
// skeletons share a template.
//
// A token is a maximal run of letters and digits (bytes from 0x80 on count as letters) or one other byte. A
// token of letters alone stays when it is a kept word; every other run, and a NUL byte, becomes a slot,
// written as one NUL byte in the skeleton. A path whose folders vary (varied_paths.h) is one slot.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace laconic::logzip {

inline constexpr char slot_mark = '\0';

enum class ByteClass : std::uint8_t { separator, letter, digit };
ByteClass byte_class(char c);
bool joins_slots(char c);  // . - : _ / +

// Words by their hashes: a collision keeps a word that need not be kept, which costs bytes and never
// exactness.
class WordSet {
 public:
  void add(std::string_view word) { add_hash(hash_of(word)); }
  void add_hash(std::uint64_t hash);
  bool contains(std::uint64_t hash) const;
  // Shapes of varied paths, which are no words and stand among them.
  void add_path(std::uint64_t shape) {
    add_hash(shape);
    has_paths_ = true;
  }
  bool has_paths() const { return has_paths_; }
  std::size_t size() const { return count_; }
  static std::uint64_t hash_of(std::string_view word);  // never 0

 private:
  std::vector<std::uint64_t> cells_ = std::vector<std::uint64_t>(64);  // 0: empty
  std::size_t count_ = 0;
  bool has_paths_ = false;
};

// Counts the words of sampled texts.
class WordCounts {
 public:
  void add(std::string_view text);
  // Adds every word that occurs at least `times` times.
  void keep(std::uint32_t times, WordSet& words) const;

 private:
  struct Cell {
    std::uint64_t hash = 0;
    std::uint32_t count = 0;
  };
  void grow();
  std::vector<Cell> cells_ = std::vector<Cell>(1024);
  std::size_t used_ = 0;
};

struct Slot {
  std::uint32_t begin = 0, length = 0;  // in the text that positions are counted from
};

// Appends the skeleton of `text` to `key` and its slots to `slots`; `offset` is added to their positions.
void append_skeleton(std::string_view text, std::uint32_t offset, const WordSet& words, std::string& key,
                     std::vector<Slot>& slots);

}  // namespace laconic::logzip
