#include "runtime/corpus/retrieval.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/base/error.h"
#include "engine/base/hash.h"
#include "runtime/corpus/retrieval_words.h"

namespace laconic {
namespace {

using retrieval::first_words;
using retrieval::second_words;

template <class Table>
auto pick(RandomStream& random, const Table& table) {
  return table[random.below(static_cast<std::uint32_t>(std::size(table)))];
}
std::size_t between(RandomStream& random, std::size_t low, std::size_t high) {
  return low + random.below(static_cast<std::uint32_t>(high - low + 1));
}
bool chance(RandomStream& random, std::uint32_t percent) { return random.below(100) < percent; }

template <class T>
void shuffle(RandomStream& random, std::vector<T>& items) {
  for (std::size_t i = items.size(); i > 1; --i)
    std::swap(items[i - 1], items[random.below(static_cast<std::uint32_t>(i))]);
}

std::string digits(RandomStream& random, std::size_t count) {
  std::string text;
  while (text.size() < count) text += static_cast<char>('0' + random.below(10));
  return text;
}

std::string distinct_digits(RandomStream& random, std::size_t count) {
  std::string left = "0123456789", text;
  while (text.size() < count) {
    const std::size_t drawn = random.below(static_cast<std::uint32_t>(left.size()));
    text += left[drawn];
    left.erase(drawn, 1);
  }
  return text;
}

std::string letters(RandomStream& random, std::size_t count) {
  std::string text;
  while (text.size() < count) text += static_cast<char>('a' + random.below(26));
  return text;
}

// Draws until `draw` gives something that is not among `taken`.
template <class Draw>
std::string distinct(std::vector<std::string>& taken, Draw draw) {
  std::string text;
  do {
    text = draw();
  } while (std::find(taken.begin(), taken.end(), text) != taken.end());
  taken.push_back(text);
  return text;
}

std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find_first_of(" \n", begin), text.size());
    if (end > begin) words.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return words;
}

struct Fact {
  std::string entity, code;
};

std::vector<Fact> draw_facts(RandomStream& random, std::size_t count, bool held_out, bool digits_differ) {
  std::vector<std::string> entities, codes;
  std::vector<Fact> facts(count);
  for (Fact& fact : facts) {
    fact.entity = distinct(entities, [&] { return draw_entity(random, held_out); });
    fact.code =
        distinct(codes, [&] { return digits_differ ? distinct_digits(random, 4) : digits(random, 4); });
  }
  return facts;
}

std::string statement(const Fact& fact) { return " The code of " + fact.entity + " is " + fact.code + "."; }
std::string question(const Fact& fact) {
  return "\nWhat is the code of " + fact.entity + "? The code of " + fact.entity + " is";
}

void append_statement(std::vector<DocumentPart>& parts, const Fact& fact) {
  parts.push_back({" The code of", PartRole::text});
  parts.push_back({" " + fact.entity, PartRole::given});
  parts.push_back({" is", PartRole::text});
  parts.push_back({" " + fact.code, PartRole::given});
  parts.push_back({".", PartRole::text});
}

void append_question(std::vector<DocumentPart>& parts, const Fact& fact) {
  parts.push_back({"\nWhat is the code of", PartRole::text});
  parts.push_back({" " + fact.entity, PartRole::given});
  parts.push_back({"? The code of", PartRole::text});
  parts.push_back({" " + fact.entity, PartRole::answer});
  parts.push_back({" is", PartRole::text});
  parts.push_back({" " + fact.code + ".", PartRole::answer});
}

// Facts between the sentences of a text; questions behind all of it, or anywhere behind their facts.
// `far`: all facts in the first seventh, where a long context is hardest to reach.
std::vector<DocumentPart> needles(RandomStream& random, std::size_t bytes, const Haystack& haystack,
                                  bool far) {
  constexpr std::size_t bytes_per_fact = 120;  // of a fact with its question
  const std::size_t most = std::max<std::size_t>(1, bytes / (2 * bytes_per_fact));
  const std::size_t count = between(random, 1, std::min<std::size_t>(most, 12));
  const std::size_t spoken = count * bytes_per_fact;
  const std::vector<std::string> text = haystack.sentences(random, bytes > spoken + 40 ? bytes - spoken : 40);
  const std::vector<Fact> facts = draw_facts(random, count, false, false);
  const bool at_the_end = far || chance(random, 50);

  // What stands before sentence i: facts first.
  std::vector<std::vector<std::size_t>> stated(text.size() + 1), asked(text.size() + 1);
  for (std::size_t i = 0; i < facts.size(); ++i) {
    const std::size_t place = between(random, 0, far ? text.size() / 7 : text.size());
    stated[place].push_back(i);
    asked[at_the_end ? text.size() : between(random, place, text.size())].push_back(i);
  }
  std::vector<DocumentPart> parts;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    shuffle(random, asked[i]);
    for (const std::size_t fact : stated[i]) append_statement(parts, facts[fact]);
    for (const std::size_t fact : asked[i]) append_question(parts, facts[fact]);
    if (i == text.size()) break;
    const bool own_line = parts.empty() || text[i].front() == ' ' || text[i].front() == '\n';
    parts.push_back({own_line ? text[i] : "\n" + text[i], PartRole::text});
  }
  return parts;
}

