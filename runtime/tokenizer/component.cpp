#include "runtime/tokenizer/component.h"

#include <nlohmann/json.hpp>

#include "engine/base/error.h"

namespace laconic {

Component::Component(const nlohmann::json& value, std::string_view role, std::string_view where)
    : value_(value), role_(role), where_(where) {
  if (!value.is_object()) fail(ErrorKind::input, "the " + role_ + " is not a JSON object", where_);
  const auto found = value.find("type");
  if (found == value.end() || !found->is_string()) {
    fail(ErrorKind::input, "the " + role_ + " does not say its type", where_);
  }
  type_ = found->get<std::string>();
}

bool Component::has(const char* key) const {
  const auto found = value_.find(key);
  return found != value_.end() && !found->is_null();
}

void Component::fault(std::string_view what) const {
  fail(ErrorKind::input, "the " + role_ + " " + type_ + ": " + std::string(what), where_);
}

void Component::unknown() const {
  fail(ErrorKind::unsupported, "the " + role_ + " type \"" + type_ + "\" is not supported", where_);
}

std::string Component::text(const char* key, std::string_view otherwise) const {
  if (!has(key)) return std::string(otherwise);
  if (!value_[key].is_string()) fault(std::string("\"") + key + "\" is not a string");
  return value_[key].get<std::string>();
}

bool Component::flag(const char* key, bool otherwise) const {
  if (!has(key)) return otherwise;
  if (!value_[key].is_boolean()) fault(std::string("\"") + key + "\" is not true or false");
  return value_[key].get<bool>();
}

std::int64_t Component::integer(const char* key, std::int64_t otherwise) const {
  if (!has(key)) return otherwise;
  if (!value_[key].is_number_integer()) fault(std::string("\"") + key + "\" is not a whole number");
  return value_[key].get<std::int64_t>();
}

const nlohmann::json& Component::member(const char* key) const {
  if (!has(key)) fault(std::string("\"") + key + "\" is missing");
  return value_[key];
}

const nlohmann::json& Component::list(const char* key) const {
  const nlohmann::json& value = member(key);
  if (!value.is_array()) fault(std::string("\"") + key + "\" is not a list");
  return value;
}

Component::Pattern Component::pattern() const {
  const nlohmann::json& value = member("pattern");
  if (value.is_object() && value.size() == 1 && value.begin().value().is_string()) {
    const std::string& text = value.begin().value().get_ref<const std::string&>();
    if (value.begin().key() == "String") return {text, false};
    if (value.begin().key() == "Regex") return {text, true};
  }
  fault("\"pattern\" is neither a String nor a Regex");
}

}  // namespace laconic
