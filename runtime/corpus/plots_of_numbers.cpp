#include <string>

#include "runtime/corpus/plots.h"

namespace laconic::story {
namespace {

// "one apple", "three apples": `plural` ends in s.
std::string count_of(int number, std::string_view plural) {
  std::string noun(plural);
  if (number == 1) {
    if (noun == "cherries")
      noun = "cherry";
    else if (noun == "potatoes" || noun == "tomatoes")
      noun.resize(noun.size() - 2);
    else
      noun.pop_back();
  }
  return std::string(number_word(number)) + " " + noun;
}

}  // namespace

void tell_trade(Narrator& n) {
  const int all = n.between(4, 12), given = n.between(1, all - 2);
  const std::string_view fruit = n.choose(fruits());
  n.set("fruit", fruit);
  n.set("all", count_of(all, fruit));
  n.set("given", count_of(given, fruit));
  n.set("left", count_of(all - given, fruit));
  n.say({"One day, {b} saw the {thing} {where} and liked it very much.",
         "One day, {b} came by {where} with a bag of {fruit}."});
  n.say({"{b} had {all} in {b.his} bag.", "In the bag of {b} there were {all}."});
  n.say({"{a} was hungry and looked at the {fruit}.", "{a} liked {fruit} more than anything else."});
  n.say({"\"May I {use} your {thing} today?\" asked {b}. \"I will give you {given}.\"",
         "\"Give me {given}, and you may {use} my {colour} {thing} today,\" said {a}."});
  n.say({"\"That is fair,\" said {a}.", "They both thought that this was fair.", "They shook hands."});
  n.say({"So {b} gave {a} {given}. Now {b} had {left}.",
         "{b} counted {given} and gave them away. {left} were left in the bag."});
  n.say({"Then {b.he} began to {use} the {thing}.", "{b} took the {thing} and was happy."});
  n.new_paragraph();
  if (n.chance(50)) {
    n.say({"In the evening, {b} brought the {thing} back.",
           "Before dinner, {b} came back with the {colour} {thing}."});
    n.say({"\"Thank you,\" said {b}. \"It was so much fun.\"",
           "\"Here is your {thing}. I was very careful,\" said {b}."});
    n.say({"{a} had kept one of the {given} and gave it back to {b.him}.",
           "{a} smiled and said, \"You may come again.\""});
    n.say({"They sat down and {song}.", "From then on, they traded every week."});
  } else {
    n.say({"But then {damage}.", "But {b} was not careful, and {damage}."});
    n.say({"{b} felt sorry. \"You can have all my {fruit},\" {b.he} said.",
           "\"I am sorry. Please take the other {left} too,\" said {b}."});
    n.say({"\"No,\" said {a}. \"We can fix it.\"",
           "\"Keep your {fruit},\" said {a}. \"Just help me fix it.\""});
    n.say({"They asked {g} for {tool}, and {g} {repair}.", "{a} took {tool} and {repair}."});
    n.say({"Then they shared the last {left}.", "At the end they ate all the {fruit} together."});
  }
}

void tell_market(Narrator& n) {
  const int price = n.between(5, 12), has = n.between(1, price - 2);
  n.set("price", number_word(price));
  n.set("has", count_of(has, "coins"));
  n.set("missing", count_of(price - has, "coins"));
  n.set("missing_number", number_word(price - has));
  n.say({"One day, {a} and {g} went shopping.", "On Saturday, {a} went to a shop with {g}."});
  n.say({"There {a.he} saw {an colour} {thing}, even nicer than the old one.",
         "In the window there was {an colour} {thing}, just like the one that {b} had."});
  n.say({"\"How much is the {thing}?\" asked {a}.", "{a} wanted to have it very much."});
  n.say({"\"It costs {price} coins,\" said the man in the shop.", "The price was {price} coins."});
  n.say({"{a} counted {a.his} money. {a.he} had only {has}.", "But {a} had only {has} in {a.his} pocket."});
  n.say(
      {"\"You need {missing} more,\" said {g}. \"You can work for them.\"", "{a.he} needed {missing} more."});
  n.new_paragraph();
  n.say({"So {a} looked for work {where}.", "{a} asked everybody {where} for work."});
  n.say({"First {a.he} fed the {animal} with {food}.", "First {a.he} carried heavy boxes.",
         "First {a.he} cleaned the windows."});
  n.say({"Then {a.he} helped {g} to pick {vegetables}.", "Then {a.he} swept the floor.",
         "Then {a.he} washed the dishes."});
  n.say({"It was hard work, but {a} did not stop.", "{a}'s arms were tired, but {a.he} did not give up."});
  n.say({"In the evening, {g} gave {a.him} {missing}.",
         "At the end of the week, {a} had {missing_number} more. Now there were {price}!"});
  n.say({"{a} ran back to the shop and bought the {thing}.",
         "The next day, {a} gave the man {price} coins and took the {colour} {thing} home."});
  n.say({"{a.he} was proud because {a.he} had worked for it.",
         "\"I worked for it,\" {a.he} told {b}. {b} was amazed.",
         "{b} came to {use} the {thing} too, and they {song}."});
}

void tell_garden(Narrator& n) {
  const int seeds = n.between(5, 12), lost = n.between(1, 3);
  const std::string_view vegetable = n.choose(vegetables());
  n.set("vegetables", vegetable);
  n.set("seeds", number_word(seeds));
  n.set("lost", number_word(lost));
  n.set("left", number_word(seeds - lost));
  n.set("left_count", count_of(seeds - lost, vegetable));
  n.say(
      {"One spring day, {g} gave {a} {seeds} seeds.", "In spring, {a} found {seeds} seeds in a small bag."});
  n.say({"\"What will they be?\" asked {a}. \"They will be {vegetables},\" said {g}.",
         "They were seeds for {vegetables}."});
  n.say({"{a} put the seeds in the ground {where} and gave them water.",
         "{a} made {seeds} holes {where} and put one seed in each."});
  n.say({"{a.he} used the {colour} {thing} to mark the place.",
         "{a.he} put the {thing} beside them so that nobody would step on them."});
  n.say({"Every day {a.he} came with water and waited.",
         "{a} watched them every morning, but nothing happened."});
  n.say({"After {number} days, small green leaves came out.",
         "It rained for {number} days, and then small green leaves came out."});
  n.new_paragraph();
  n.say(
      {"But one night, {an animal} came and ate {lost} of them.", "But then a storm broke {lost} of them."});
  n.say({"\"Now I have only {left},\" said {a} sadly.", "{a} counted. Only {left} were left."});
  n.say({"\"We can build a fence,\" said {b}.", "{b} had an idea. \"We need a fence,\" {b.he} said."});
  n.say({"They built a fence of wood, and {a} hung the {thing} on it.",
         "Together they built a small fence around them."});
  n.say({"In summer, the plants grew tall.", "The plants grew and grew."});
  n.say({"In fall, {a} picked {left_count}.", "At last there were {left_count}, big and fresh."});
  n.say({"{g} made a big soup, and everybody ate.", "{a} gave some to {b}, and {g} cooked the rest."});
  n.say({"\"This is the best soup ever,\" said {b}.", "It tasted better than anything from the shop.",
         "{a} was proud of {a.his} work."});
  n.say({"{a} learned that good things take time.", "\"Good things take time,\" said {g}."});
}

void tell_sharing(Narrator& n) {
  const int each = n.between(2, 6);
  const std::string_view fruit = n.choose(fruits());
  n.set("fruit", fruit);
  n.set("each", count_of(each, fruit));
  n.set("each_number", number_word(each));
  n.set("all", count_of(2 * each, fruit));
  n.set("less", count_of(each - 1, fruit));
  n.say({"One day, {a} found {all} {spot1} {where}.",
         "One day, {a} and {b} were {where}. {a} saw {all} {spot1}."});
  n.say({"{a} put all of them behind the {colour} {thing} and wanted to keep them.",
         "\"These are all mine,\" said {a} and put them beside the {thing}."});
  n.say({"{b} looked at the {fruit} and was sad because {b.he} had nothing.",
         "\"Can I have some too?\" asked {b}."});
  n.say({"\"No, I found them,\" said {a}.", "{a} shook {a.his} head and said no."});
  n.say({"So {b} walked away.", "{b} sat down alone and was quiet."});
  n.new_paragraph();
  n.say({"But it was no fun to {use} the {thing} alone.",
         "Soon {a} felt lonely. The {thing} was no fun without a friend."});
  n.say({"{g} saw this and said, \"Sharing makes everything better.\"",
         "\"Why are you so sad?\" asked {g}. \"Go and share with your friend.\""});
  n.say({"{a} thought about it and went to {b}.", "Then {a} felt sorry and ran to {b}."});
  n.say({"\"I have {all}. You get {each_number}, and I get {each_number},\" said {a}.",
         "{a} counted the {fruit} and gave {b} {each}. Now both had {each_number}."});
  n.say({"{b} smiled again.", "\"Thank you!\" said {b}."});
  n.say({"They gave one to {an animal} that {sound}. Now {b} had {less}.",
         "Each of them ate one. Then {a} had {less}, and {b} had {less}."});
  n.say({"Then they took turns to {use} the {thing}.",
         "They played with the {colour} {thing} until it was dark."});
  n.say({"{a} learned that sharing is better than keeping.", "It was the best day of the week."});
}

}  // namespace laconic::story
