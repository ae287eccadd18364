// Skeletons of lines that are JSON objects: keys, punctuation and white space stay, every value is a slot
// that knows its path, and of strings with spaces those of some paths have skeletons of words inside
// (skeleton.h).
//
// Which paths is learnt from sampled lines: words multiply templates, and strings that vary freely, or
// independently of what else tells lines apart, are better off as values of a column. Path by path, the one
// that adds least first, words are kept while the distinct skeletons of the sample at most double, or stay
// below an eighth of its lines and 64. Keys that are seldom in the sample, such as identifiers, are texts as
// well: their words may be slots.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "methods/text/logzip/clustering.h"
#include "methods/text/logzip/json_scanner.h"
#include "methods/text/logzip/skeleton.h"

namespace laconic::logzip {

// What a skeleton alone does not tell.
struct JsonForm {
  std::vector<JsonPath> paths;   // of the slots; 0 for those inside of texts and keys
  std::vector<TextRange> texts;  // of the skeleton, that have words

  // A hash of all of the skeleton but its texts; never 0.
  std::uint64_t frame_of(std::string_view skeleton) const;
};

class JsonSkeletons {
 public:
  static constexpr std::size_t learning_lines = 4096;
  static constexpr std::uint32_t key_times = 4;  // of a key in the sample, that it is kept
  static constexpr std::size_t most_text_paths = 16;

  // `lines`: at most learning_lines, those that are no objects are passed over. `words` outlive this.
  void learn(std::span<const std::string_view> lines, const WordSet& words);
  // Appends the skeletons of `segments`, parts of `line` in order, each with a line feed, as
  // append_skeleton() does; `offset` is that of the line. False, and nothing is changed, where the line is no
  // object, or values do not lie in one segment.
  bool append(std::string_view line, std::span<const std::string_view> segments, std::uint32_t offset,
              std::string& key, std::vector<Slot>& slots);
  const JsonForm& form() const { return form_; }  // of what append() appended last

 private:
  struct SampledText {
    JsonPath path = 0;
    std::uint64_t skeleton = 0;
  };
  struct SampledLine {
    std::vector<JsonPath> keys;
    std::vector<SampledText> texts;
  };
  SampledLine sampled_line(std::string_view line) const;
  void learn_texts(std::span<const SampledLine> sample);
  void append_piece(const JsonPiece& piece, std::string_view line, std::uint32_t offset, std::string& key,
                    std::vector<Slot>& slots);

  JsonScanner scanner_;
  JsonForm form_;
  const WordSet* words_ = nullptr;
  WordSet keys_, texts_;  // by path: that are kept, that have words
};

}  // namespace laconic::logzip
