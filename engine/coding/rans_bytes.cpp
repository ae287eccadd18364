#include "engine/coding/rans_bytes.h"

#include <algorithm>
#include <array>

#include "engine/coding/frequency_table.h"
#include "engine/coding/rans_bytes_kernel.h"
#include "engine/coding/rans_lanes.h"

namespace laconic {
namespace {

std::array<std::uint64_t, 256> byte_counts(ByteSpan bytes) {
  // Four counters each, so that runs of one byte do not wait for each other.
  std::array<std::array<std::uint64_t, 256>, 4> counts{};
  std::size_t i = 0;
  for (; i + 4 <= bytes.size(); i += 4) {
    for (std::size_t k = 0; k < 4; ++k) ++counts[k][static_cast<std::size_t>(bytes[i + k])];
  }
  for (; i < bytes.size(); ++i) ++counts[0][static_cast<std::size_t>(bytes[i])];
  for (std::size_t s = 0; s < 256; ++s) counts[0][s] += counts[1][s] + counts[2][s] + counts[3][s];
  return counts[0];
}

RansByteTable byte_table(const std::vector<std::uint32_t>& frequencies) {
  RansByteTable table;
  table.symbol.resize(frequency_total + 3);
  std::uint32_t cumulative = 0;
  for (std::size_t s = 0; s < frequencies.size(); ++s) {
    std::fill_n(table.symbol.begin() + cumulative, frequencies[s], static_cast<std::uint8_t>(s));
    table.interval[s] = frequencies[s] << 16 | cumulative;
    cumulative += frequencies[s];
  }
  return table;
}

void expand(ByteSpan coded, std::span<std::byte> bytes, std::string_view where, bool whole_rounds) {
  const std::size_t size = bytes.size();
  ByteReader reader(coded, std::string(where));
  if (size == 0) {
    reader.expect_end();
    return;
  }
  BitReader bits(coded, where);
  const std::vector<std::uint32_t> frequencies = read_frequencies(bits, 256);
  bits.align();
  reader.take(bits.position() / 8);
  if (frequencies.back() == frequency_total) {
    reader.expect_end();
    std::fill(bytes.begin(), bytes.end(), static_cast<std::byte>(frequencies.size() - 1));
    return;
  }
  RansDecoder decoder(reader, rans_lanes(size), where);
  const RansByteTable table = byte_table(frequencies);
  std::uint64_t done = 0;
  if (whole_rounds && decoder.lanes() == rans_most_lanes) {
    const std::byte* words = decoder.words().data();
    const std::byte* const begin = words;
    const std::uint64_t rounds =
        rans_rounds(table, decoder.states().data(), words, words + decoder.words().size(),
                    size / rans_most_lanes, reinterpret_cast<std::uint8_t*>(bytes.data()));
    decoder.use_words(static_cast<std::size_t>(words - begin));
    done = rounds * rans_most_lanes;
  }
  for (; done < size; ++done) {
    const std::uint8_t symbol = table.symbol[decoder.slot()];
    const std::uint32_t interval = table.interval[symbol];
    decoder.take(interval & 0xFFFF, interval >> 16);
    bytes[done] = std::byte{symbol};
  }
  decoder.expect_end();
}

}  // namespace

Bytes rans_compress(ByteSpan bytes) {
  if (bytes.empty()) return {};
  const FittedFrequencies fitted = fit_frequencies(byte_counts(bytes));
  ByteWriter writer;
  writer.append(fitted.stored);
  if (fitted.frequencies.back() == frequency_total) return writer.take();
  const FrequencyTable table(fitted.frequencies);
  RansEncoder encoder(bytes.size());
  for (std::size_t i = bytes.size(); i-- > 0;) {
    const auto symbol = static_cast<std::size_t>(bytes[i]);
    encoder.put(table, symbol);
  }
  encoder.append_to(writer);
  return writer.take();
}

void rans_expand(ByteSpan coded, std::span<std::byte> bytes, std::string_view where) {
  expand(coded, bytes, where, true);
}

void rans_expand_scalar(ByteSpan coded, std::span<std::byte> bytes, std::string_view where) {
  expand(coded, bytes, where, false);
}

}  // namespace laconic
