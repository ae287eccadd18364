// Pre-tokenisers of tokenizer.json: they cut normalised text into words, inside which the model works. A list
// of steps, applied in order to every word so far; a Sequence is flattened.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/tokenizer/regex.h"

namespace laconic {

struct Word {
  std::string text;
  bool at_start = false;  // begins where the whole text begins
};

// What becomes of the parts that a pattern matches.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

// A text cut into matches and what lies between them; the spans cover the text.
struct SplitSpan {
  std::size_t begin = 0, end = 0;
  bool is_match = false;
};
std::vector<MatchSpan> arranged(const std::vector<SplitSpan>& spans, SplitBehavior behavior);

class PreTokenizer {
 public:
  PreTokenizer() = default;  // leaves the text whole
  // `value` may be null. Throws Error(unsupported) naming a type that is not known.
  PreTokenizer(const nlohmann::json& value, std::string_view where);

  // `text` must be valid UTF-8. No word is empty.
  std::vector<Word> split(std::string_view text, bool at_start) const;

 private:
  using Step = std::function<void(const Word&, std::vector<Word>&)>;
  void add(const nlohmann::json& value, std::string_view where, int depth);
  void add_split(std::function<std::vector<SplitSpan>(std::string_view)> cut, SplitBehavior behavior);
  std::vector<Step> steps_;
};

}  // namespace laconic
