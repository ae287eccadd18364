// What stories are made of: people, animals, places, things, weather. Plain tables, so that a plot can rely
// on what belongs together (a rabbit eats carrots, a kite has a string, a lake has a boat house).
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "runtime/corpus/stories.h"

namespace laconic::story {

struct Person {
  std::string_view name;
  Gender gender;
};

struct Thing {
  std::string_view name;    // "kite"
  std::string_view use;     // "fly": to fly the kite
  std::string_view damage;  // "the string broke"
  std::string_view tool;    // "some new string"
  std::string_view repair;  // "tied the new string to the kite"
};

struct Place {
  std::string_view where;                 // "in the park"
  std::string_view name;                  // "park"
  std::array<std::string_view, 4> spots;  // "under the bench"
};

struct Animal {
  std::string_view name, food, sound, home;
};

struct Weather {
  std::string_view sky;     // "the sun was shining"
  std::string_view wear;    // "hat": what one puts on
  std::string_view effect;  // "it was very hot"
};

struct Trait {
  std::string_view name;  // "brave"
  std::string_view sign;  // "was never afraid for long"
};

std::span<const Person> children();
std::span<const Person> grown_ups();
std::span<const Thing> things();
std::span<const Place> places();
std::span<const Animal> animals();
std::span<const Weather> weathers();
std::span<const Trait> traits();
std::span<const std::string_view> colours();
std::span<const std::string_view> fruits();  // plural, countable: "apples"
std::span<const std::string_view> vegetables();
std::span<const std::string_view> cakes();
std::span<const std::string_view> songs();  // what people do when they are glad: "sang a song"

// "one" ... "twenty"
std::string_view number_word(int number);

}  // namespace laconic::story
