#include "runtime/corpus/plots.h"

namespace laconic::story {

void tell_lost(Narrator& n) {
  n.say({"One day, {a} took the {thing} and went out to play {where}.",
         "One morning, {a} wanted to {use} the {thing} {where}.",
         "In the afternoon, {a} and {b} played {where}, and the {thing} was with them."});
  n.say({"After a while, {a.he} saw that the {thing} was gone.",
         "Then {a.he} looked around. The {thing} was gone!",
         "When it was time to go home, {a.he} could not find the {thing}."});
  n.say({"{a} felt sad and began to cry.", "{a.he} was very worried.", "{a}'s eyes filled with tears."});
  n.say({"\"Where is my {colour} {thing}?\" asked {a}.", "\"Oh no! I lost my {thing},\" said {a}.",
         "\"Have you seen my {colour} {thing}?\" {a.he} asked {b}."});
  n.say({"{b} came to help.", "{b} heard this and ran to {a.him}.",
         "\"Do not cry,\" said {b}. \"I will help you.\""});
  n.new_paragraph();
  n.say({"First they looked {spot1}, but there was only {an animal}.",
         "First they looked {spot1}, but they found nothing there.",
         "They looked {spot1}, but they saw only some old leaves."});
  if (n.chance(60)) {
    n.say({"Then they looked {spot2}, but the {thing} was not there.",
           "Next they looked {spot2}. There was no {thing}."});
    n.say({"{a} wanted to stop, but {b} did not give up.", "\"Let us try one more time,\" said {b}.",
           "{a} was tired, but {a.he} kept looking."});
  }
  n.say({"At last they looked {spot3}.", "Finally, {b} looked {spot3}.",
         "Then {a} had an idea and looked {spot3}."});
  n.say({"There was the {colour} {thing}!", "The {colour} {thing} was there, and it was not even dirty.",
         "Something {colour} was there. It was the {thing}!"});
  n.say({"\"Thank you, {b},\" said {a}. \"You are a good friend.\"", "{a} hugged {b} and thanked {b.him}.",
         "{a} was so happy that {a.he} jumped up and down."});
  n.say({"From then on, {a} always took good care of the {thing}.",
         "That evening, {a} put the {thing} beside {a.his} bed and slept well.",
         "After that day, {a} never forgot the {thing} {where} again."});
}

void tell_repair(Narrator& n) {
  n.say({"One day, {a} wanted to {use} the {thing} {where}.",
         "On Monday, {a} took the {thing} out to play {where}.",
         "One morning, {a} ran {where} with the {thing} in {a.his} hands."});
  n.say({"But {a.he} fell, and {damage}.", "But {a.he} was not careful, and {damage}.",
         "Then {a.he} ran too fast and hit a stone, and {damage}."});
  n.say({"\"Oh no!\" cried {a}. \"My {thing} is broken.\"", "{a} sat down and began to cry.",
         "{a} was sad because {a.he} could not {use} the {thing} now."});
  n.new_paragraph();
  n.say({"{a} took the {thing} to {g}.", "{g} saw this and came to {a.him}.",
         "{a} went home and showed the {thing} to {g}."});
  n.say({"\"Can you fix it?\" asked {a}.", "\"Please help me,\" said {a}.", "\"What happened?\" asked {g}."});
  n.say(
      {"{g} looked at the {colour} {thing} and smiled.", "{g} thought for a moment.", "{g} nodded slowly."});
  n.say({"\"We only need {tool},\" said {g}.", "\"Bring me {tool}, and we will fix it together,\" said {g}.",
         "\"Do not worry. I have {tool},\" {g.he} said."});
  n.say({"So {g} {repair}, and {a} helped.", "{a} watched while {g} {repair}.",
         "{g} showed {a} how to do it, and then {a} {repair}."});
  n.say({"Soon the {thing} was as good as new.", "It took one hour, but then the {thing} was like new.",
         "Now the {thing} was even better than before."});
  n.say({"\"Thank you, {g}!\" said {a}.", "{a} hugged {g} and laughed.", "{a} was happy and thanked {g}."});
  n.say({"Then {a.he} ran back to {use} the {thing} {where}.", "{a} learned that broken things can be fixed.",
         "The next day, {a} showed the {thing} to {b}, and they played together."});
}

void tell_confession(Narrator& n) {
  n.say({"One day, {a} and {b} played {where}.", "{b} came to visit, and they went out to play {where}.",
         "On Sunday, {a} met {b} {where}."});
  n.say({"{a} let {b} {use} the {thing}.",
         "\"May I {use} your {colour} {thing}?\" asked {b}. \"Yes, but be careful,\" said {a}.",
         "{b} wanted to {use} the {thing}, and {a} said yes."});
  n.say({"But when {a} was not looking, {damage}.",
         "{a} went away to get some water. Then {b} fell, and {damage}."});
  n.say({"{b} was afraid that {a} would be angry.", "{b} felt bad and did not know what to do.",
         "{b} turned pale."});
  n.say({"So {b.he} hid the {thing} {spot1}.", "{b} put the {thing} {spot1} and said nothing."});
  n.new_paragraph();
  n.say(
      {"When {a} came back, {a.he} asked, \"Where is my {thing}?\"", "\"Where is the {thing}?\" asked {a}."});
  n.say({"\"I do not know,\" said {b}. \"Maybe the {animal} took it.\"",
         "\"Maybe the wind took it,\" said {b}.", "\"I think the {animal} has it,\" said {b}."});
  n.say({"{a} looked for it for a long time and was very sad.",
         "{a} looked everywhere, but {a.he} did not find it.",
         "{a} believed this and went home without the {thing}."});
  n.say({"That night, {b} could not sleep.", "{b} could not eat and could not play.",
         "{b} felt worse and worse."});
  n.say({"In the morning, {b.he} went to {a} and told the truth.",
         "At last {b} said, \"It was not the truth. I broke your {thing}, and I hid it {spot1}.\""});
  n.say({"\"I am sorry,\" said {b}.", "\"Please forgive me,\" said {b}. \"I was afraid.\""});
  n.say({"{a} was quiet for a moment. Then {a.he} smiled.", "At first {a} was angry, but then {a.he} smiled.",
         "{a} took {a.his} friend's hand."});
  n.say({"\"Thank you for telling me the truth,\" {a.he} said.",
         "\"I forgive you,\" said {a}. \"We can fix it.\""});
  n.say({"Together they took {tool}, and {b} {repair}.", "They asked {g} for {tool}, and {g} {repair}."});
  n.say({"{b} never told a lie again.", "From that day on, they were better friends than before.",
         "{b} learned that the truth is always best."});
}

void tell_gift(Narrator& n) {
  n.say({"Soon it was the birthday of {b}.", "{b} was going to be {age} years old the next day.",
         "On Friday, {b} had a birthday party."});
  n.say({"{a} wanted to give {b.him} something nice.", "{a} thought about a gift for {b.him}."});
  n.say({"{b} always looked at the {colour} {thing} when they met {where}.",
         "{a} knew that {b} had no {thing} and liked to {use} one.",
         "Once, {where}, {b} had said, \"I wish I had {an colour} {thing}.\""});
  n.say({"So {a} made {an colour} {thing} all by {a.himself}.",
         "So {a} and {g} made {an colour} {thing}. It took {number} days.",
         "So {a} saved {number} coins and bought {an colour} {thing}."});
  n.say({"{a} put it in a big box and hid the box {spot1}.", "{a} put it in a small bag and told nobody."});
  n.new_paragraph();
  n.say({"At the party, there was {an cake}.", "{g} baked {an cake} for the party.",
         "{number} children came to the party, and they ate {an cake}."});
  n.say({"\"This is for you, {b},\" said {a}.", "{a} gave the gift to {b} and said, \"Happy birthday!\""});
  n.say({"{b} opened it and could not believe it.", "{b} opened it slowly and looked inside.",
         "{b} opened it and laughed with joy."});
  n.say({"\"{an colour} {thing}!\" cried {b}. \"I love it.\"",
         "\"This is the best gift of all,\" said {b}. \"Now I can {use} it every day.\"",
         "It was the {thing} that {b.he} had wished for!"});
  n.say({"{b} hugged {a}.", "{b} thanked {a} many times."});
  n.say({"Then they all {song}.", "They went out to {use} the {thing} {where}, and then they {song}.",
         "They ate the last piece of {cake} and {song}."});
  n.say({"{a} learned that giving makes you happy.", "{a} was just as happy as {b}."});
}

void tell_storm(Narrator& n) {
  n.say({"One day, {a} and {b} were playing {where} with the {thing}.",
         "{a} and {b} wanted to {use} the {thing} {where} all day."});
  n.say({"In the morning the sky was blue.", "At first it was warm and the birds were singing."});
  n.say({"But then dark clouds came, and it began to rain.",
         "But suddenly the sky turned dark and the wind began to blow.",
         "But then there was a loud boom in the sky."});
  n.say(
      {"The wind took the {thing} and carried it away.", "The wind blew so hard that {a} lost the {thing}."});
  n.say({"\"My {colour} {thing}!\" cried {a}.", "\"Come back, {thing}!\" cried {a}."});
  n.say({"\"We must go home,\" said {b}. \"It is not safe here.\"",
         "{b} took {a} by the hand, and they ran home."});
  n.say({"At home, {g} gave them dry clothes and hot milk.", "{g} opened the door and gave them warm soup."});
  n.say({"{a} looked out of the window and was sad.", "All night {a} thought about the {thing}."});
  n.new_paragraph();
  n.say({"The next morning, the storm was over.", "When the sun came up, the rain had stopped."});
  n.say({"{a} and {b} went back to look for the {thing}.", "\"Let us look for the {thing},\" said {b}."});
  n.say({"They looked {spot1} and then {spot2}, but they did not find it.",
         "It was not {spot1}, and it was not {spot2}."});
  n.say({"Then {an animal} came and {sound}.", "Then they heard {an animal}. It {sound}."});
  n.say({"The {thing} was in its home! It was wet, but it was not broken.",
         "It sat on something {colour}. It was the {thing}, wet but not broken!"});
  n.say({"{a} gave the {animal} some {food} to say thank you.",
         "\"Thank you, little friend,\" said {a} and gave it some {food}."});
  n.say({"{g} dried the {thing} by the fire.", "They put the {thing} in the sun until it was dry."});
  n.say({"After that, {a} always looked at the sky before going out.",
         "When clouds came again, {a} took the {thing} inside."});
}

}  // namespace laconic::story
