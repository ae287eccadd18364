#include "runtime/tokenizer/tokenizer_settings.h"

#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"
#include "engine/base/files.h"
#include "engine/base/json.h"

namespace laconic {
namespace {

using Json = nlohmann::json;

// A token is written as its content or as an object that holds it; null means there is none.
std::optional<std::string> token_content(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (found->is_object() && found->contains("content") && (*found)["content"].is_string()) {
    return (*found)["content"].get<std::string>();
  }
  return std::nullopt;
}

std::optional<bool> flag(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_boolean()) return std::nullopt;
  return found->get<bool>();
}

// One id, or the first of a list.
std::optional<std::int32_t> token_id(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end()) return std::nullopt;
  const Json& value = found->is_array() && !found->empty() ? found->front() : *found;
  if (!value.is_number_integer()) return std::nullopt;
  const auto id = value.get<std::int64_t>();
  if (id < 0 || id > std::numeric_limits<std::int32_t>::max()) return std::nullopt;
  return static_cast<std::int32_t>(id);
}

void take_roles(const Json& object, TokenizerSettings& settings) {
  const auto take = [&](const char* name, std::optional<std::string>& slot) {
    if (!slot) slot = token_content(object, name);
  };
  take("bos_token", settings.bos_token);
  take("eos_token", settings.eos_token);
  take("unk_token", settings.unk_token);
  take("pad_token", settings.pad_token);
}

Json object_of(const std::filesystem::path& path) {
  Json value = parse_json(read_text_file(path, std::size_t{64} << 20), path.string());
  if (!value.is_object()) fail(ErrorKind::input, "not a JSON object", path.string());
  return value;
}

}  // namespace

void TokenizerSettings::apply_tokenizer_config(std::string_view text, std::string_view where) {
  const Json config = parse_json(text, where);
  if (!config.is_object()) fail(ErrorKind::input, "not a JSON object", where);
  take_roles(config, *this);
  add_bos = flag(config, "add_bos_token");
  add_eos = flag(config, "add_eos_token");
  legacy = flag(config, "legacy");
  if (const auto found = config.find("tokenizer_class"); found != config.end() && found->is_string()) {
    tokenizer_class = found->get<std::string>();
  }
  const auto decoder = config.find("added_tokens_decoder");
  if (decoder == config.end() || !decoder->is_object()) return;
  for (const auto& [key, value] : decoder->items()) {
    AddedToken token;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token.id);
    if (error != std::errc() || end != key.data() + key.size() || token.id < 0 || !value.is_object() ||
        !value.contains("content") || !value["content"].is_string()) {
      fail(ErrorKind::input, "added_tokens_decoder entry \"" + key + "\" is not an id with a token", where);
    }
    token.content = value["content"].get<std::string>();
    token.single_word = flag(value, "single_word").value_or(false);
    token.lstrip = flag(value, "lstrip").value_or(false);
    token.rstrip = flag(value, "rstrip").value_or(false);
    token.normalized = flag(value, "normalized").value_or(false);
    token.special = flag(value, "special").value_or(false);
    added.push_back(std::move(token));
  }
}

TokenizerSettings TokenizerSettings::read(const std::filesystem::path& model_directory) {
  TokenizerSettings settings;
  std::error_code ignored;
  const auto present = [&](const char* name) {
    return std::filesystem::exists(model_directory / name, ignored);
  };
  if (present("tokenizer_config.json")) {
    const auto path = model_directory / "tokenizer_config.json";
    settings.apply_tokenizer_config(read_text_file(path, std::size_t{64} << 20), path.string());
  }
  if (present("special_tokens_map.json")) {
    take_roles(object_of(model_directory / "special_tokens_map.json"), settings);
  }
  if (present("config.json")) {
    const Json config = object_of(model_directory / "config.json");
    settings.bos_id = token_id(config, "bos_token_id");
    settings.eos_id = token_id(config, "eos_token_id");
  }
  return settings;
}

}  // namespace laconic