std::vector<DocumentPart> recall(RandomStream& random, std::size_t bytes) {
  const std::uint32_t kind = random.below(4);
  const std::size_t value_digits = between(random, 1, 4);
  const bool words = chance(random, 50);
  const auto key = [&]() -> std::string {
    if (kind == 0) return std::string(pick(random, first_words));
    if (kind == 1) return letters(random, 2);
    return draw_entity(random, false);
  };
  const auto value = [&] {
    return " " + (words ? std::string(pick(random, second_words)) : digits(random, value_digits));
  };
  const std::size_t line = kind < 2 ? 10 : 20;
  const std::size_t most = std::clamp<std::size_t>(bytes / (2 * line), 2, kind == 0 ? 40 : 60);
  const std::size_t count = between(random, std::max<std::size_t>(2, most / 3), most);
  std::vector<std::string> taken;
  std::vector<std::pair<std::string, std::string>> pairs(count);
  for (auto& [name, content] : pairs) {
    name = distinct(taken, key);
    content = value();
  }
  std::vector<DocumentPart> parts;
  parts.push_back({"List:", PartRole::text});
  for (const auto& [name, content] : pairs) {
    parts.push_back({"\n" + name, PartRole::given});
    parts.push_back({":", PartRole::text});
    parts.push_back({content, PartRole::given});
  }
  // As many questions as fit, each key once before any comes again.
  parts.push_back({"\nRecall:", PartRole::text});
  for (std::size_t written = 0; written < bytes / 2;) {
    shuffle(random, pairs);
    for (const auto& [name, content] : pairs) {
      parts.push_back({"\n" + name, PartRole::given});
      parts.push_back({":", PartRole::text});
      parts.push_back({content, PartRole::answer});
      written += name.size() + content.size() + 3;
    }
  }
  return parts;
}

std::vector<DocumentPart> copy(RandomStream& random, std::size_t bytes, const Haystack& haystack) {
  std::string original;
  const std::size_t length = between(random, std::min<std::size_t>(40, bytes / 3), bytes / 2);
  const std::uint32_t kind = random.below(20);
  PartRole role = PartRole::given;
  if (kind < 8) {  // the words of a passage in any order: whatever the vocabulary, it must be copied
    std::string passage;
    for (const std::string& sentence : haystack.sentences(random, length)) passage += sentence;
    std::vector<std::string> words = words_of(passage);
    shuffle(random, words);
    for (const std::string& word : words) original.append(" ").append(word);
  } else if (kind < 12) {
    while (original.size() < length)
      original.append(" ").append(chance(random, 50) ? pick(random, first_words)
                                                     : pick(random, second_words));
  } else if (kind < 14) {
    while (original.size() < length) original.append(" ").append(letters(random, between(random, 1, 4)));
  } else if (kind < 17) {
    while (original.size() < length) original.append(" ").append(digits(random, between(random, 1, 6)));
  } else {
    role = PartRole::text;
    original = "\n";
    for (const std::string& sentence : haystack.sentences(random, length)) original += sentence;
  }
  std::vector<DocumentPart> parts;
  parts.push_back({"Text:", PartRole::text});
  parts.push_back({original, role});
  std::size_t total = 2 * original.size();
  if (total + 60 < bytes && chance(random, 50)) {  // something else between the two
    std::string between_them = "\n";
    for (const std::string& sentence : haystack.sentences(random, bytes - total)) between_them += sentence;
    parts.push_back({std::move(between_them), PartRole::text});
  }
  do {
    parts.push_back({"\nAgain:", PartRole::text});
    parts.push_back({original, PartRole::answer});
    total += original.size();
  } while (total < bytes);
  return parts;
}

}  // namespace

bool is_held_out_entity(std::string_view entity) { return xxh3_64(entity) % 8 == 0; }

std::string draw_entity(RandomStream& random, bool held_out) {
  std::string entity;
  do {
    // Drawn one after the other, the second word first: this order is part of the generator's version.
    const std::string second(pick(random, second_words));
    entity = std::string(pick(random, first_words)) + " " + second;
  } while (is_held_out_entity(entity) != held_out);
  return entity;
}

std::vector<DocumentPart> make_retrieval_document(RetrievalTask task, std::uint64_t seed, std::uint64_t index,
                                                  std::size_t bytes, const Haystack& haystack) {
  if (bytes < 80)
    fail(ErrorKind::usage, "a document of " + std::to_string(bytes) + " bytes", {}, "ask for 80");
  RandomStream random(seed, "retrieval document", std::to_string(retrieval_generator_version), index);
  switch (task) {
    case RetrievalTask::needle:
      return needles(random, bytes, haystack, false);
    case RetrievalTask::recall:
      return recall(random, bytes);
    case RetrievalTask::copy:
      return copy(random, bytes, haystack);
    case RetrievalTask::far_needle:
      return needles(random, bytes, haystack, true);
  }
  fail(ErrorKind::internal, "unknown retrieval task");
}

