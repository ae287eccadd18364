// Short stories from a seeded generator: text to train, calibrate and evaluate small language models on,
// without a download. A story is a pure function of (seed, index) and of story_generator_version.
//
// Every story has a hero, a thing and a place, and follows one of thirteen plots. Much of it must be
// remembered over many sentences: who is he and who is she, the colour of the thing, the weather, how many
// are left, which animal eats what, in which order places were visited, and why something happened.
//
// Held out means new in two ways. Indices from first_held_out_story on have random streams that no training
// index has, and the triple (hero, thing, place) of a held-out story never occurs in a training story,
// whatever the seeds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace laconic {

inline constexpr int story_generator_version = 1;
inline constexpr std::uint64_t first_held_out_story = std::uint64_t{1} << 40;
inline constexpr std::string_view story_separator = "<|endoftext|>";

enum class Gender { male, female };

struct StoryCharacter {
  std::string name;  // "Lily", "Grandpa", "Captain Bob"
  Gender gender = Gender::male;
};

// A name or pronoun in the text and the character it stands for.
struct StoryMention {
  std::size_t offset = 0, length = 0;  // bytes of Story::text
  std::size_t character = 0;           // index into Story::characters
  bool pronoun = false;
};

struct Story {
  std::string text;  // one or more paragraphs separated by newlines, no newline at the end
  std::string plot;  // "lost", "trade", ...
  std::string thing, place;
  std::vector<StoryCharacter> characters;  // the hero first
  std::vector<StoryMention> mentions;      // in text order
};

Story make_story(std::uint64_t seed, std::uint64_t index);

// Stories first, first + 1, ..., separated by a line that holds only `<|endoftext|>`.
std::string make_stories(std::uint64_t seed, std::uint64_t first, std::uint64_t count);
inline std::string make_training_stories(std::uint64_t seed, std::uint64_t count) {
  return make_stories(seed, 0, count);
}
inline std::string make_held_out_stories(std::uint64_t seed, std::uint64_t count) {
  return make_stories(seed, first_held_out_story, count);
}

// True where the triple belongs to held-out stories (about one in eight).
bool is_held_out_triple(std::string_view hero, std::string_view thing, std::string_view place);

}  // namespace laconic
