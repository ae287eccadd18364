#include "engine/base/saved_state.h"

#include <string>

#include "engine/base/hash.h"

namespace laconic {

Bytes sealed(ByteWriter&& writer) {
  writer.u64(xxh3_64(writer.span()));
  return writer.take();
}

ByteSpan unsealed(ByteSpan bytes, std::string_view where) {
  constexpr std::size_t seal = sizeof(std::uint64_t);
  ByteReader reader(bytes, std::string(where));
  if (bytes.size() < seal) reader.corrupt("too short to hold a checksum");
  const ByteSpan content = reader.take(bytes.size() - seal);
  if (reader.u64() != xxh3_64(content)) reader.corrupt("the checksum is another one");
  return content;
}

}  // namespace laconic
