#include "runtime/documents.h"

#include "engine/base/error.h"

namespace laconic {

std::vector<std::string_view> split_documents(std::string_view text) {
  std::vector<std::string_view> documents;
  for (;;) {
    const std::size_t end = text.find(document_separator);
    std::string_view document = text.substr(0, end);
    while (!document.empty() && (document.front() == '\n' || document.front() == '\r'))
      document.remove_prefix(1);
    while (!document.empty() && (document.back() == '\n' || document.back() == '\r'))
      document.remove_suffix(1);
    if (!document.empty()) documents.push_back(document);
    if (end == std::string_view::npos) return documents;
    text.remove_prefix(end + document_separator.size());
  }
}

std::int32_t beginning_token(const Tokenizer& tokenizer, const ModelConfig& config) {
  if (config.bos_token >= 0) return static_cast<std::int32_t>(config.bos_token);
  if (const auto bos = tokenizer.bos()) return *bos;
  if (!config.eos_tokens.empty()) return static_cast<std::int32_t>(config.eos_tokens.front());
  fail(ErrorKind::input, "neither model nor tokenizer names a BOS or EOS token", "config.json",
       "set bos_token_id");
}

}  // namespace laconic
