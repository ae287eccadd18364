#include "runtime/chat/value.h"

#include <algorithm>

#include "runtime/tokenizer/unicode_text.h"

namespace laconic::chat {

void Run::fault(std::string_view what, ErrorKind kind) const {
  fail(kind, what, line > 0 ? where + ", line " + std::to_string(line) : where);
}

Value Value::undefined(std::string name) {
  Value value;
  value.value_ = Undefined{std::move(name)};
  return value;
}
Value Value::none() {
  Value value;
  value.value_ = None{};
  return value;
}
Value Value::boolean(bool flag) {
  Value value;
  value.value_ = flag;
  return value;
}
Value Value::integer(std::int64_t number) {
  Value value;
  value.value_ = number;
  return value;
}
Value Value::real(double number) {
  Value value;
  value.value_ = number;
  return value;
}
Value Value::text(std::string text) {
  Value value;
  value.value_ = std::make_shared<const std::string>(std::move(text));
  return value;
}
Value Value::function(Function function) {
  Value value;
  value.value_ = std::move(function);
  return value;
}

int Value::depth_over(const Value& inner, int so_far) {
  constexpr int deepest = 64;
  if (inner.is_name_space()) {
    fail(ErrorKind::unsupported, "a namespace inside another value is not supported", "chat template");
  }
  const int depth = std::max(so_far, inner.depth() + 1);
  if (depth > deepest) fail(ErrorKind::unsupported, "values nested deeper than 64 levels", "chat template");
  return depth;
}

int Value::depth() const {
  if (is_list()) return std::get<std::shared_ptr<const Items>>(value_)->depth;
  if (is_map()) return std::get<std::shared_ptr<const Entries>>(value_)->depth;
  return 0;
}

Value Value::list(List items) {
  int depth = 1;
  for (const Value& item : items) depth = depth_over(item, depth);
  Value value;
  value.value_ = std::make_shared<const Items>(Items{std::move(items), depth});
  return value;
}
Value Value::map(Map entries) {
  int depth = 1;
  for (const auto& entry : entries) depth = depth_over(entry.second, depth);
  Value value;
  value.value_ = std::make_shared<const Entries>(Entries{std::move(entries), depth});
  return value;
}
Value Value::name_space(Map entries) {
  for (const auto& entry : entries) depth_over(entry.second, 1);
  Value value;
  value.value_ = std::make_shared<Entries>(Entries{std::move(entries), 1});
  return value;
}

std::int64_t Value::as_integer() const {
  return is_boolean() ? static_cast<std::int64_t>(std::get<bool>(value_)) : std::get<std::int64_t>(value_);
}
double Value::as_real() const {
  return is_real() ? std::get<double>(value_) : static_cast<double>(as_integer());
}
const Map& Value::as_map() const {
  if (is_name_space()) return std::get<std::shared_ptr<Entries>>(value_)->entries;
  return std::get<std::shared_ptr<const Entries>>(value_)->entries;
}

const Value* Value::find(std::string_view key) const {
  const Map& map = as_map();
  const auto found =
      std::find_if(map.begin(), map.end(), [&](const auto& entry) { return entry.first == key; });
  return found == map.end() ? nullptr : &found->second;
}

void Value::set(const std::string& key, Value value) const {
  depth_over(value, 1);
  set_entry(std::get<std::shared_ptr<Entries>>(value_)->entries, key, std::move(value));
}

void set_entry(Map& map, const std::string& key, Value value) {
  for (auto& entry : map) {
    if (entry.first == key) {
      entry.second = std::move(value);
      return;
    }
  }
  map.emplace_back(key, std::move(value));
}

bool Value::truth() const {
  if (is_undefined() || is_none()) return false;
  if (is_boolean() || is_integer()) return as_integer() != 0;
  if (is_real()) return as_real() != 0;
  if (is_text()) return !as_text().empty();
  if (is_list()) return !as_list().empty();
  if (is_map()) return !as_map().empty();
  return true;
}

const char* Value::kind_name() const {
  static const char* const names[] = {"undefined", "none",   "a boolean", "an integer",  "a number",
                                      "a string",  "a list", "a map",     "a namespace", "a function"};
  return names[value_.index()];
}

bool equal(Run& run, const Value& a, const Value& b) {
  run.spend(1);
  if (a.is_number() && b.is_number()) {
    if (!a.is_real() && !b.is_real()) return a.as_integer() == b.as_integer();
    return a.as_real() == b.as_real();
  }
  if (a.is_text() && b.is_text()) {
    run.spend(std::min(a.as_text().size(), b.as_text().size()));
    return a.as_text() == b.as_text();
  }
  if (a.is_list() && b.is_list()) {
    const List &x = a.as_list(), &y = b.as_list();
    if (x.size() != y.size()) return false;
    for (std::size_t i = 0; i < x.size(); ++i) {
      if (!equal(run, x[i], y[i])) return false;
    }
    return true;
  }
  if (a.is_map() && b.is_map()) {
    if (a.as_map().size() != b.as_map().size()) return false;
    for (const auto& [key, value] : a.as_map()) {
      run.spend(b.as_map().size());
      const Value* other = b.find(key);
      if (other == nullptr || !equal(run, value, *other)) return false;
    }
    return true;
  }
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

int compare(Run& run, const Value& a, const Value& b) {
  run.spend(1);
  if (a.is_number() && b.is_number()) {
    if (!a.is_real() && !b.is_real())
      return (a.as_integer() > b.as_integer()) - (a.as_integer() < b.as_integer());
    return (a.as_real() > b.as_real()) - (a.as_real() < b.as_real());
  }
  if (a.is_text() && b.is_text()) {
    run.spend(std::min(a.as_text().size(), b.as_text().size()));
    return a.as_text().compare(b.as_text());  // UTF-8 sorts as its characters do
  }
  if (a.is_list() && b.is_list()) {
    const List &x = a.as_list(), &y = b.as_list();
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!equal(run, x[i], y[i])) return compare(run, x[i], y[i]);
    }
    return (x.size() > y.size()) - (x.size() < y.size());
  }
  run.fault(std::string("compares ") + a.kind_name() + " with " + b.kind_name(), ErrorKind::input);
}

