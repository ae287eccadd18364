// Checked access to the keys of a config.json: every value has a type and a range, and errors name key and
// file.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace laconic {

class ConfigFields {
 public:
  // `object` is borrowed. `where` is the file, or file and enclosing key.
  ConfigFields(const nlohmann::json& object, std::string where);

  bool key_present(std::string_view key) const;  // null counts
  // Present and not null.
  bool has(std::string_view key) const;
  const nlohmann::json& at(std::string_view key) const;
  std::int64_t integer(std::string_view key, std::int64_t low, std::int64_t high) const;
  std::int64_t integer_or(std::string_view key, std::int64_t low, std::int64_t high,
                          std::int64_t otherwise) const;
  double number(std::string_view key, double low, double high) const;
  double number_or(std::string_view key, double low, double high, double otherwise) const;
  bool boolean_or(std::string_view key, bool otherwise) const;
  std::string text_or(std::string_view key, std::string_view otherwise) const;
  const std::string& where() const { return where_; }

  // Refuses a key, because its value asks for something that is not supported.
  [[noreturn]] void refuse(std::string_view key, std::string_view reason = {}) const;
  [[noreturn]] void wrong(std::string_view key, std::string_view expected) const;

 private:
  const nlohmann::json& object_;
  std::string where_;
};

}  // namespace laconic
