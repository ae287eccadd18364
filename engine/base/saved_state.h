// State that outlives its process: bytes that end in their own XXH3-64, and arrays of numbers inside them.
#pragma once

#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "engine/base/bytes.h"
#include "engine/base/finite.h"

namespace laconic {

// What was written, with its checksum behind it.
Bytes sealed(ByteWriter&& writer);
// The bytes before the checksum; Error(corrupt) when it is not theirs.
ByteSpan unsealed(ByteSpan bytes, std::string_view where);

// A varint count, then the numbers as they are.
template <class Real>
void write_numbers(ByteWriter& writer, const std::vector<Real>& numbers) {
  writer.varint(numbers.size());
  writer.append(std::as_bytes(std::span(numbers)));
}

// Exactly `count` finite numbers, or Error(corrupt).
template <class Real>
std::vector<Real> read_numbers(ByteReader& reader, std::size_t count) {
  if (reader.varint() != count) reader.corrupt("an array of another length");
  const ByteSpan bytes = reader.take(count * sizeof(Real));
  std::vector<Real> numbers(count);
  if (count > 0) std::memcpy(numbers.data(), bytes.data(), bytes.size());
  if (!all_finite(numbers)) reader.corrupt("an array with a number that is not finite");
  return numbers;
}

}  // namespace laconic
