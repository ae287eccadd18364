#include "runtime/chat/chat_template.h"

#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/json.h"
#include "runtime/chat/evaluator.h"
#include "runtime/chat/syntax.h"
#include "runtime/tokenizer/tokenizer_settings.h"
#include "runtime/tokenizer/unicode_text.h"

namespace laconic {
namespace {

using Json = nlohmann::json;

struct Source {
  std::string text, where;
};

std::string named_templates(const Json& list, const std::string& where) {
  std::string names;
  for (const Json& entry : list) {
    if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string() ||
        !entry.contains("template") || !entry["template"].is_string()) {
      fail(ErrorKind::input, "an entry of \"chat_template\" is not a name with a template", where);
    }
    if (entry["name"] == "default" || list.size() == 1) return entry["template"].get<std::string>();
    names += (names.empty() ? "" : ", ") + entry["name"].get<std::string>();
  }
  fail(ErrorKind::input, "none of the chat templates is called \"default\": " + names, where);
}

std::optional<std::string> template_in(const std::filesystem::path& path) {
  const Json config = parse_json(read_text_file(path, std::size_t{64} << 20), path.string());
  if (!config.is_object()) fail(ErrorKind::input, "not a JSON object", path.string());
  const auto found = config.find("chat_template");
  if (found == config.end() || found->is_null()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_array() && !found->empty()) return named_templates(*found, path.string());
  fail(ErrorKind::input, "\"chat_template\" is neither a template nor a list of named ones", path.string());
}

Source source_of(const std::filesystem::path& directory) {
  std::error_code ignored;
  const auto path = directory / "chat_template.jinja";
  if (std::filesystem::exists(path, ignored)) {
    return {read_text_file(path, std::size_t{64} << 20), path.string()};
  }
  for (const char* name : {"chat_template.json", "tokenizer_config.json"}) {
    const auto file = directory / name;
    if (!std::filesystem::exists(file, ignored)) continue;
    if (auto text = template_in(file)) return {std::move(*text), file.string() + " chat_template"};
  }
  fail(ErrorKind::input, "the model has no chat template", directory.string(),
       "leave out --chat, or put a chat_template.jinja beside its tokenizer");
}

}  // namespace

struct ChatTemplate::Parsed {
  std::string where;
  ChatTokens tokens;
  std::vector<chat::Statement> body;
};

ChatTemplate::ChatTemplate(std::string_view source, std::string_view where, ChatTokens tokens)
    : parsed_(std::make_shared<const Parsed>(
          Parsed{std::string(where), std::move(tokens), chat::parse_template(source, where)})) {}

ChatTemplate ChatTemplate::load(const std::filesystem::path& model_directory) {
  const Source source = source_of(model_directory);
  const TokenizerSettings settings = TokenizerSettings::read(model_directory);
  return ChatTemplate(source.text, source.where,
                      {settings.bos_token.value_or(""), settings.eos_token.value_or(""),
                       settings.unk_token.value_or(""), settings.pad_token.value_or("")});
}

std::string ChatTemplate::render(std::span<const ChatMessage> messages, bool add_generation_prompt,
                                 const chat::Limits& limits) const {
  using chat::Value;
  chat::List list;
  for (const ChatMessage& message : messages) {
    if (!is_valid_utf8(message.role) || !is_valid_utf8(message.content)) {
      fail(ErrorKind::input, "a message is not UTF-8", "chat");
    }
    list.push_back(
        Value::map({{"role", Value::text(message.role)}, {"content", Value::text(message.content)}}));
  }
  chat::Scope globals;
  globals["messages"] = Value::list(std::move(list));
  globals["add_generation_prompt"] = Value::boolean(add_generation_prompt);
  globals["tools"] = Value::none();
  globals["documents"] = Value::none();
  const ChatTokens& tokens = parsed_->tokens;
  const auto define = [&](const char* name, const std::string& text) {
    if (!text.empty()) globals[name] = Value::text(text);
  };
  define("bos_token", tokens.bos), define("eos_token", tokens.eos);
  define("unk_token", tokens.unk), define("pad_token", tokens.pad);
  chat::Run run;
  run.where = parsed_->where;
  run.limits = limits;
  return chat::Evaluator(run, std::move(globals)).render(parsed_->body);
}

}  // namespace laconic
