// Which runs of three letters occur in a block: a search skips blocks that lack one of what it looks for.
//
// The set is exact, and small: programs have few words, and what is new in every line is mostly digits. It is
// written as the gaps between the numbers of its members, ((a * 52) + b) * 52 + c with A to Z as 0 to 25 and
// a to z as 26 to 51, as varints.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"

namespace laconic::logzip {

class LetterFilter {
 public:
  LetterFilter() : members_(words) {}
  explicit LetterFilter(std::string_view text);                      // of a block
  static LetterFilter read(ByteSpan bytes, std::string_view where);  // Error(corrupt)

  Bytes write() const;
  // False: the text does not occur in the block.
  bool may_hold(std::string_view literal) const;

 private:
  static constexpr std::size_t triples = std::size_t{52} * 52 * 52, words = (triples + 63) / 64;
  template <class Visit>
  static void visit_triples(std::string_view text, const Visit& visit);

  std::vector<std::uint64_t> members_;  // a bit each
};

}  // namespace laconic::logzip
