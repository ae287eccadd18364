#include "engine/coding/huffman.h"

#include <algorithm>

#include "engine/coding/bit_stream.h"
#include "engine/coding/integer_codes.h"

namespace laconic {
namespace {

constexpr std::size_t table_size = std::size_t{1} << huffman_longest;
constexpr std::size_t most_parts = 4;

std::size_t part_count(std::uint64_t size) { return size < 4096 ? 1 : most_parts; }

// First bit lowest, so that a reader that sees the next bits as a number finds the code in its low end.
std::uint16_t reversed(unsigned code, int length) {
  unsigned result = 0;
  for (int i = 0; i < length; ++i) result |= ((code >> i) & 1) << (length - 1 - i);
  return static_cast<std::uint16_t>(result);
}

std::vector<std::uint16_t> canonical_codes(std::span<const std::uint8_t> lengths) {
  std::vector<std::uint16_t> codes(lengths.size());
  unsigned next = 0;
  for (int length = 1; length <= huffman_longest; ++length) {
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      if (lengths[s] == length) codes[s] = reversed(next++, length);
    }
    next <<= 1;
  }
  return codes;
}

// symbol << 8 | length for every value of the next 12 bits.
std::vector<std::uint16_t> decode_table(std::span<const std::uint8_t> lengths) {
  const std::vector<std::uint16_t> codes = canonical_codes(lengths);
  std::vector<std::uint16_t> table(table_size);
  for (std::size_t s = 0; s < lengths.size(); ++s) {
    if (lengths[s] == 0) continue;
    for (std::size_t at = codes[s]; at < table_size; at += std::size_t{1} << lengths[s]) {
      table[at] = static_cast<std::uint16_t>(s << 8 | lengths[s]);
    }
  }
  return table;
}

std::vector<std::uint8_t> read_lengths(BitReader& reader) {
  std::vector<std::uint8_t> lengths(read_elias_gamma(reader, 256));
  std::size_t used = 0, filled = 0;
  for (std::uint8_t& length : lengths) {
    length = static_cast<std::uint8_t>(reader.read(4));
    if (length > huffman_longest) reader.corrupt("Huffman code is too long");
    if (length == 0) continue;
    ++used;
    filled += table_size >> length;
  }
  reader.align();
  const bool single = used == 1 && lengths.back() == 1;
  if (!single && filled != table_size) reader.corrupt("Huffman code is not complete");
  if (lengths.back() == 0) reader.corrupt("Huffman code lists symbols that do not occur");
  return lengths;
}

// Four symbols of up to 12 bits each from one look at the stream.
void decode_four(const std::uint16_t* table, BitReader& reader, std::byte* out) {
  std::uint64_t bits = reader.peek(4 * huffman_longest);
  int taken = 0;
  for (std::size_t k = 0; k < 4; ++k) {
    const std::uint16_t entry = table[bits & (table_size - 1)];
    const int length = entry & 0xFF;
    out[k] = static_cast<std::byte>(entry >> 8);
    bits >>= length;
    taken += length;
  }
  reader.skip(taken);
}

// parts[i] decodes to out[i * each ...); the last part may be shorter.
void decode_parts(const std::vector<std::uint16_t>& table, std::span<BitReader> parts, std::size_t each,
                  std::span<std::byte> out) {
  const std::size_t last = out.size() - (parts.size() - 1) * each;
  std::size_t done = 0;
  if (parts.size() == most_parts) {
    // The parts take turns: each waits for its own look-ups only.
    for (; done + 4 <= last; done += 4) {
      for (std::size_t p = 0; p < most_parts; ++p) {
        decode_four(table.data(), parts[p], out.data() + p * each + done);
      }
    }
  }
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const std::size_t count = p + 1 < parts.size() ? each : last;
    for (std::size_t i = done; i < count; ++i) {
      const std::uint16_t entry = table[parts[p].peek(huffman_longest)];
      out[p * each + i] = static_cast<std::byte>(entry >> 8);
      parts[p].skip(entry & 0xFF);
    }
    parts[p].expect_end();
  }
}

}  // namespace

Bytes huffman_compress(ByteSpan bytes) {
  if (bytes.empty()) return {};
  std::array<std::uint64_t, 256> counts{};
  for (const std::byte byte : bytes) ++counts[static_cast<std::size_t>(byte)];
  std::vector<std::uint8_t> lengths = huffman_lengths(counts);
  while (lengths.back() == 0) lengths.pop_back();
  BitWriter head;
  put_elias_gamma(head, lengths.size());
  for (const std::uint8_t length : lengths) head.put(length, 4);
  ByteWriter writer;
  writer.append(head.take());
  if (counts[lengths.size() - 1] == bytes.size()) return writer.take();

  const std::vector<std::uint16_t> codes = canonical_codes(lengths);
  const std::size_t count = part_count(bytes.size()), each = (bytes.size() + count - 1) / count;
  std::vector<Bytes> parts;
  for (std::size_t begin = 0; begin < bytes.size(); begin += each) {
    BitWriter part;
    for (const std::byte byte : bytes.subspan(begin, std::min(each, bytes.size() - begin))) {
      const auto symbol = static_cast<std::size_t>(byte);
      part.put(codes[symbol], lengths[symbol]);
    }
    parts.push_back(part.take());
  }
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) writer.varint(parts[i].size());
  for (const Bytes& part : parts) writer.append(part);
  return writer.take();
}

void huffman_expand(ByteSpan coded, std::span<std::byte> bytes, std::string_view where) {
  const std::size_t size = bytes.size();
  ByteReader reader(coded, std::string(where));
  if (size == 0) {
    reader.expect_end();
    return;
  }
  BitReader head(coded, where);
  const std::vector<std::uint8_t> lengths = read_lengths(head);
  reader.take(head.position() / 8);
  if (std::count(lengths.begin(), lengths.end(), 0) + 1 == static_cast<std::ptrdiff_t>(lengths.size())) {
    reader.expect_end();
    std::fill(bytes.begin(), bytes.end(), static_cast<std::byte>(lengths.size() - 1));
    return;
  }
  const std::vector<std::uint16_t> table = decode_table(lengths);
  const std::size_t count = part_count(size), each = (size + count - 1) / count;
  std::array<std::uint64_t, most_parts> part_bytes{};
  for (std::size_t i = 0; i + 1 < count; ++i) part_bytes[i] = reader.length(coded.size());
  std::vector<BitReader> parts;
  for (std::size_t i = 0; i < count; ++i) {
    parts.emplace_back(reader.take(i + 1 < count ? part_bytes[i] : reader.remaining()), where);
  }
  decode_parts(table, parts, each, bytes);
}

}  // namespace laconic
