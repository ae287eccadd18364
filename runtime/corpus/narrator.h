// Writes sentences from patterns and keeps track of who was named, so that every pronoun has exactly one
// reading.
//
// In a pattern {slot} is replaced by the slot's text and {an slot} by it with its article. For a character,
// {a} is the name and {a.he}, {a.him}, {a.his}, {a.himself} are pronouns of the character's gender; where
// another character of that gender was named since, the name stands instead. Sentences and quotations start
// with a capital.
#pragma once

#include <initializer_list>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "engine/base/random.h"
#include "runtime/corpus/stories.h"

namespace laconic::story {

class Narrator {
 public:
  explicit Narrator(RandomStream random) : random_(random) {}

  // Makes a character or a text known under a slot name.
  void cast(std::string slot, std::string_view name, Gender gender);
  void set(std::string slot, std::string_view text) { texts_[std::move(slot)] = std::string(text); }

  // Appends one of the patterns, each equally likely.
  void say(std::initializer_list<std::string_view> patterns);
  void new_paragraph();

  int between(int low, int high) {
    return low + static_cast<int>(random_.below(static_cast<std::uint32_t>(high - low + 1)));
  }
  bool chance(int percent) { return static_cast<int>(random_.below(100)) < percent; }
  template <class T>
  const T& choose(std::span<const T> table) {
    return table[random_.below(static_cast<std::uint32_t>(table.size()))];
  }
  Gender gender_of(std::string_view slot) const;

  // Text, characters and mentions so far.
  Story& story() { return story_; }

 private:
  void expand(std::string_view pattern);
  void expand_slot(std::string_view slot);
  void append_text(std::string_view text);
  void append_character(std::size_t character, std::string_view form);

  RandomStream random_;
  Story story_;
  std::map<std::string, std::string, std::less<>> texts_;
  std::map<std::string, std::size_t, std::less<>> cast_;
  std::size_t last_named_[2] = {SIZE_MAX, SIZE_MAX};  // by gender
  bool capital_ = true;                               // the next letter starts a sentence or a quotation
  bool quoting_ = false;
};

}  // namespace laconic::story
