#include "engine/coding/lzma_bytes.h"

#include <lzma.h>

#include <algorithm>

#include "engine/base/error.h"

namespace laconic {
namespace {

constexpr std::uint32_t lzma_shortest_dictionary = LZMA_DICT_SIZE_MIN;
constexpr std::uint32_t lzma_longest_dictionary = 3u << 29;  // of the encoder
constexpr std::uint32_t lzma_default_dictionary = 64u << 20;
// The fewest bytes that data can take: properties and the four bytes that start the range coder.
constexpr std::size_t lzma_fewest_bytes = 5;

// A coder of liblzma, released on every path.
class LzmaStream {
 public:
  LzmaStream() = default;
  LzmaStream(const LzmaStream&) = delete;
  LzmaStream& operator=(const LzmaStream&) = delete;
  ~LzmaStream() { lzma_end(&stream_); }
  lzma_stream* operator->() { return &stream_; }
  lzma_stream* get() { return &stream_; }
  void feed(ByteSpan bytes) {
    stream_.next_in = reinterpret_cast<const std::uint8_t*>(bytes.data());
    stream_.avail_in = bytes.size();
  }
  void fill(std::span<std::byte> bytes) {
    stream_.next_out = reinterpret_cast<std::uint8_t*>(bytes.data());
    stream_.avail_out = bytes.size();
  }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
};

void lzma_check(lzma_ret code) {
  if (code == LZMA_MEM_ERROR)
    fail(ErrorKind::io, "not enough memory for the LZMA coder", {}, "close programs");
  require(code == LZMA_OK || code == LZMA_STREAM_END, "liblzma takes what it was given");
}

// Sets the size of the data, so that no end marker is needed.
void lzma_set_size(lzma_options_lzma& settings, std::size_t size) {
  const std::uint64_t wide = size;
  settings.ext_flags = 0;
  settings.ext_size_low = static_cast<std::uint32_t>(wide);
  settings.ext_size_high = static_cast<std::uint32_t>(wide >> 32);
}

void lzma_validate(const LzmaOptions& options) {
  if (options.preset < 0 || options.preset > 9)
    fail(ErrorKind::usage, "there is no such LZMA preset", std::to_string(options.preset), "choose 0 to 9");
  const bool literals = options.lc >= 0 && options.lp >= 0 && options.lc <= 4 && options.lp <= 4 - options.lc;
  if (!literals || options.pb < 0 || options.pb > 4)
    fail(ErrorKind::usage, "LZMA properties are out of range", "lc, lp, pb",
         "keep lc + lp and pb within 0 to 4");
  if (options.dictionary > lzma_longest_dictionary)
    fail(ErrorKind::usage, "the LZMA dictionary is too large", std::to_string(options.dictionary),
         "choose at most 1.5 GiB");
}

lzma_options_lzma lzma_encoder_settings(const LzmaOptions& options, std::size_t size) {
  lzma_options_lzma settings{};
  const auto preset =
      static_cast<std::uint32_t>(options.preset) | (options.extreme ? LZMA_PRESET_EXTREME : 0u);
  require(!lzma_lzma_preset(&settings, preset), "liblzma knows its presets");
  settings.lc = static_cast<std::uint32_t>(options.lc);
  settings.lp = static_cast<std::uint32_t>(options.lp);
  settings.pb = static_cast<std::uint32_t>(options.pb);
  const std::uint32_t most = options.dictionary == 0 ? lzma_default_dictionary : options.dictionary;
  settings.dict_size =
      std::max(lzma_shortest_dictionary, static_cast<std::uint32_t>(std::min<std::size_t>(most, size)));
  lzma_set_size(settings, size);
  return settings;
}

}  // namespace

Bytes lzma_compress(ByteSpan bytes, const LzmaOptions& options) {
  lzma_validate(options);
  if (bytes.empty()) return {};
  lzma_options_lzma settings = lzma_encoder_settings(options, bytes.size());
  const lzma_filter filters[] = {{LZMA_FILTER_LZMA1EXT, &settings}, {LZMA_VLI_UNKNOWN, nullptr}};
  LzmaStream stream;
  lzma_check(lzma_raw_encoder(stream.get(), filters));
  stream.feed(bytes);
  Bytes coded(std::max<std::size_t>(bytes.size() / 4, 4096));
  for (std::size_t size = 0;;) {
    stream.fill(std::span(coded).subspan(size));
    const lzma_ret code = lzma_code(stream.get(), LZMA_FINISH);
    lzma_check(code);
    size = coded.size() - stream->avail_out;
    if (code == LZMA_STREAM_END) {
      coded.resize(size);
      break;
    }
    // Doubled, but not beyond what bytes by chance take, as long as that is more.
    const std::size_t by_chance = bytes.size() + bytes.size() / 32 + 4096;
    coded.resize(coded.size() < by_chance ? std::min(2 * coded.size(), by_chance) : 2 * coded.size());
  }
  require(coded.size() >= lzma_fewest_bytes && coded[0] == std::byte{0}, "LZMA data start with a zero byte");
  coded[0] = static_cast<std::byte>((options.pb * 5 + options.lp) * 9 + options.lc);
  return coded;
}

void lzma_expand(ByteSpan coded, std::span<std::byte> bytes, std::string_view where) {
  if (bytes.empty()) {
    if (!coded.empty()) fail(ErrorKind::corrupt, "LZMA stream of nothing is not empty", where);
    return;
  }
  if (coded.size() < lzma_fewest_bytes) fail(ErrorKind::corrupt, "LZMA stream ends too early", where);
  lzma_options_lzma settings{};
  const auto properties = static_cast<std::uint32_t>(coded[0]);
  settings.lc = properties % 9;
  settings.lp = properties / 9 % 5;
  settings.pb = properties / 45;
  if (settings.lc + settings.lp > 4 || settings.pb > 4)
    fail(ErrorKind::corrupt, "LZMA stream states impossible properties", where);
  // No distance can be longer than the data.
  settings.dict_size =
      static_cast<std::uint32_t>(std::min<std::size_t>(bytes.size(), lzma_longest_dictionary));
  lzma_set_size(settings, bytes.size());
  const lzma_filter filters[] = {{LZMA_FILTER_LZMA1EXT, &settings}, {LZMA_VLI_UNKNOWN, nullptr}};
  LzmaStream stream;
  lzma_check(lzma_raw_decoder(stream.get(), filters));
  stream.fill(bytes);
  const std::byte first[] = {std::byte{0}};
  stream.feed(first);
  lzma_check(lzma_code(stream.get(), LZMA_RUN));
  stream.feed(coded.subspan(1));
  const lzma_ret code = lzma_code(stream.get(), LZMA_FINISH);
  if (code == LZMA_MEM_ERROR) lzma_check(code);
  if (code != LZMA_STREAM_END || stream->avail_out > 0 || stream->avail_in > 0)
    fail(ErrorKind::corrupt, "LZMA stream is damaged", where);
}

}  // namespace laconic