RetrievalSample make_needle(const NeedleOptions& options, std::uint64_t seed, std::uint64_t index,
                            const Haystack& haystack, const TokenCounter& count) {
  if (!(options.depth >= 0 && options.depth <= 1))
    fail(ErrorKind::usage, "a depth outside [0, 1]", std::to_string(options.depth));
  if (options.distractors < 0 || options.distractors > 64)
    fail(ErrorKind::usage, "between 0 and 64 distractors", std::to_string(options.distractors));
  RandomStream random(seed, "needle", std::to_string(retrieval_generator_version), index);
  const std::vector<Fact> facts = draw_facts(random, static_cast<std::size_t>(options.distractors) + 1,
                                             options.held_out_entities, options.distinct_digits);
  std::vector<double> depths{options.depth};
  while (depths.size() < facts.size()) depths.push_back(random.uniform());

  RetrievalSample sample;
  sample.entity = facts[0].entity;
  sample.question = question(facts[0]);
  sample.answer = " " + facts[0].code;
  // More text than can be needed; sentences are taken from its front.
  const std::vector<std::string> text =
      haystack.sentences(random, static_cast<std::size_t>(std::max<std::int64_t>(options.tokens, 1)) * 12);
  std::vector<std::size_t> ends;  // running sum of bytes
  for (const std::string& sentence : text) ends.push_back((ends.empty() ? 0 : ends.back()) + sentence.size());

  // The context from the first `sentences` sentences and some words more; facts stand at sentence ends, at
  // their depth by bytes.
  std::size_t fact_offset = 0;
  const auto compose = [&](std::size_t sentences, std::string_view rest) {
    std::vector<std::pair<std::size_t, std::size_t>> order;  // sentence, fact
    const double bytes = sentences > 0 ? static_cast<double>(ends[sentences - 1]) : 0;
    for (std::size_t i = 0; i < facts.size(); ++i) {
      std::size_t place = 0;
      while (place < sentences && static_cast<double>(ends[place]) <= depths[i] * bytes + 0.5) ++place;
      // The nearer end of the sentence that the depth falls into.
      if (place < sentences) {
        const double before = place > 0 ? static_cast<double>(ends[place - 1]) : 0;
        if (static_cast<double>(ends[place]) - depths[i] * bytes < depths[i] * bytes - before) ++place;
      }
      order.emplace_back(place, i);
    }
    std::sort(order.begin(), order.end());
    std::string context;
    std::size_t next = 0;
    const auto state_facts = [&](std::size_t place) {
      for (; next < order.size() && order[next].first == place; ++next) {
        if (order[next].second == 0) fact_offset = context.size();
        context += statement(facts[order[next].second]);
      }
    };
    for (std::size_t i = 0; i < sentences; ++i) {
      state_facts(i);
      const bool own_line = context.empty() || text[i].front() == ' ' || text[i].front() == '\n';
      if (!own_line) context += '\n';
      context += text[i];
      if (i + 1 == sentences) context += rest;
    }
    state_facts(sentences);
    return context;
  };
  const auto size = [&](const std::string& context) {
    return count(context + sample.question + sample.answer);
  };

  // The most sentences that fit, then the most words of the next one, then short words.
  std::size_t low = 0, high = text.size();
  while (low < high) {
    const std::size_t middle = (low + high + 1) / 2;
    if (size(compose(middle, {})) <= options.tokens) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  if (low == 0) {
    fail(ErrorKind::usage, "a needle does not fit into " + std::to_string(options.tokens) + " tokens", {},
         "ask for a longer context or fewer distractors");
  }
  std::string rest, best = compose(low, {});
  if (low < text.size()) {
    const std::string& sentence = text[low];
    for (std::size_t i = 1; i <= sentence.size(); ++i) {
      if (i < sentence.size() && sentence[i] != ' ') continue;
      const std::string longer = sentence.substr(0, i);
      std::string context = compose(low, longer);
      if (size(context) > options.tokens) break;
      rest = longer;
      best = std::move(context);
    }
  }
  for (const std::string_view word : {" a", " the", " to", " and", "a", " "}) {
    std::string filled = rest, context = best;
    std::int64_t reached = size(context);
    while (reached < options.tokens) {
      filled += word;
      context = compose(low, filled);
      const std::int64_t now = size(context);
      if (now <= reached) break;
      reached = now;
    }
    if (reached == options.tokens) {
      sample.context = compose(low, filled);
      sample.tokens = reached;
      const std::string before = sample.context.substr(0, fact_offset);
      sample.fact_token = before.empty() ? 0 : count(before);
      sample.depth = static_cast<double>(sample.fact_token) /
                     static_cast<double>(std::max<std::int64_t>(1, count(sample.context)));
      return sample;
    }
  }
  fail(ErrorKind::unsupported,
       "the context cannot be filled to exactly " + std::to_string(options.tokens) + " tokens", {},
       "the tokenizer has no short words");
}

}  // namespace laconic
