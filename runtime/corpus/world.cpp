#include "runtime/corpus/world.h"

#include "engine/base/error.h"

namespace laconic::story {
namespace {

constexpr Person child_table[] = {
    {"Tom", Gender::male},    {"Ben", Gender::male},    {"Sam", Gender::male},    {"Max", Gender::male},
    {"Leo", Gender::male},    {"Jack", Gender::male},   {"Tim", Gender::male},    {"Finn", Gender::male},
    {"Omar", Gender::male},   {"Ravi", Gender::male},   {"Hugo", Gender::male},   {"Noah", Gender::male},
    {"Lily", Gender::female}, {"Mia", Gender::female},  {"Anna", Gender::female}, {"Zoe", Gender::female},
    {"Emma", Gender::female}, {"Lucy", Gender::female}, {"Sara", Gender::female}, {"Nora", Gender::female},
    {"Ella", Gender::female}, {"Ivy", Gender::female},  {"Rosa", Gender::female}, {"Maya", Gender::female},
};

constexpr Person grown_up_table[] = {
    {"Mom", Gender::female},      {"Dad", Gender::male},         {"Grandma", Gender::female},
    {"Grandpa", Gender::male},    {"Aunt Rose", Gender::female}, {"Uncle Joe", Gender::male},
    {"Farmer Bob", Gender::male}, {"Miss Hill", Gender::female}, {"Captain Nell", Gender::female},
    {"Baker Paul", Gender::male},
};

constexpr Thing thing_table[] = {
    {"kite", "fly", "the string broke", "some new string", "tied the new string to the kite"},
    {"ball", "kick", "all the air came out", "a pump", "filled the ball with air again"},
    {"boat", "sail", "the sail tore", "a needle", "sewed the sail with small stitches"},
    {"book", "read", "three pages tore", "some tape", "put the pages back with tape"},
    {"drum", "play", "the drum cracked", "some glue", "closed the crack with glue"},
    {"train", "push", "a wheel came off", "a hammer", "put the wheel back with the hammer"},
    {"doll", "dress", "one arm came off", "a needle", "sewed the arm back on"},
    {"wagon", "pull", "a wheel came off", "a hammer", "put the wheel back with the hammer"},
    {"lamp", "light", "the glass cracked", "some glue", "closed the crack with glue"},
    {"hat", "wear", "the hat got a hole", "a needle", "sewed the hole with small stitches"},
    {"scarf", "wear", "the scarf got a hole", "some wool", "closed the hole with soft wool"},
    {"basket", "carry", "the handle broke", "a rope", "made a new handle out of rope"},
    {"bell", "ring", "the handle broke", "a rope", "made a new handle out of rope"},
    {"flute", "play", "the flute cracked", "some tape", "closed the crack with tape"},
    {"bucket", "fill", "the handle broke", "a rope", "made a new handle out of rope"},
    {"map", "read", "the map tore", "some tape", "put the map together with tape"},
    {"mirror", "clean", "the glass cracked", "some glue", "closed the crack with glue"},
    {"robot", "wind up", "one leg came off", "some glue", "put the leg back with glue"},
    {"bike", "ride", "a wheel came off", "a hammer", "put the wheel back with the hammer"},
    {"puppet", "move", "the string broke", "some new string", "tied the new string to the puppet"},
};

constexpr Place place_table[] = {
    {"in the park", "park", {"under the bench", "behind the big tree", "near the pond", "beside the swings"}},
    {"in the forest",
     "forest",
     {"under the leaves", "behind a rock", "near the stream", "inside a hollow log"}},
    {"at the beach", "beach", {"under the sand", "behind a rock", "near the water", "inside an old boat"}},
    {"on the farm", "farm", {"under the cart", "behind the barn", "near the well", "inside the stable"}},
    {"in the garden", "garden", {"under the bench", "behind the roses", "near the gate", "beside the pond"}},
    {"at the lake",
     "lake",
     {"under the bridge", "behind the boat house", "near the water", "beside the reeds"}},
    {"at the market",
     "market",
     {"under a table", "behind the bread stand", "near the well", "inside an empty box"}},
    {"on the hill", "hill", {"under the old oak", "behind the wall", "near the mill", "inside a small cave"}},
    {"at school", "school", {"under the desk", "behind the door", "near the window", "inside the closet"}},
    {"in the village",
     "village",
     {"under the stairs", "behind the church", "near the well", "beside the bakery"}},
};

constexpr Animal animal_table[] = {
    {"rabbit", "carrots", "wiggled its nose", "a hole under the hedge"},
    {"duck", "bread", "quacked", "a nest in the reeds"},
    {"squirrel", "nuts", "waved its tail", "a hole in the oak"},
    {"kitten", "milk", "purred", "a box in the barn"},
    {"puppy", "bones", "barked", "a basket by the door"},
    {"goat", "grass", "shook its head", "a shed behind the house"},
    {"mouse", "cheese", "squeaked", "a hole in the wall"},
    {"owl", "seeds", "blinked", "a nest in the tower"},
    {"horse", "apples", "stamped its foot", "a stable near the road"},
    {"bear", "honey", "growled softly", "a cave on the hill"},
};

constexpr Weather weather_table[] = {
    {"the sun was shining", "hat", "it was very hot"},
    {"it was raining", "coat", "the ground was wet"},
    {"the wind was strong", "scarf", "leaves flew through the air"},
    {"snow was falling", "gloves", "everything was white"},
    {"the sky was gray", "coat", "it was cold"},
    {"there was fog", "scarf", "nobody could see far"},
};

constexpr Trait trait_table[] = {
    {"brave", "did not give up"},        {"kind", "liked to help"},
    {"clever", "had many ideas"},        {"shy", "did not talk much"},
    {"curious", "asked many questions"}, {"patient", "could wait a long time"},
    {"funny", "told good jokes"},        {"careful", "looked at everything twice"},
};

constexpr std::string_view colour_table[] = {"red",   "blue",   "green",  "yellow", "white",
                                             "brown", "golden", "silver", "purple", "orange"};
constexpr std::string_view fruit_table[] = {"apples", "pears",   "plums",  "cherries",
                                            "nuts",   "cookies", "shells", "stones"};
constexpr std::string_view vegetable_table[] = {"carrots",  "beans",  "potatoes",
                                                "pumpkins", "onions", "tomatoes"};
constexpr std::string_view cake_table[] = {"chocolate cake", "apple pie", "honey cake", "cherry pie",
                                           "lemon cake"};
constexpr std::string_view song_table[] = {"sang a song", "danced in a circle", "laughed for a long time",
                                           "clapped their hands", "told each other stories"};
constexpr std::string_view number_table[] = {"one",     "two",       "three",    "four",     "five",
                                             "six",     "seven",     "eight",    "nine",     "ten",
                                             "eleven",  "twelve",    "thirteen", "fourteen", "fifteen",
                                             "sixteen", "seventeen", "eighteen", "nineteen", "twenty"};

}  // namespace

std::span<const Person> children() { return child_table; }
std::span<const Person> grown_ups() { return grown_up_table; }
std::span<const Thing> things() { return thing_table; }
std::span<const Place> places() { return place_table; }
std::span<const Animal> animals() { return animal_table; }
std::span<const Weather> weathers() { return weather_table; }
std::span<const Trait> traits() { return trait_table; }
std::span<const std::string_view> colours() { return colour_table; }
std::span<const std::string_view> fruits() { return fruit_table; }
std::span<const std::string_view> vegetables() { return vegetable_table; }
std::span<const std::string_view> cakes() { return cake_table; }
std::span<const std::string_view> songs() { return song_table; }

std::string_view number_word(int number) {
  require(number >= 1 && number <= 20, "story numbers lie between one and twenty");
  return number_table[number - 1];
}

}  // namespace laconic::story
