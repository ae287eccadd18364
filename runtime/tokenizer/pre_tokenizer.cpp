#include "runtime/tokenizer/pre_tokenizer.h"

#include <unicode/uscript.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "engine/base/error.h"
#include "runtime/tokenizer/byte_level.h"
#include "runtime/tokenizer/component.h"
#include "runtime/tokenizer/text_normalizer.h"
#include "runtime/tokenizer/unicode_text.h"

namespace laconic {
namespace {

using Cut = std::function<std::vector<SplitSpan>(std::string_view)>;

std::vector<SplitSpan> covering(std::string_view text, const std::vector<MatchSpan>& matches) {
  std::vector<SplitSpan> spans;
  std::size_t done = 0;
  for (const MatchSpan& match : matches) {
    if (match.begin > done) spans.push_back({done, match.begin, false});
    spans.push_back({match.begin, match.end, true});
    done = match.end;
  }
  if (done < text.size()) spans.push_back({done, text.size(), false});
  return spans;
}

Cut by_character(std::function<bool(char32_t)> is_match) {
  return [is_match = std::move(is_match)](std::string_view text) {
    std::vector<MatchSpan> matches;
    for (std::size_t position = 0; position < text.size();) {
      const DecodedCharacter character = decode_character(text, position);
      if (is_match(character.value)) matches.push_back({position, position + character.length});
      position += character.length;
    }
    return covering(text, matches);
  };
}

Cut by_regex(Regex regex) {
  return [regex = std::move(regex)](std::string_view text) { return covering(text, regex.matches(text)); };
}

Cut by_text(std::string pattern) {
  return [pattern = std::move(pattern)](std::string_view text) {
    std::vector<MatchSpan> matches;
    for (std::size_t found = text.find(pattern); !pattern.empty() && found != std::string_view::npos;
         found = text.find(pattern, found + pattern.size())) {
      matches.push_back({found, found + pattern.size()});
    }
    return covering(text, matches);
  };
}

Cut inverted(Cut cut) {
  return [cut = std::move(cut)](std::string_view text) {
    std::vector<SplitSpan> spans = cut(text);
    for (SplitSpan& span : spans) span.is_match = !span.is_match;
    return spans;
  };
}

// Words of one script: a cut wherever the script changes; spaces and unassigned characters go with what
// stands before. Japanese mixes three scripts within a word, so kana count as Han.
std::vector<SplitSpan> by_script(std::string_view text) {
  std::vector<SplitSpan> spans;
  int last = -1;
  std::size_t begin = 0;
  for (std::size_t position = 0; position < text.size();) {
    const DecodedCharacter character = decode_character(text, position);
    int script = script_of(character.value);
    if (script == USCRIPT_HIRAGANA || script == USCRIPT_KATAKANA || character.value == 0x30FC)
      script = USCRIPT_HAN;
    const bool any = character.value == ' ' || script == USCRIPT_UNKNOWN;
    if (!any) {
      if (script != last && position > begin && last != -1) {
        spans.push_back({begin, position, true});
        begin = position;
      }
      last = script;
    }
    position += character.length;
  }
  if (begin < text.size()) spans.push_back({begin, text.size(), true});
  return spans;
}

std::vector<SplitSpan> by_length(std::string_view text, std::size_t characters) {
  std::vector<SplitSpan> spans;
  std::size_t begin = 0, count = 0;
  for (std::size_t position = 0; position < text.size();) {
    position += decode_character(text, position).length;
    if (++count == characters || position == text.size()) {
      spans.push_back({begin, position, true});
      begin = position;
      count = 0;
    }
  }
  return spans;
}

SplitBehavior behavior_of(const Component& part, std::string_view otherwise) {
  const std::string name = part.text("behavior", otherwise);
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  part.fault("the behavior \"" + name + "\" is not known");
}

}  // namespace

std::vector<MatchSpan> arranged(const std::vector<SplitSpan>& spans, SplitBehavior behavior) {
  std::vector<MatchSpan> result;
  bool previous = false;
  switch (behavior) {
    case SplitBehavior::removed:
      for (const SplitSpan& span : spans) {
        if (!span.is_match) result.push_back({span.begin, span.end});
      }
      break;
    case SplitBehavior::isolated:
      for (const SplitSpan& span : spans) result.push_back({span.begin, span.end});
      break;
    case SplitBehavior::contiguous:
      for (const SplitSpan& span : spans) {
        if (span.is_match == previous && !result.empty()) {
          result.back().end = span.end;
        } else {
          result.push_back({span.begin, span.end});
        }
        previous = span.is_match;
      }
      break;
    case SplitBehavior::merged_with_previous:
      for (const SplitSpan& span : spans) {
        if (span.is_match && !previous && !result.empty()) {
          result.back().end = span.end;
        } else {
          result.push_back({span.begin, span.end});
        }
        previous = span.is_match;
      }
      break;
    case SplitBehavior::merged_with_next:
      for (auto span = spans.rbegin(); span != spans.rend(); ++span) {
        if (span->is_match && !previous && !result.empty()) {
          result.back().begin = span->begin;
        } else {
          result.push_back({span->begin, span->end});
        }
        previous = span->is_match;
      }
      std::reverse(result.begin(), result.end());
      break;
  }
  return result;
}

PreTokenizer::PreTokenizer(const nlohmann::json& value, std::string_view where) {
  if (!value.is_null()) add(value, where, 0);
}

void PreTokenizer::add_split(Cut cut, SplitBehavior behavior) {
  steps_.emplace_back([cut = std::move(cut), behavior](const Word& word, std::vector<Word>& words) {
    for (const MatchSpan& span : arranged(cut(word.text), behavior)) {
      if (span.begin < span.end) {
        words.push_back(
            {word.text.substr(span.begin, span.end - span.begin), word.at_start && span.begin == 0});
      }
    }
  });
}

void PreTokenizer::add(const nlohmann::json& value, std::string_view where, int depth) {
  const Component part(value, "pre_tokenizer", where);
  const std::string& type = part.type();
  if (type == "Sequence") {
    if (depth > 16) part.fault("sequences nested too deep");
    for (const auto& inner : part.list("pretokenizers")) add(inner, where, depth + 1);
  } else if (type == "ByteLevel") {
    if (part.flag("add_prefix_space", true)) {
      steps_.emplace_back([](const Word& word, std::vector<Word>& words) {
        words.push_back(word);
        if (!word.text.starts_with(' ')) words.back().text.insert(0, 1, ' ');
      });
    }
    if (part.flag("use_regex", true))
      add_split(by_regex(Regex(byte_level_pattern, where)), SplitBehavior::isolated);
    steps_.emplace_back([](const Word& word, std::vector<Word>& words) {
      words.push_back({byte_level_encoded(word.text), word.at_start});
    });
  } else if (type == "Split") {
    const Component::Pattern pattern = part.pattern();
    Cut cut = pattern.is_regex ? by_regex(Regex(pattern.text, where)) : by_text(pattern.text);
    if (part.flag("invert", false)) cut = inverted(std::move(cut));
    add_split(std::move(cut), behavior_of(part, "Isolated"));
  } else if (type == "Digits") {
    add_split(by_character(&is_number),
              part.flag("individual_digits", false) ? SplitBehavior::isolated : SplitBehavior::contiguous);
  } else if (type == "Punctuation") {
    add_split(by_character(&is_punctuation), behavior_of(part, "Isolated"));
  } else if (type == "BertPreTokenizer") {
    add_split(by_character(&is_white_space), SplitBehavior::removed);
    add_split(by_character(&is_punctuation), SplitBehavior::isolated);
  } else if (type == "Whitespace") {
    add_split(inverted(by_regex(Regex(R"(\w+|[^\w\s]+)", where))), SplitBehavior::removed);
  } else if (type == "WhitespaceSplit") {
    add_split(by_character(&is_white_space), SplitBehavior::removed);
  } else if (type == "CharDelimiterSplit") {
    const std::string delimiter = part.text("delimiter");
    if (delimiter.empty() || decode_character(delimiter, 0).length != delimiter.size()) {
      part.fault("\"delimiter\" is not one character");
    }
    add_split(by_text(delimiter), SplitBehavior::removed);
  } else if (type == "UnicodeScripts") {
    add_split(by_script, SplitBehavior::isolated);
  } else if (type == "FixedLength") {
    const std::int64_t length = part.integer("length", 5);
    if (length < 1) part.fault("\"length\" is not positive");
    add_split([length](std::string_view text) { return by_length(text, static_cast<std::size_t>(length)); },
              SplitBehavior::isolated);
  } else if (type == "Metaspace") {
    const std::string mark = part.text("replacement", "\xE2\x96\x81");
    if (mark.empty() || decode_character(mark, 0).length != mark.size()) {
      part.fault("\"replacement\" is not one character");
    }
    // Older files say add_prefix_space, newer ones prepend_scheme.
    const std::string scheme =
        part.text("prepend_scheme", part.flag("add_prefix_space", true) ? "always" : "never");
    if (scheme != "always" && scheme != "first" && scheme != "never") {
      part.fault("the prepend_scheme \"" + scheme + "\" is not known");
    }
    steps_.emplace_back([mark, scheme](const Word& word, std::vector<Word>& words) {
      Word result{replaced(word.text, " ", mark), word.at_start};
      const bool prepend = scheme == "always" || (scheme == "first" && word.at_start);
      if (prepend && !result.text.starts_with(mark)) result.text.insert(0, mark);
      words.push_back(std::move(result));
    });
    if (part.flag("split", true)) add_split(by_text(mark), SplitBehavior::merged_with_next);
  } else {
    part.unknown();
  }
}

std::vector<Word> PreTokenizer::split(std::string_view text, bool at_start) const {
  std::vector<Word> words;
  if (!text.empty()) words.push_back({std::string(text), at_start});
  for (const Step& step : steps_) {
    std::vector<Word> finer;
    finer.reserve(words.size());
    for (const Word& word : words) step(word, finer);
    words = std::move(finer);
  }
  return words;
}

}  // namespace laconic
