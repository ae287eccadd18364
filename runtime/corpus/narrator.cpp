#include "runtime/corpus/narrator.h"

#include <cctype>

#include "engine/base/error.h"

namespace laconic::story {
namespace {

std::string_view pronoun(Gender gender, std::string_view form) {
  const bool male = gender == Gender::male;
  if (form == "he") return male ? "he" : "she";
  if (form == "him") return male ? "him" : "her";
  if (form == "his") return male ? "his" : "her";
  if (form == "himself") return male ? "himself" : "herself";
  fail(ErrorKind::internal, "unknown pronoun form", form);
}

bool starts_with_vowel(std::string_view text) {
  return !text.empty() && std::string_view("aeiou").find(text.front()) != std::string_view::npos;
}

}  // namespace

void Narrator::cast(std::string slot, std::string_view name, Gender gender) {
  cast_[std::move(slot)] = story_.characters.size();
  story_.characters.push_back({std::string(name), gender});
}

Gender Narrator::gender_of(std::string_view slot) const {
  const auto found = cast_.find(slot);
  require(found != cast_.end(), "a character is cast before it is used");
  return story_.characters[found->second].gender;
}

void Narrator::say(std::initializer_list<std::string_view> patterns) {
  if (!story_.text.empty() && story_.text.back() != '\n') story_.text += ' ';
  capital_ = true;
  expand(choose(std::span(patterns.begin(), patterns.size())));
}

void Narrator::new_paragraph() { story_.text += '\n'; }

void Narrator::expand(std::string_view pattern) {
  while (!pattern.empty()) {
    const std::size_t open = pattern.find('{');
    append_text(pattern.substr(0, open));
    if (open == std::string_view::npos) return;
    const std::size_t close = pattern.find('}', open);
    require(close != std::string_view::npos, "story pattern closes its braces");
    expand_slot(pattern.substr(open + 1, close - open - 1));
    pattern.remove_prefix(close + 1);
  }
}

void Narrator::expand_slot(std::string_view slot) {
  const bool article = slot.starts_with("an ");
  if (article) slot.remove_prefix(3);
  const std::size_t dot = slot.find('.');
  if (const auto character = cast_.find(slot.substr(0, dot)); character != cast_.end()) {
    append_character(character->second, dot == std::string_view::npos ? "" : slot.substr(dot + 1));
    return;
  }
  const auto text = texts_.find(slot);
  if (text == texts_.end()) fail(ErrorKind::internal, "story pattern uses an unknown slot", slot);
  if (article) append_text(starts_with_vowel(text->second) ? "an " : "a ");
  append_text(text->second);
}

void Narrator::append_text(std::string_view text) {
  for (char c : text) {
    if (c == '"') {
      quoting_ = !quoting_;
      // A quotation starts with a capital. After one that ends in ! or ? its speaker follows: "Stop!" said
      // Tom.
      capital_ = quoting_ || story_.text.back() == '.';
    } else if (c == '.' || c == '!' || c == '?') {
      capital_ = true;
    } else if (capital_ && std::isalpha(static_cast<unsigned char>(c))) {
      c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      capital_ = false;
    }
    story_.text += c;
  }
}

void Narrator::append_character(std::size_t character, std::string_view form) {
  const StoryCharacter& who = story_.characters[character];
  std::size_t& last = last_named_[static_cast<int>(who.gender)];
  const bool use_pronoun = !form.empty() && last == character;
  const std::size_t offset = story_.text.size();
  append_text(use_pronoun ? pronoun(who.gender, form) : std::string_view(who.name));
  story_.mentions.push_back({offset, story_.text.size() - offset, character, use_pronoun});
  if (!use_pronoun && form == "his") append_text("'s");
  last = character;
}

}  // namespace laconic::story
