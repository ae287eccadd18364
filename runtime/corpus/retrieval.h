// Documents that can only be continued by those who remember: needles in running text, associative recall and
// copies. For training language models whose caches matter, and for measuring what a compressed cache
// forgets.
//
//   needle   "The code of Amber Harbor is 4821." somewhere in a text, and far behind it
//            "What is the code of Amber Harbor? The code of Amber Harbor is 4821."
//   recall   lines of keys and values, then the same lines in another order
//   copy     a string of words, letters or digits, or a passage of text, and later the same again
//
// Everything is a pure function of (seed, index) and of retrieval_generator_version. Held out means new in
// two ways: indices from first_held_out_retrieval on have random streams that no training index has, and
// entities (pairs of words) that no training document names, whatever the seeds.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/random.h"
#include "runtime/corpus/haystack.h"

namespace laconic {

inline constexpr int retrieval_generator_version = 1;
inline constexpr std::uint64_t first_held_out_retrieval = std::uint64_t{1} << 40;

// One of 48 x 48 pairs of words, "Amber Harbor". True for about one in eight: those are never trained on.
bool is_held_out_entity(std::string_view entity);
std::string draw_entity(RandomStream& random, bool held_out);

// --- For training -----------------------------------------------------------------------------------------
// What a model can know of a part of a document before it reads it.
enum class PartRole {
  text,    // running text
  given,   // drawn at random: a code, a key, a string that is copied later
  answer,  // follows from what stands before
};
struct DocumentPart {
  std::string text;
  PartRole role = PartRole::text;
};

enum class RetrievalTask {
  needle,
  recall,
  copy,
  far_needle,  // needles near the beginning, asked for at the end
};

// Parts of one document of about `bytes` bytes. Each part starts at a space, a newline or a digit, so that
// tokenizers that cut words there give the same tokens for the parts as for the whole.
std::vector<DocumentPart> make_retrieval_document(RetrievalTask task, std::uint64_t seed, std::uint64_t index,
                                                  std::size_t bytes, const Haystack& haystack);

// --- For evaluation ---------------------------------------------------------------------------------------
// The number of tokens of a text, without special tokens.
using TokenCounter = std::function<std::int64_t(std::string_view)>;

struct RetrievalSample {
  std::string context;   // the text with its facts
  std::string question;  // "\nWhat is the code of Amber Harbor? The code of Amber Harbor is"
  std::string answer;    // " 4821"
  std::string entity;
  double depth = 0;  // of the fact that is asked for: 0 is where the context begins, 1 where it ends
  // Tokens of the context before the fact, and of context + question + answer.
  std::int64_t fact_token = 0, tokens = 0;
};

struct NeedleOptions {
  std::int64_t tokens = 1023;    // of context + question + answer, met exactly; a window has BOS besides
  double depth = 0.5;            // in [0, 1], met up to a sentence
  std::int64_t distractors = 3;  // facts about other entities, at random depths
  bool held_out_entities = true;
  // No digit comes twice in a code. Where one does, what follows it is ambiguous to a head that looks for the
  // last token alone, and the figure mixes that weakness of small models with what a cache forgets.
  bool distinct_digits = true;
};

// Throws Error(usage) when the facts and the question alone are longer than the budget, and
// Error(unsupported) when the tokenizer has no short words to fill the last tokens with.
RetrievalSample make_needle(const NeedleOptions& options, std::uint64_t seed, std::uint64_t index,
                            const Haystack& haystack, const TokenCounter& count);

}  // namespace laconic
