// Reading one component of a tokenizer.json: an object whose "type" says what it is. Faults name the
// component and the file.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace laconic {

class Component {
 public:
  // `role` is what the component is for: "normalizer", "decoder".
  Component(const nlohmann::json& value, std::string_view role, std::string_view where);

  const std::string& type() const { return type_; }
  bool has(const char* key) const;
  // The member's value, or `otherwise` when it is absent or null. Throws Error(input) for another kind of
  // value.
  std::string text(const char* key, std::string_view otherwise = {}) const;
  bool flag(const char* key, bool otherwise) const;
  std::int64_t integer(const char* key, std::int64_t otherwise) const;
  const nlohmann::json& list(const char* key) const;    // must be there
  const nlohmann::json& member(const char* key) const;  // must be there

  // "pattern": {"String": s} or {"Regex": r}.
  struct Pattern {
    std::string text;
    bool is_regex = false;
  };
  Pattern pattern() const;

  [[noreturn]] void fault(std::string_view what) const;
  [[noreturn]] void unknown() const;  // no such type of this role
  std::string_view where() const { return where_; }

 private:
  const nlohmann::json& value_;
  std::string role_, type_, where_;
};

}  // namespace laconic
