// Any text as tokenizer.json: refused, or a tokenizer that encodes a text into ids it has and decodes them.
// The input up to the first zero byte is the file, the rest the text.
#include <algorithm>
#include <cstdlib>

#include "engine/base/error.h"
#include "runtime/tokenizer/tokenizer_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(input.find('\0'), input.size());
  const std::string_view text =
      end < size ? input.substr(end + 1) : std::string_view("Hello world 12, \xC3\xA9\n");
  try {
    const auto tokenizer = laconic::json_tokenizer(input.substr(0, end), {}, "fuzz");
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
