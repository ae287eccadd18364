#include "engine/codec/attributes.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/base/error.h"

namespace laconic {
namespace {

using Json = nlohmann::json;

constexpr std::size_t key_limit = 64;
constexpr std::size_t count_limit = 4096;

enum class StoredKind : std::uint8_t { no, yes, integer, number, text, integers, numbers };

template <class T>
const T& value_of(const std::map<std::string, AttributeValue, std::less<>>& values, std::string_view key,
                  std::string_view kind) {
  const auto found = values.find(key);
  if (found == values.end()) fail(ErrorKind::corrupt, "attribute \"" + std::string(key) + "\" is missing");
  const T* value = std::get_if<T>(&found->second);
  if (value == nullptr) {
    fail(ErrorKind::corrupt, "attribute \"" + std::string(key) + "\" is not " + std::string(kind));
  }
  return *value;
}

bool finite(const AttributeValue& value) {
  if (const auto* number = std::get_if<double>(&value)) return std::isfinite(*number);
  if (const auto* list = std::get_if<std::vector<double>>(&value)) {
    for (double number : *list) {
      if (!std::isfinite(number)) return false;
    }
  }
  return true;
}

AttributeValue list_from_json(const Json& json, std::string_view key, std::string_view where) {
  std::vector<std::int64_t> integers;
  std::vector<double> numbers;
  for (const Json& item : json) {
    const bool whole = item.is_number_integer() &&
                       !(item.is_number_unsigned() && item.get<std::uint64_t>() > std::uint64_t{INT64_MAX});
    if (whole) integers.push_back(item.get<std::int64_t>());
    if (item.is_number_float()) numbers.push_back(item.get<double>());
  }
  if (integers.size() == json.size()) return integers;
  if (numbers.size() == json.size()) return numbers;
  fail(ErrorKind::corrupt, "attribute \"" + std::string(key) + "\" is a list of mixed or unknown things",
       where);
}

}  // namespace

void Attributes::set(std::string key, AttributeValue value) {
  require(!key.empty() && key.size() <= key_limit, "attribute keys have 1 to 64 bytes");
  require(finite(value), "attribute numbers are finite");
  if (const auto* list = std::get_if<std::vector<double>>(&value); list != nullptr && list->empty()) {
    value = std::vector<std::int64_t>{};
  }
  values_[std::move(key)] = std::move(value);
}

std::int64_t Attributes::integer(std::string_view key, std::int64_t low, std::int64_t high) const {
  const std::int64_t value = value_of<std::int64_t>(values_, key, "an integer");
  if (value < low || value > high) {
    fail(ErrorKind::corrupt, "attribute \"" + std::string(key) + "\" is " + std::to_string(value) +
                                 ", outside [" + std::to_string(low) + ", " + std::to_string(high) + "]");
  }
  return value;
}

double Attributes::number(std::string_view key) const {
  const auto found = values_.find(key);
  if (found != values_.end()) {
    if (const auto* whole = std::get_if<std::int64_t>(&found->second)) return static_cast<double>(*whole);
  }
  return value_of<double>(values_, key, "a number");
}

bool Attributes::boolean(std::string_view key) const { return value_of<bool>(values_, key, "true or false"); }

const std::string& Attributes::text(std::string_view key) const {
  return value_of<std::string>(values_, key, "text");
}

const std::vector<std::int64_t>& Attributes::integers(std::string_view key) const {
  return value_of<std::vector<std::int64_t>>(values_, key, "a list of integers");
}

std::vector<double> Attributes::numbers(std::string_view key) const {
  const auto found = values_.find(key);
  if (found != values_.end()) {
    if (const auto* whole = std::get_if<std::vector<std::int64_t>>(&found->second)) {
      return std::vector<double>(whole->begin(), whole->end());
    }
  }
  return value_of<std::vector<double>>(values_, key, "a list of numbers");
}

Json Attributes::to_json() const {
  Json json = Json::object();
  for (const auto& [key, value] : values_) {
    std::visit([&, &name = key](const auto& held) { json[name] = held; }, value);
  }
  return json;
}

Attributes Attributes::from_json(const Json& json, std::string_view where) {
  if (!json.is_object()) fail(ErrorKind::corrupt, "attributes are not a JSON object", where);
  if (json.size() > count_limit) fail(ErrorKind::corrupt, "has too many attributes", where);
  Attributes attributes;
  for (const auto& [key, value] : json.items()) {
    if (key.empty() || key.size() > key_limit) {
      fail(ErrorKind::corrupt, "attribute key is empty or over 64 bytes", where);
    }
    if (value.is_boolean()) {
      attributes.set(key, value.get<bool>());
    } else if (value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{INT64_MAX}) {
      fail(ErrorKind::corrupt, "attribute \"" + key + "\" is over 63 bits", where);
    } else if (value.is_number_integer()) {
      attributes.set(key, value.get<std::int64_t>());
    } else if (value.is_number_float() && std::isfinite(value.get<double>())) {
      attributes.set(key, value.get<double>());
    } else if (value.is_string()) {
      attributes.set(key, value.get<std::string>());
    } else if (value.is_array()) {
      AttributeValue list = list_from_json(value, key, where);
      if (!finite(list)) fail(ErrorKind::corrupt, "attribute \"" + key + "\" is not finite", where);
      attributes.set(key, std::move(list));
    } else {
      fail(ErrorKind::corrupt, "attribute \"" + key + "\" is of a kind that attributes do not have", where);
    }
  }
  return attributes;
}

void Attributes::write(ByteWriter& writer) const {
  require(values_.size() <= count_limit, "at most 4096 attributes");
  writer.varint(values_.size());
  for (const auto& [key, value] : values_) {
    writer.text(key);
    const auto kind = [&](StoredKind which) { writer.u8(static_cast<std::uint8_t>(which)); };
    if (const auto* flag = std::get_if<bool>(&value)) {
      kind(*flag ? StoredKind::yes : StoredKind::no);
    } else if (const auto* whole = std::get_if<std::int64_t>(&value)) {
      kind(StoredKind::integer);
      writer.signed_varint(*whole);
    } else if (const auto* number = std::get_if<double>(&value)) {
      kind(StoredKind::number);
      writer.f64(*number);
    } else if (const auto* words = std::get_if<std::string>(&value)) {
      kind(StoredKind::text);
      writer.text(*words);
    } else if (const auto* list = std::get_if<std::vector<std::int64_t>>(&value)) {
      kind(StoredKind::integers);
      writer.varint(list->size());
      for (std::int64_t item : *list) writer.signed_varint(item);
    } else {
      const auto& numbers = std::get<std::vector<double>>(value);
      kind(StoredKind::numbers);
      writer.varint(numbers.size());
      for (double item : numbers) writer.f64(item);
    }
  }
}

Attributes Attributes::read(ByteReader& reader) {
  Attributes attributes;
  const auto number = [&] {
    const double value = reader.f64();
    if (!std::isfinite(value)) reader.corrupt("attribute is not finite");
    return value;
  };
  const std::uint64_t count = reader.length(count_limit);
  std::string previous;
  for (std::uint64_t i = 0; i < count; ++i) {
    std::string key = reader.text(key_limit);
    // The map writes its keys in order; one form per content means nothing hides in a second one.
    if (key <= previous) reader.corrupt("attribute keys are not in ascending order");
    AttributeValue value;
    switch (static_cast<StoredKind>(reader.u8())) {
      case StoredKind::no:
        value = false;
        break;
      case StoredKind::yes:
        value = true;
        break;
      case StoredKind::integer:
        value = reader.signed_varint();
        break;
      case StoredKind::number:
        value = number();
        break;
      case StoredKind::text:
        value = reader.text(reader.remaining());
        break;
      case StoredKind::integers: {
        std::vector<std::int64_t> list(reader.length(reader.remaining()));
        for (std::int64_t& item : list) item = reader.signed_varint();
        value = std::move(list);
        break;
      }
      case StoredKind::numbers: {
        std::vector<double> list(reader.length(reader.remaining() / sizeof(double)));
        if (list.empty()) reader.corrupt("an empty list is written as integers");
        for (double& item : list) item = number();
        value = std::move(list);
        break;
      }
      default:
        reader.corrupt("unknown kind of attribute");
    }
    previous = key;
    attributes.set(std::move(key), std::move(value));
  }
  return attributes;
}

}  // namespace laconic
