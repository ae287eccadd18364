#include "engine/coding/context_mixing.h"

#include <algorithm>
#include <bit>
#include <memory>

#include "engine/base/error.h"
#include "engine/coding/mixing_predictor.h"
#include "engine/coding/range_coder.h"

namespace laconic {
namespace {

constexpr std::size_t mixing_most_bytes = std::size_t{1} << 31;
enum MixingHeader : std::uint8_t { memory_bits = 15, stored_bit = 16, unused_bits = 224 };

// A line of the table of contexts for each byte of input serves.
int mixing_lines_log2(std::size_t size, int memory_log2) {
  constexpr int line_log2 = std::countr_zero(sizeof(MixingLine));
  return std::min(std::max(static_cast<int>(std::bit_width(size)), 8), memory_log2 - line_log2);
}

Bytes mixing_encode(ByteSpan bytes, int lines_log2) {
  const auto predictor = std::make_unique<MixingPredictor>(bytes, lines_log2, mixing_weights_vector());
  RangeEncoder encoder;
  for (const std::byte byte : bytes) {
    for (int place = 7; place >= 0; --place) {
      const int bit = static_cast<int>(byte) >> place & 1;
      encoder.put_bit(bit != 0, predictor->probability());
      predictor->learn(bit);
    }
  }
  return encoder.take();
}

}  // namespace

Bytes context_mixing_compress(ByteSpan bytes, const ContextMixingOptions& options) {
  if (options.memory_log2 < ContextMixingOptions::least_memory_log2 ||
      options.memory_log2 > ContextMixingOptions::most_memory_log2) {
    fail(ErrorKind::usage, "context mixing cannot work with so much memory",
         std::to_string(options.memory_log2), "choose a memory_log2 of 16 to 28");
  }
  if (bytes.size() > mixing_most_bytes)
    fail(ErrorKind::usage, "more bytes than context mixing takes at once", {}, "cut them into blocks");
  if (bytes.empty()) return {};
  const Bytes coded = mixing_encode(bytes, mixing_lines_log2(bytes.size(), options.memory_log2));
  const auto memory =
      static_cast<std::uint8_t>(options.memory_log2 - ContextMixingOptions::least_memory_log2);
  ByteWriter writer;
  if (coded.size() > bytes.size()) {
    writer.u8(memory | stored_bit);
    writer.append(bytes);
  } else {
    writer.u8(memory);
    writer.append(coded);
  }
  return writer.take();
}

void context_mixing_expand(ByteSpan coded, std::span<std::byte> bytes, std::string_view where) {
  ByteReader reader(coded, std::string(where));
  if (bytes.empty()) return reader.expect_end();
  const std::uint8_t header = reader.u8();
  const int memory_log2 = (header & memory_bits) + ContextMixingOptions::least_memory_log2;
  if ((header & unused_bits) != 0 || memory_log2 > ContextMixingOptions::most_memory_log2)
    reader.corrupt("header of context mixing is damaged");
  if ((header & stored_bit) != 0) {
    const ByteSpan stored = reader.take(bytes.size());
    reader.expect_end();
    std::copy(stored.begin(), stored.end(), bytes.begin());
    return;
  }
  if (bytes.size() > mixing_most_bytes) reader.corrupt("more bytes than context mixing takes at once");
  const auto predictor = std::make_unique<MixingPredictor>(
      bytes, mixing_lines_log2(bytes.size(), memory_log2), mixing_weights_vector());
  RangeDecoder decoder(reader.take(reader.remaining()), where);
  for (std::byte& byte : bytes) {
    int value = 0;
    for (int place = 0; place < 8; ++place) {
      const int bit = decoder.take_bit(predictor->probability()) ? 1 : 0;
      value = 2 * value + bit;
      // The predictor reads the byte once its last bit is known.
      if (place == 7) byte = static_cast<std::byte>(value);
      predictor->learn(bit);
    }
  }
  decoder.expect_end();
}

}  // namespace laconic
