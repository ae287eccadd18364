// Small typed key-value data that travels with a payload: ordered, comparable, convertible to JSON and back.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/base/bytes.h"

namespace laconic {

using AttributeValue =
    std::variant<bool, std::int64_t, double, std::string, std::vector<std::int64_t>, std::vector<double>>;

class Attributes {
 public:
  // Keys are 1 to 64 bytes of text; numbers must be finite (Error(internal) otherwise). An empty list of
  // numbers is kept as an empty list of integers, because JSON cannot tell them apart.
  void set(std::string key, AttributeValue value);
  bool contains(std::string_view key) const { return values_.find(key) != values_.end(); }
  // Each throws Error(corrupt) naming the key when it is missing, of another type, or outside [low, high].
  std::int64_t integer(std::string_view key, std::int64_t low, std::int64_t high) const;
  double number(std::string_view key) const;  // an integer is accepted
  bool boolean(std::string_view key) const;
  const std::string& text(std::string_view key) const;
  const std::vector<std::int64_t>& integers(std::string_view key) const;
  std::vector<double> numbers(std::string_view key) const;  // a list of integers is accepted

  const std::map<std::string, AttributeValue, std::less<>>& values() const { return values_; }
  bool operator==(const Attributes&) const = default;

  nlohmann::json to_json() const;
  // Throws Error(corrupt) on values that are not of the kinds above.
  static Attributes from_json(const nlohmann::json& json, std::string_view where);
  // Compact binary form, part of the frame (docs/format.md). Reading bounds every length by the bytes at
  // hand.
  void write(ByteWriter& writer) const;
  static Attributes read(ByteReader& reader);

 private:
  std::map<std::string, AttributeValue, std::less<>> values_;
};

}  // namespace laconic
