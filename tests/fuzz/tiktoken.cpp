// Any text as a tiktoken vocabulary: refused, or a tokenizer that gives every text back. The input up to the
// first zero byte is the file, the rest the text.
#include <algorithm>
#include <cstdlib>

#include "engine/base/error.h"
#include "runtime/tokenizer/tiktoken.h"
#include "runtime/tokenizer/unicode_text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(input.find('\0'), input.size());
  const std::string_view text =
      end < size ? input.substr(end + 1) : std::string_view("Hello world 12, \xC3\xA9\n");
  laconic::is_tiktoken_text(input);
  try {
    const auto tokenizer = laconic::tiktoken_tokenizer(input.substr(0, end), {}, "fuzz");
    const std::vector<std::int32_t> ids = tokenizer->encode(text, false);
    for (const std::int32_t id : ids) {
      if (id < 0 || id >= tokenizer->size()) std::abort();
    }
    if (laconic::is_valid_utf8(text) && tokenizer->decode(ids) != text) std::abort();
  } catch (const laconic::Error& error) {
    if (error.kind() == laconic::ErrorKind::internal) std::abort();
  }
  return 0;
}
