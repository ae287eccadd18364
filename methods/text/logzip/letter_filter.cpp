#include "methods/text/logzip/letter_filter.h"

#include <array>
#include <bit>
#include <string>

#include "engine/base/error.h"

namespace laconic::logzip {
namespace {

// Numbers of letters, 52 for other bytes.
constexpr std::array<std::uint8_t, 256> letter_numbers = [] {
  std::array<std::uint8_t, 256> numbers{};
  numbers.fill(52);
  for (unsigned i = 0; i < 26; ++i) {
    numbers['A' + i] = static_cast<std::uint8_t>(i);
    numbers['a' + i] = static_cast<std::uint8_t>(26 + i);
  }
  return numbers;
}();

}  // namespace

template <class Visit>
void LetterFilter::visit_triples(std::string_view text, const Visit& visit) {
  std::size_t run = 0;
  std::uint32_t number = 0;
  for (const char c : text) {
    const std::uint32_t letter = letter_numbers[static_cast<unsigned char>(c)];
    if (letter == 52) {
      run = 0;
      continue;
    }
    number = (number % (52 * 52)) * 52 + letter;
    if (++run >= 3) visit(number);
  }
}

// Every byte counts as a letter of its own or as "other", and what was seen is noted without a branch;
// triples with others are left out afterwards.
LetterFilter::LetterFilter(std::string_view text) : LetterFilter() {
  constexpr std::uint32_t places = 1u << 18;
  std::vector<std::uint8_t> seen(places);
  std::uint32_t place = places - 1;
  for (const char c : text) {
    place = (place << 6 | letter_numbers[static_cast<unsigned char>(c)]) & (places - 1);
    seen[place] = 1;
  }
  for (place = 0; place < places; ++place) {
    const std::uint32_t a = place >> 12, b = place >> 6 & 63, c = place & 63;
    if (seen[place] == 0 || a >= 52 || b >= 52 || c >= 52) continue;
    const std::uint32_t number = (a * 52 + b) * 52 + c;
    members_[number / 64] |= std::uint64_t{1} << number % 64;
  }
}

Bytes LetterFilter::write() const {
  ByteWriter writer;
  std::size_t next = 0;
  for (std::size_t word = 0; word < words; ++word) {
    for (std::uint64_t left = members_[word]; left != 0; left &= left - 1) {
      const std::size_t number = 64 * word + static_cast<std::size_t>(std::countr_zero(left));
      writer.varint(number - next);
      next = number + 1;
    }
  }
  return writer.take();
}

LetterFilter LetterFilter::read(ByteSpan bytes, std::string_view where) {
  ByteReader reader(bytes, std::string(where));
  LetterFilter filter;
  for (std::uint64_t next = 0; !reader.at_end(); ++next) {
    next += reader.length(triples);
    if (next >= triples) reader.corrupt("three letters that do not exist");
    filter.members_[next / 64] |= std::uint64_t{1} << next % 64;
  }
  return filter;
}

bool LetterFilter::may_hold(std::string_view literal) const {
  bool all = true;
  visit_triples(literal,
                [&](std::uint32_t number) { all = all && (members_[number / 64] >> number % 64 & 1u) != 0; });
  return all;
}

}  // namespace laconic::logzip
