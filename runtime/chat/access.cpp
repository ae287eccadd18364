// Attributes, items and slices.
#include <algorithm>
#include <limits>

#include "runtime/chat/builtins.h"
#include "runtime/chat/characters.h"
#include "runtime/tokenizer/unicode_text.h"

namespace laconic::chat {
namespace {

void refuse_undefined(const Run& run, const Value& object) {
  if (object.is_undefined())
    run.fault("\"" + object.undefined_name() + "\" is not defined", ErrorKind::input);
}

// Places of a sequence of `size` that a Python slice names, in order.
std::vector<std::size_t> slice_places(Run& run, std::size_t size, const Value& start, const Value& stop,
                                      const Value& step) {
  const auto bound = [&](const Value& value, std::int64_t otherwise) {
    if (value.is_undefined() || value.is_none()) return otherwise;
    if (!value.is_integer() && !value.is_boolean()) {
      run.fault(std::string("slices with ") + value.kind_name(), ErrorKind::input);
    }
    return value.as_integer();
  };
  const auto count = static_cast<std::int64_t>(size);
  const std::int64_t stride = std::clamp<std::int64_t>(bound(step, 1), -count - 1, count + 1);
  if (stride == 0) run.fault("slices with step 0", ErrorKind::input);
  const std::int64_t low = stride > 0 ? 0 : -1, high = stride > 0 ? count : count - 1;
  const auto place = [&](const Value& value, std::int64_t otherwise) {
    std::int64_t at = bound(value, otherwise);
    if (value.is_undefined() || value.is_none()) return at;
    if (at < 0) at += count;  // cannot overflow: at is negative
    return std::clamp(at, low, high);
  };
  const std::int64_t first = place(start, stride > 0 ? low : high),
                     last = place(stop, stride > 0 ? high : low);
  std::vector<std::size_t> places;
  for (std::int64_t at = first; stride > 0 ? at < last : at > last; at += stride) {
    run.spend(1);
    places.push_back(static_cast<std::size_t>(at));
  }
  return places;
}

}  // namespace

Value attribute_of(Run& run, const Value& object, const std::string& name) {
  refuse_undefined(run, object);
  if (object.is_map() || object.is_name_space()) {
    run.spend(object.as_map().size());
    if (const Value* found = object.find(name)) return *found;
  }
  return Value::undefined(name);
}

Value item_of(Run& run, const Value& object, const Value& key) {
  refuse_undefined(run, object);
  if (object.is_map() && key.is_text()) return attribute_of(run, object, key.as_text());
  if (object.is_name_space()) run.fault("takes an item of a namespace", ErrorKind::input);
  if ((object.is_list() || object.is_text()) && (key.is_integer() || key.is_boolean())) {
    const std::int64_t index = key.as_integer();
    if (object.is_list()) {
      const List& list = object.as_list();
      const auto size = static_cast<std::int64_t>(list.size());
      const std::int64_t at = index < 0 ? index + size : index;
      if (at >= 0 && at < size) return list[static_cast<std::size_t>(at)];
    } else {
      const std::string& text = object.as_text();
      run.spend(text.size());
      const auto size = static_cast<std::int64_t>(character_count(text));
      std::int64_t at = index < 0 ? index + size : index;
      if (at >= 0 && at < size) {
        std::size_t position = 0;
        for (; at > 0; --at) position += decode_character(text, position).length;
        return Value::text(text.substr(position, decode_character(text, position).length));
      }
    }
    return Value::undefined("item " + std::to_string(index));
  }
  return Value::undefined(key.is_text() ? key.as_text() : "item");
}

Value slice_of(Run& run, const Value& object, const Value& start, const Value& stop, const Value& step) {
  refuse_undefined(run, object);
  if (object.is_list()) {
    List items;
    for (const std::size_t place : slice_places(run, object.as_list().size(), start, stop, step)) {
      items.push_back(object.as_list()[place]);
    }
    return Value::list(std::move(items));
  }
  if (!object.is_text()) run.fault(std::string("slices ") + object.kind_name(), ErrorKind::input);
  const std::string& text = object.as_text();
  run.spend(text.size());
  std::vector<std::size_t> begins;  // of the characters, and the end
  for (std::size_t i = 0; i < text.size(); i += decode_character(text, i).length) begins.push_back(i);
  begins.push_back(text.size());
  std::string result;
  for (const std::size_t place : slice_places(run, begins.size() - 1, start, stop, step)) {
    result.append(text, begins[place], begins[place + 1] - begins[place]);
  }
  return Value::text(std::move(result));
}

}  // namespace laconic::chat
