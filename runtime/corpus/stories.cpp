#include "runtime/corpus/stories.h"

#include <algorithm>
#include <array>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "runtime/corpus/narrator.h"
#include "runtime/corpus/plots.h"
#include "runtime/corpus/world.h"

namespace laconic {
namespace story {
namespace {

constexpr Plot plot_table[] = {
    {"lost", tell_lost},         {"repair", tell_repair}, {"confession", tell_confession},
    {"gift", tell_gift},         {"storm", tell_storm},   {"trade", tell_trade},
    {"market", tell_market},     {"garden", tell_garden}, {"sharing", tell_sharing},
    {"fear", tell_fear},         {"animal", tell_animal}, {"race", tell_race},
    {"treasure", tell_treasure},
};

// The opening names hero, thing, colour and place, so that the triple can be read from the text.
void tell_opening(Narrator& n) {
  n.say({"Once upon a time, there was a {trait} {child} named {a}.",
         "There once was a {trait} {child} named {a}.", "{a} was a {trait} {child} who {sign}.",
         "Long ago, a {child} named {a} lived near the {place}. {a.he} was {trait}."});
  n.say({"{a} had {an colour} {thing} and liked to {use} it {where}.",
         "{a.he} had {an colour} {thing}. {a.he} loved to {use} it {where}.",
         "The best thing that {a.he} had was {an colour} {thing}. Often {a.he} went out to {use} it {where}.",
         "{g} once gave {a} {an colour} {thing}, and {a.he} liked to {use} it {where}."});
  n.say({"{a.his} best friend was {b}.", "{a} often played with {a.his} friend {b}.",
         "{a} and {b} were good friends."});
  if (n.chance(50)) {
    n.say({"On that day {sky}, and {effect}. So {a} put on {a.his} {wear}.",
           "That day {sky}. {a} put on {a.his} {wear} because {effect}."});
  }
  n.new_paragraph();
}

// Draws the cast and everything that belongs to the place and the thing.
void cast_story(Narrator& n, bool held_out) {
  const Person* hero = nullptr;
  const Thing* thing = nullptr;
  const Place* place = nullptr;
  do {
    hero = &n.choose(children());
    thing = &n.choose(things());
    place = &n.choose(places());
  } while (is_held_out_triple(hero->name, thing->name, place->name) != held_out);
  const Person* best_friend = nullptr;
  do {
    best_friend = &n.choose(children());
  } while (best_friend == hero);
  const Person& grown_up = n.choose(grown_ups());
  n.cast("a", hero->name, hero->gender);
  n.cast("b", best_friend->name, best_friend->gender);
  n.cast("g", grown_up.name, grown_up.gender);
  n.set("child", hero->gender == Gender::male ? "boy" : "girl");
  n.set("thing", thing->name);
  n.set("use", thing->use);
  n.set("damage", thing->damage);
  n.set("tool", thing->tool);
  n.set("repair", thing->repair);
  n.set("where", place->where);
  n.set("place", place->name);
  std::array<std::string_view, 4> spots = place->spots;
  for (std::size_t i = 0; i < 3; ++i)
    std::swap(spots[i], spots[static_cast<std::size_t>(n.between(static_cast<int>(i), 3))]);
  n.set("spot1", spots[0]);
  n.set("spot2", spots[1]);
  n.set("spot3", spots[2]);
  const Animal& animal = n.choose(animals());
  n.set("animal", animal.name);
  n.set("food", animal.food);
  n.set("sound", animal.sound);
  n.set("home", animal.home);
  const Weather& weather = n.choose(weathers());
  n.set("sky", weather.sky);
  n.set("wear", weather.wear);
  n.set("effect", weather.effect);
  const Trait& trait = n.choose(traits());
  n.set("trait", trait.name);
  n.set("sign", trait.sign);
  n.set("colour", n.choose(colours()));
  n.set("key_colour", n.choose(colours()));
  n.set("fruit", n.choose(fruits()));
  n.set("vegetables", n.choose(vegetables()));
  n.set("cake", n.choose(cakes()));
  n.set("song", n.choose(songs()));
  n.set("number", number_word(n.between(2, 9)));
  n.set("age", number_word(n.between(5, 10)));
  n.story().thing = thing->name;
  n.story().place = place->name;
}

}  // namespace

std::span<const Plot> plots() { return plot_table; }

}  // namespace story

bool is_held_out_triple(std::string_view hero, std::string_view thing, std::string_view place) {
  std::string key(hero);
  for (std::string_view part : {thing, place}) {
    key += '\n';
    key += part;
  }
  return xxh3_64(key) % 8 == 0;
}

Story make_story(std::uint64_t seed, std::uint64_t index) {
  using namespace story;
  Narrator narrator(RandomStream(seed, "story", std::to_string(story_generator_version), index));
  cast_story(narrator, index >= first_held_out_story);
  const Plot& plot = narrator.choose(plots());
  tell_opening(narrator);
  plot.tell(narrator);
  Story story = std::move(narrator.story());
  story.plot = plot.name;
  return story;
}

std::string make_stories(std::uint64_t seed, std::uint64_t first, std::uint64_t count) {
  if (count > first_held_out_story || first > UINT64_MAX - count) {
    fail(ErrorKind::usage, "too many stories", std::to_string(count), "ask for fewer");
  }
  std::string text;
  for (std::uint64_t i = 0; i < count; ++i) {
    if (i > 0) text.append(story_separator).append("\n");
    text.append(make_story(seed, first + i).text).append("\n");
  }
  return text;
}

}  // namespace laconic
