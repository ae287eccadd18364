#include "runtime/corpus/haystack.h"

#include <algorithm>

#include "engine/base/error.h"
#include "runtime/corpus/stories.h"

namespace laconic {
namespace {

constexpr std::uint32_t haystack_stories = 1 << 20;  // indices that are drawn from
constexpr std::size_t longest_sentence = 400;        // bytes; longer ones are cut at a space

bool ends_sentence(char c) { return c == '.' || c == '!' || c == '?' || c == '"' || c == ';'; }

}  // namespace

std::vector<std::string> sentences_of(std::string_view text) {
  std::vector<std::string> pieces;
  std::size_t begin = 0;
  for (std::size_t i = 1; i < text.size(); ++i) {
    const bool line = text[i] == '\n' && text[i - 1] != '\n';
    const bool sentence = text[i] == ' ' && (ends_sentence(text[i - 1]) || i - begin >= longest_sentence);
    // A separator stays with what follows it, and the newlines of an empty line stay together.
    if (!line && !sentence) continue;
    pieces.emplace_back(text.substr(begin, i - begin));
    begin = i;
  }
  if (begin < text.size()) pieces.emplace_back(text.substr(begin));
  return pieces;
}

Haystack::Haystack(std::vector<std::string> documents) : documents_(std::move(documents)) {
  std::size_t end = 0;
  for (const std::string& document : documents_) ends_.push_back(end += document.size());
  if (end == 0) fail(ErrorKind::usage, "a haystack of no text", {}, "give documents, or use stories");
}

std::string Haystack::passage(RandomStream& random, std::size_t bytes) const {
  if (documents_.empty()) {
    return make_story(seed_, random.below(haystack_stories) + (held_out_ ? first_held_out_story : 0)).text;
  }
  const std::uint64_t high = random.bits(), low = random.bits();
  const std::uint64_t place = (high << 32 | low) % static_cast<std::uint64_t>(ends_.back());
  const auto found = std::upper_bound(ends_.begin(), ends_.end(), place);
  const std::string& document = documents_[static_cast<std::size_t>(found - ends_.begin())];
  std::size_t begin = document.size() - static_cast<std::size_t>(*found - place);
  if (document.size() <= 2 * bytes) begin = 0;  // short ones are told from the start
  if (begin > 0) {
    const std::size_t line = document.rfind('\n', begin), stop = document.rfind(". ", begin);
    begin = 0;
    if (line != std::string::npos) begin = std::max(begin, line + 1);
    if (stop != std::string::npos) begin = std::max(begin, stop + 2);
  }
  return document.substr(begin, bytes + longest_sentence);
}

std::vector<std::string> Haystack::sentences(RandomStream& random, std::size_t bytes) const {
  std::vector<std::string> pieces;
  std::size_t total = 0;
  while (total < bytes) {
    std::string text = passage(random, bytes - total);
    const std::size_t first = text.find_first_not_of(" \n\r\t");
    if (first == std::string::npos) continue;
    for (std::string& piece : sentences_of(std::string_view(text).substr(first))) {
      if (total >= bytes) break;
      if (total > 0 && piece.front() != ' ' && piece.front() != '\n') piece.insert(0, 1, '\n');
      total += piece.size();
      pieces.push_back(std::move(piece));
    }
  }
  return pieces;
}

}  // namespace laconic
