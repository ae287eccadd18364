// Values of the template language: those of Python that templates see. Strings are UTF-8 and counted in
// characters. Lists, maps and strings do not change once made; a namespace does.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/chat/run.h"

namespace laconic::chat {

class Value;
struct Statement;
using List = std::vector<Value>;
using Map = std::vector<std::pair<std::string, Value>>;  // in order of insertion, keys distinct

struct Undefined {
  std::string name;  // of what was looked for
};
struct None {};
struct Function {
  std::string name;
  const Statement* macro = nullptr;  // null: a function of the language
};

class Value {
 public:
  Value() = default;  // undefined
  static Value undefined(std::string name);
  static Value none();
  static Value boolean(bool value);
  static Value integer(std::int64_t value);
  static Value real(double value);
  static Value text(std::string value);
  // Refuses values nested deeper than 64 levels, and a namespace inside another value.
  static Value list(List items);
  static Value map(Map entries);
  static Value name_space(Map entries);
  static Value function(Function function);

  bool is_undefined() const { return std::holds_alternative<Undefined>(value_); }
  bool is_none() const { return std::holds_alternative<None>(value_); }
  bool is_boolean() const { return std::holds_alternative<bool>(value_); }
  bool is_integer() const { return std::holds_alternative<std::int64_t>(value_); }  // not a boolean
  bool is_real() const { return std::holds_alternative<double>(value_); }
  bool is_number() const { return is_boolean() || is_integer() || is_real(); }
  bool is_text() const { return std::holds_alternative<std::shared_ptr<const std::string>>(value_); }
  bool is_list() const { return std::holds_alternative<std::shared_ptr<const Items>>(value_); }
  bool is_map() const { return std::holds_alternative<std::shared_ptr<const Entries>>(value_); }
  bool is_name_space() const { return std::holds_alternative<std::shared_ptr<Entries>>(value_); }
  bool is_function() const { return std::holds_alternative<Function>(value_); }

  // Of the kind that was asked for; the caller has checked.
  const std::string& undefined_name() const { return std::get<Undefined>(value_).name; }
  std::int64_t as_integer() const;  // integers and booleans
  double as_real() const;           // any number
  const std::string& as_text() const { return *std::get<std::shared_ptr<const std::string>>(value_); }
  const List& as_list() const { return std::get<std::shared_ptr<const Items>>(value_)->items; }
  const Map& as_map() const;  // also of a namespace
  const Function& as_function() const { return std::get<Function>(value_); }

  const Value* find(std::string_view key) const;        // in a map or namespace, null when absent
  void set(const std::string& key, Value value) const;  // in a namespace

  bool truth() const;
  const char* kind_name() const;  // "a string"

 private:
  struct Items {
    List items;
    int depth = 1;
  };
  struct Entries {
    Map entries;
    int depth = 1;
  };
  int depth() const;
  static int depth_over(const Value& inner, int so_far);

  std::variant<Undefined, None, bool, std::int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<const Items>, std::shared_ptr<const Entries>, std::shared_ptr<Entries>,
               Function>
      value_;
};

// Inserts or replaces.
void set_entry(Map& map, const std::string& key, Value value);

bool equal(Run& run, const Value& a, const Value& b);
// Numbers with numbers, strings with strings, lists with lists; others are refused. Negative, 0 or positive.
int compare(Run& run, const Value& a, const Value& b);
bool contains(Run& run, const Value& container, const Value& item);

// As Python prints it: strings plainly, lists and maps by their literals, undefined as nothing.
std::string to_text(Run& run, const Value& value);
// As json.dumps(value, ensure_ascii=False, indent=indent) writes it; indent below 0: on one line.
std::string to_json(Run& run, const Value& value, int indent);
// What a loop goes through: items of a list, keys of a map, characters of a string.
List items_of(Run& run, const Value& value);

}  // namespace laconic::chat