bool contains(Run& run, const Value& container, const Value& item) {
  if (container.is_text()) {
    if (!item.is_text())
      run.fault(std::string("looks for ") + item.kind_name() + " in a string", ErrorKind::input);
    run.spend(container.as_text().size() + item.as_text().size());
    return container.as_text().find(item.as_text()) != std::string::npos;
  }
  if (container.is_list()) {
    for (const Value& member : container.as_list()) {
      if (equal(run, member, item)) return true;
    }
    return false;
  }
  if (container.is_map()) {
    run.spend(container.as_map().size());
    return item.is_text() && container.find(item.as_text()) != nullptr;
  }
  if (container.is_undefined()) return false;
  run.fault(std::string("looks for a value in ") + container.kind_name(), ErrorKind::input);
}

List items_of(Run& run, const Value& value) {
  List items;
  if (value.is_undefined()) return items;
  if (value.is_list()) {
    run.spend(value.as_list().size());
    return value.as_list();
  }
  if (value.is_map()) {
    for (const auto& entry : value.as_map()) {
      run.spend(entry.first.size() + 1);
      items.push_back(Value::text(entry.first));
    }
    return items;
  }
  if (value.is_text()) {
    const std::string& text = value.as_text();
    run.spend(16 * text.size());
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t length = decode_character(text, i).length;
      items.push_back(Value::text(text.substr(i, length)));
      i += length;
    }
    return items;
  }
  run.fault(std::string("loops over ") + value.kind_name(), ErrorKind::input);
}

}  // namespace laconic::chat
