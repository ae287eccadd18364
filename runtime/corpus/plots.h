// The plots. Each gets a narrator that knows the hero {a}, a friend {b}, a grown-up {g}, the thing {thing}
// with its {colour} and what belongs to it, the place {where} and its spots, and an animal; see stories.cpp.
#pragma once

#include <span>
#include <string_view>

#include "runtime/corpus/narrator.h"
#include "runtime/corpus/world.h"

namespace laconic::story {

struct Plot {
  std::string_view name;
  void (*tell)(Narrator&);
};

std::span<const Plot> plots();

// plots_of_things.cpp
void tell_lost(Narrator& n);
void tell_repair(Narrator& n);
void tell_confession(Narrator& n);
void tell_gift(Narrator& n);
void tell_storm(Narrator& n);
// plots_of_numbers.cpp
void tell_trade(Narrator& n);
void tell_market(Narrator& n);
void tell_garden(Narrator& n);
void tell_sharing(Narrator& n);
// plots_of_adventure.cpp
void tell_fear(Narrator& n);
void tell_animal(Narrator& n);
void tell_race(Narrator& n);
void tell_treasure(Narrator& n);

}  // namespace laconic::story
