// Any bytes as a stream that comes through a pipe, plain or compressed: read to the end or refused, and
// within the memory that the source may take. The first byte chooses a magic to put before them, and whether
// it follows.
#include <unistd.h>

#include <cstdlib>
#include <string_view>

#include "engine/base/error.h"
#include "engine/container/byte_source.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace laconic;
  using namespace std::string_view_literals;
  static constexpr std::string_view magics[] = {""sv, "\x1f\x8b\x08"sv, "\x28\xb5\x2f\xfd"sv,
                                                "\xfd\x37zXZ\0"sv};
  constexpr std::size_t most = 32768;  // a pipe takes that without a reader
  if (size == 0 || size > most) return 0;
  int ends[2];
  if (::pipe(ends) != 0) std::abort();
  const std::string_view magic = magics[data[0] % 4];
  if (::write(ends[1], magic.data(), magic.size()) != static_cast<ssize_t>(magic.size())) std::abort();
  if (::write(ends[1], data + 1, size - 1) != static_cast<ssize_t>(size - 1)) std::abort();
  ::close(ends[1]);
  ByteSourceOptions options;
  options.follow = data[0] % 8 >= 4;
  options.decoder_memory = 1 << 20;
  ByteSource source = ByteSource::from_descriptor(ends[0], "fuzz", options);
  try {
    Bytes buffer(1 + 64 * (data[0] / 8));
    std::uint64_t total = 0;
    constexpr std::uint64_t enough = 1 << 24;  // a small input may hold very much
    while (const std::size_t got = source.read(buffer)) {
      total += got;
      if (got > buffer.size() || source.output_bytes() != total) std::abort();
      if (total > enough) return 0;
    }
    if (!source.ended() || source.input_bytes() != magic.size() + size - 1) std::abort();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::corrupt && error.kind() != ErrorKind::unsupported) std::abort();
  }
  return 0;
}
