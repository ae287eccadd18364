// Any text as a chat template, and a rest as the message: it is refused or renders valid UTF-8 within its
// limits.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "engine/base/error.h"
#include "runtime/chat/chat_template.h"
#include "runtime/tokenizer/unicode_text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = std::min(input.find('\0'), input.size());
  const std::string content(end < size ? input.substr(end + 1) : std::string_view("Hi"));
  try {
    const laconic::ChatTemplate shape(input.substr(0, end), "fuzz", {"<s>", "</s>", "", ""});
    const std::vector<laconic::ChatMessage> messages = {{"system", "Be brief."}, {"user", content}};
    const std::string text = shape.render(messages, true, {1 << 20, 1 << 16});
    if (text.size() > (1 << 16) || !laconic::is_valid_utf8(text)) std::abort();
  } catch (const laconic::Error& error) {
    if (error.kind() == laconic::ErrorKind::internal) std::abort();
  }
  return 0;
}
