#include "runtime/config_fields.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"

namespace laconic {
namespace {

std::string shown(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

}  // namespace

ConfigFields::ConfigFields(const nlohmann::json& object, std::string where)
    : object_(object), where_(std::move(where)) {
  if (!object_.is_object()) fail(ErrorKind::input, "is not a JSON object", where_);
}

bool ConfigFields::key_present(std::string_view key) const { return object_.contains(key); }

bool ConfigFields::has(std::string_view key) const {
  const auto found = object_.find(key);
  return found != object_.end() && !found->is_null();
}

const nlohmann::json& ConfigFields::at(std::string_view key) const {
  const auto found = object_.find(key);
  if (found == object_.end() || found->is_null()) {
    fail(ErrorKind::input, fmt::format("lacks the key \"{}\"", key), where_);
  }
  return *found;
}

std::int64_t ConfigFields::integer(std::string_view key, std::int64_t low, std::int64_t high) const {
  const nlohmann::json& value = at(key);
  const bool fits = value.is_number_unsigned() ? value.get<std::uint64_t>() <= std::uint64_t{1} << 62
                                               : value.is_number_integer();
  if (!fits || value.get<std::int64_t>() < low || value.get<std::int64_t>() > high) {
    wrong(key, fmt::format("a whole number from {} to {}", low, high));
  }
  return value.get<std::int64_t>();
}

std::int64_t ConfigFields::integer_or(std::string_view key, std::int64_t low, std::int64_t high,
                                      std::int64_t otherwise) const {
  return has(key) ? integer(key, low, high) : otherwise;
}

double ConfigFields::number(std::string_view key, double low, double high) const {
  const nlohmann::json& value = at(key);
  if (!value.is_number()) wrong(key, "a number");
  const double number = value.get<double>();
  if (!(number >= low && number <= high)) wrong(key, fmt::format("a number from {} to {}", low, high));
  return number;
}

double ConfigFields::number_or(std::string_view key, double low, double high, double otherwise) const {
  return has(key) ? number(key, low, high) : otherwise;
}

bool ConfigFields::boolean_or(std::string_view key, bool otherwise) const {
  if (!has(key)) return otherwise;
  if (!at(key).is_boolean()) wrong(key, "true or false");
  return at(key).get<bool>();
}

std::string ConfigFields::text_or(std::string_view key, std::string_view otherwise) const {
  if (!has(key)) return std::string(otherwise);
  if (!at(key).is_string()) wrong(key, "text");
  return at(key).get<std::string>();
}

void ConfigFields::refuse(std::string_view key, std::string_view reason) const {
  const auto found = object_.find(key);
  const std::string value = found == object_.end() ? "" : fmt::format(" = {}", shown(*found));
  fail(ErrorKind::unsupported, fmt::format("\"{}\"{} is not supported", key, value), where_, reason);
}

void ConfigFields::wrong(std::string_view key, std::string_view expected) const {
  fail(ErrorKind::input, fmt::format("\"{}\" = {} is not {}", key, shown(at(key)), expected), where_);
}

}  // namespace laconic
