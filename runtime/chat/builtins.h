// The functions, filters, tests and methods that templates may use. What is not here is refused by its name.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/chat/value.h"

namespace laconic::chat {

// Arguments of one call.
struct CallArguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  // Refuses more arguments than `parameters`, unknown names and one parameter given twice.
  void check(Run& run, std::string_view function, std::initializer_list<std::string_view> parameters) const;
  // Null when it was not given.
  const Value* find(std::size_t index, std::string_view name) const;
  // Of that kind, or the value for when it was not given. Refuses other kinds.
  std::string text(Run& run, std::size_t index, std::string_view name, std::string_view otherwise) const;
  std::int64_t integer(Run& run, std::size_t index, std::string_view name, std::int64_t otherwise) const;
  bool flag(std::size_t index, std::string_view name, bool otherwise) const;
};

Value apply_filter(Run& run, std::string_view filter, const Value& input, const CallArguments& arguments);
bool apply_test(Run& run, std::string_view test, const Value& input, const CallArguments& arguments);
Value call_method(Run& run, const Value& object, std::string_view method, const CallArguments& arguments);

bool is_function(std::string_view name);
Value call_function(Run& run, std::string_view function, const CallArguments& arguments);

// object.name and object[key]; what is absent is undefined. Refuses to look into what is undefined itself.
Value attribute_of(Run& run, const Value& object, const std::string& name);
Value item_of(Run& run, const Value& object, const Value& key);
// object[start:stop:step] of a string or list; bounds that are undefined or none are open.
Value slice_of(Run& run, const Value& object, const Value& start, const Value& stop, const Value& step);

}  // namespace laconic::chat
