// Running text that facts are hidden in: sentences of generated stories or of given documents, drawn from a
// random place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/random.h"

namespace laconic {

// A text cut behind its sentences and lines. Each piece but the first starts with the space or newline that
// separates it from the one before, so that pieces joined give the text.
std::vector<std::string> sentences_of(std::string_view text);

class Haystack {
 public:
  // Stories of the generator (stories.h): training stories of `seed`, or held-out ones.
  explicit Haystack(std::uint64_t seed, bool held_out = false) : seed_(seed), held_out_(held_out) {}
  // Documents; longer ones are drawn from more often. Throws Error(usage) when all are empty.
  explicit Haystack(std::vector<std::string> documents);

  // At least `bytes` bytes of consecutive sentences; where a document ends another follows on a line of its
  // own. The first sentence has no separator in front. A pure function of the stream.
  std::vector<std::string> sentences(RandomStream& random, std::size_t bytes) const;

 private:
  std::string passage(RandomStream& random, std::size_t bytes) const;

  std::uint64_t seed_ = 0;
  bool held_out_ = false;
  std::vector<std::string> documents_;
  std::vector<std::size_t> ends_;  // running sum of the documents' bytes
};

}  // namespace laconic
