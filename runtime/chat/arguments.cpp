#include <algorithm>

#include "runtime/chat/builtins.h"

namespace laconic::chat {

void CallArguments::check(Run& run, std::string_view function,
                          std::initializer_list<std::string_view> parameters) const {
  if (positional.size() > parameters.size()) {
    run.fault("gives \"" + std::string(function) + "\" too many arguments", ErrorKind::input);
  }
  for (std::size_t i = 0; i < named.size(); ++i) {
    const auto found = std::find(parameters.begin(), parameters.end(), named[i].first);
    if (found == parameters.end()) {
      run.fault("the argument \"" + named[i].first + "\" of \"" + std::string(function) +
                "\" is not supported");
    }
    const bool again = std::any_of(named.begin(), named.begin() + static_cast<std::ptrdiff_t>(i),
                                   [&](const auto& earlier) { return earlier.first == named[i].first; });
    if (again || static_cast<std::size_t>(found - parameters.begin()) < positional.size()) {
      run.fault("gives \"" + std::string(function) + "\" the argument \"" + named[i].first + "\" twice",
                ErrorKind::input);
    }
  }
}

const Value* CallArguments::find(std::size_t index, std::string_view name) const {
  if (index < positional.size()) return &positional[index];
  for (const auto& [key, value] : named) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::string CallArguments::text(Run& run, std::size_t index, std::string_view name,
                                std::string_view otherwise) const {
  const Value* value = find(index, name);
  if (value == nullptr) return std::string(otherwise);
  if (!value->is_text()) {
    run.fault("the argument \"" + std::string(name) + "\" is " + value->kind_name() + ", not a string",
              ErrorKind::input);
  }
  return value->as_text();
}

std::int64_t CallArguments::integer(Run& run, std::size_t index, std::string_view name,
                                    std::int64_t otherwise) const {
  const Value* value = find(index, name);
  if (value == nullptr) return otherwise;
  if (!value->is_integer() && !value->is_boolean()) {
    run.fault("the argument \"" + std::string(name) + "\" is " + value->kind_name() + ", not an integer",
              ErrorKind::input);
  }
  return value->as_integer();
}

bool CallArguments::flag(std::size_t index, std::string_view name, bool otherwise) const {
  const Value* value = find(index, name);
  return value == nullptr ? otherwise : value->truth();
}

}  // namespace laconic::chat
