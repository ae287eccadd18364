#include "runtime/corpus/plots.h"

namespace laconic::story {
namespace {

constexpr std::string_view dark_places[] = {"cave", "cellar", "old house", "tower"};

}  // namespace

void tell_fear(Narrator& n) {
  n.set("dark", n.choose(std::span<const std::string_view>(dark_places)));
  n.say({"{a} was afraid of only one thing, the dark {dark}.",
         "There was a dark {dark} near {g}'s house, and {a} was afraid of it."});
  n.say({"One day, {a} and {b} played {where} with the {thing}.",
         "One day, {a} went out to {use} the {thing} {where}, and {b} came too."});
  n.say({"Then the {animal} took the {thing} and ran into the {dark}.",
         "Suddenly, {an animal} came. It took the {thing} and ran into the {dark}."});
  n.say({"\"My {thing} is in there,\" said {a}. {a.his} knees were shaking.",
         "\"I cannot go in there,\" said {a}. \"It is too dark.\""});
  n.say({"\"I will go with you,\" said {b}.",
         "\"We can go together,\" said {b}. \"Two are braver than one.\""});
  n.say({"{b} gave {a} a small light.", "{g} gave them a small light."});
  n.new_paragraph();
  n.say({"{a} took a deep breath and went into the {dark}.", "Step by step, they went into the {dark}."});
  n.say({"It was cold and quiet inside.", "The walls were wet, and it was very quiet."});
  n.say({"Then they heard a strange sound.", "Suddenly, something moved in the corner."});
  n.say({"{a} wanted to run away, but {b} held {a.his} hand.",
         "{a}'s heart beat fast, but {a.he} did not run."});
  n.say({"{a} held up the light. It was only the {animal}!",
         "In the light they saw the {animal}. It {sound}."});
  n.say({"It had {number} babies, and they were sleeping on the {colour} {thing}.",
         "It was lying on the {colour} {thing} because it was cold."});
  n.say({"{a} gave it {food}, and it gave the {thing} back.",
         "{a} put some {food} on the floor. The {animal} came to eat, and {a} took the {thing}."});
  n.say({"\"That was not so bad,\" said {a} outside.", "\"You were very brave,\" said {b}."});
  n.say({"After that, {a} was not afraid of the {dark} any more.",
         "{a} laughed. The {dark} was just {an dark}."});
}

void tell_animal(Narrator& n) {
  n.say({"One day, {a} heard a small sound {where}.",
         "One cold day, {a} walked home with the {thing} and heard something {spot1}."});
  n.say({"It was {an animal}, and it had hurt its leg.",
         "There was {an animal}. It was hungry and could not walk."});
  n.say({"\"You poor little {animal},\" said {a}.", "{a} felt sorry for it.",
         "\"Do not be afraid,\" said {a} softly."});
  n.say({"{a} gave {a.his} {wear} to keep it warm.",
         "{a} took off {a.his} {wear} and put it around the {animal}."});
  n.say({"Then {a.he} carried it home to {g}.", "{a} called {g}, and they carried it home."});
  n.new_paragraph();
  n.say({"\"What does it eat?\" asked {a}. \"It likes {food},\" said {g}.",
         "{g} brought some {food}, and the {animal} ate all of it."});
  n.say(
      {"The {animal} stayed for {number} days.", "For {number} days, {a} brought it {food} every morning."});
  n.say({"{b} came to see it too, and it {sound}.", "When {b} visited, the {animal} {sound}."});
  n.say({"Soon it could walk again.", "Its leg was better now."});
  n.say({"\"It wants to go home to {home},\" said {g}.",
         "\"It is time to let it go,\" said {g}. \"Its home is {home}.\""});
  n.say({"{a} was sad, but {a.he} said goodbye.", "{a} cried a little and opened the door."});
  n.new_paragraph();
  n.say({"A week later, {a} lost the {thing} {where}.",
         "In winter, the {thing} fell into the deep snow {where}."});
  n.say({"{a.he} looked {spot2}, but the {thing} was not there.", "{a} looked for it for hours."});
  n.say({"Then {a.he} heard a sound. The {animal} was back, and it {sound}!",
         "Suddenly, the {animal} stood there and {sound}."});
  n.say({"It pulled something {colour} out {spot3}. It was the {thing}!",
         "It ran {spot3} and came back with the {colour} {thing}."});
  n.say({"\"You helped me because I helped you,\" said {a}.", "{a} gave it some {food} and hugged it.",
         "From then on, they were friends forever."});
}

void tell_race(Narrator& n) {
  n.say({"One day, there was a race {where}.", "{g} wanted to have a race {where}."});
  n.say({"The prize was {an colour} {thing}.", "\"Who wins the race gets {an colour} {thing},\" said {g}."});
  n.say({"{a} and {b} both wanted to win.", "{a} wanted to {use} the new {thing}, and {b} wanted it too."});
  const bool careless = n.chance(50);
  if (careless) {
    n.say({"{b} was very fast. \"I will win,\" {b.he} said. \"{a} is so slow.\"",
           "\"I am the fastest of all,\" said {b} and laughed at {a}."});
    n.say({"{a} said nothing, but {a.he} ran every day to get better.",
           "{a} only smiled. Every morning {a.he} ran to the mill and back."});
  } else {
    n.say({"{b} was fast, but {b.he} was always kind.", "{a} was fast, and {b} was fast too."});
    n.say({"\"May the best one win,\" said {b}.", "They shook hands before the race."});
  }
  n.new_paragraph();
  n.say({"\"One, two, three, go!\" said {g}.", "{g} rang a bell, and the race began."});
  if (careless) {
    n.say({"{b} was far ahead. {b.he} looked back and could not see {a}.",
           "Soon {b} was first, and {a} was far behind."});
    n.say(
        {"So {b} sat down {spot1} to rest and fell asleep.", "So {b} stopped to eat some {fruit} {spot1}."});
    n.say({"{a} ran and ran and did not stop.", "Step by step, {a} came closer and passed {b.him}."});
    n.say({"When {b} saw this, it was too late.", "{b} got up and ran, but it was too late."});
    n.say({"{a} won the race!", "{a} was first!"});
    n.say({"{g} gave {a} the {colour} {thing}.", "The {colour} {thing} was for {a}."});
    n.say(
        {"{b} was ashamed. \"I am sorry that I laughed,\" {b.he} said.", "{b} learned not to be so proud."});
    n.say({"\"You can {use} it too,\" said {a}.", "{a} was kind and let {b} {use} the {thing}."});
  } else {
    n.say({"{a} was first, and {b} was right behind {a.him}.", "They ran side by side."});
    n.say({"Suddenly, {b} fell {spot1} and hurt {b.his} knee.", "Then {b} stepped on a stone and fell."});
    n.say({"{a} heard {b.him} cry and stopped.", "{a} looked at the end of the road, and then at {b}."});
    n.say({"{a} went back to help, although {a.he} could have won.",
           "\"A friend is more than a prize,\" thought {a} and turned back."});
    n.say(
        {"They walked to the end together, hand in hand.", "{a} helped {b} up, and they finished together."});
    n.say({"\"You are both winners,\" said {g}.", "Everybody clapped for them."});
    n.say({"{g} gave the {colour} {thing} to both of them.", "So the {colour} {thing} was for both."});
  }
  n.say({"Then they all ate {cake} and {song}.", "That evening, they {song}."});
}

void tell_treasure(Narrator& n) {
  n.say({"One day, {a} found an old letter {spot1}.", "One day, the {animal} brought {a} an old letter."});
  n.say({"It said, \"Look {spot2} {where}.\"", "On it was written, \"Go and look {spot2} {where}.\""});
  n.say(
      {"{a} showed it to {b}. \"A treasure!\" said {b}.", "\"This is about a treasure,\" said {a} to {b}."});
  n.say({"They took the {thing} with them and ran off.", "They put some {fruit} into a bag and ran off."});
  n.say({"They looked {spot2} and found {an key_colour} key.", "{an key_colour} key was lying {spot2}."});
  n.say({"Beside it was a second letter. It said, \"Now look {spot3}.\"",
         "There was a second letter too. \"Look {spot3},\" it said."});
  n.new_paragraph();
  n.say({"They looked {spot3}, and there was a big box.",
         "So they went to look {spot3}. {b} saw a big box there."});
  n.say({"The box had {an key_colour} lock.", "On the box was {an key_colour} lock."});
  n.say({"\"The key is {key_colour}, and the lock is {key_colour},\" said {a}.",
         "\"It must be the {key_colour} key,\" said {b}."});
  n.say(
      {"{a} turned the key, and the box opened.", "{b} put the key into the lock, and {a} opened the box."});
  n.say({"Inside they found {number} coins and a picture of {g}.",
         "Inside were {number} gold coins and a third letter."});
  n.say({"\"{g} made all this for us!\" said {a}.",
         "Then {g} came out from behind a tree and laughed. \"You found it!\""});
  n.say({"First there was the letter, then the {key_colour} key, and at last the box.",
         "What a day! They had looked {spot2} and then {spot3}."});
  n.say({"{a} and {b} shared the {number} coins.",
         "With the {number} coins they bought {cake} for everybody."});
  n.say({"{a} hung the {key_colour} key beside the {thing} and kept it forever.",
         "{a} tied the {key_colour} key to the {colour} {thing} and never lost it."});
}

}  // namespace laconic::story
