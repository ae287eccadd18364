// The form in which a model was taught to converse: the Jinja template beside its tokenizer, as Hugging Face
// writes it (tokenizer_config.json "chat_template", chat_template.jinja or chat_template.json). Interpreted
// is the part of Jinja that such templates use; what is outside of it is refused by name. Work, depth and
// output are bounded. There is no clock: strftime_now is not defined, so templates fall back to the date they
// hold.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "runtime/chat/run.h"

namespace laconic {

struct ChatMessage {
  std::string role;     // "system", "user" or "assistant"
  std::string content;  // UTF-8
};

// Contents of the special tokens that templates may name; empty ones are not defined.
struct ChatTokens {
  std::string bos, eos, unk, pad;
};

class ChatTemplate {
 public:
  // Throws Error(input) when the directory has no template or it is not well formed, Error(unsupported)
  // naming what is outside of the language.
  static ChatTemplate load(const std::filesystem::path& model_directory);
  ChatTemplate(std::string_view source, std::string_view where, ChatTokens tokens = {});

  // The text of a conversation; with `add_generation_prompt` it ends where the model's answer begins. It
  // holds its own BOS where the template puts one. Throws Error(input) when the template refuses the
  // messages.
  std::string render(std::span<const ChatMessage> messages, bool add_generation_prompt = true,
                     const chat::Limits& limits = {}) const;

 private:
  struct Parsed;
  std::shared_ptr<const Parsed> parsed_;
};

}  // namespace laconic
