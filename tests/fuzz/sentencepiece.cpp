// Any bytes as a SentencePiece model: refused, or a tokenizer that encodes a text into ids it has and decodes
// them. The first two bytes say how many bytes at the end are the text.
#include <algorithm>
#include <cstdlib>

#include "engine/base/error.h"
#include "runtime/tokenizer/sentencepiece.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);
  const std::size_t text_size = std::min<std::size_t>(input.size(), (data[0] | data[1] << 8) % 64);
  const std::string_view file = input.substr(0, input.size() - text_size);
  const std::string_view text =
      text_size > 0 ? input.substr(file.size()) : std::string_view(" Hello  \xC3\xA9 1");
  try {
    const auto model = laconic::SentencePieceModel::parse(laconic::as_byte_span(file), "fuzz");
    const auto tokenizer = laconic::sentencepiece_tokenizer(model, {}, "fuzz");
    const std::vector<std::int32_t> ids = tokenizer->encode(text, true);
    for (const std::int32_t id : ids) {
      if (id < 0 || id >= tokenizer->size()) std::abort();
      tokenizer->token_bytes(id);
    }
    tokenizer->decode(ids, true);
    tokenizer->decode(ids, false);
  } catch (const laconic::Error& error) {
    if (error.kind() == laconic::ErrorKind::internal) std::abort();
  }
  return 0;
}
