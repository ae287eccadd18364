// Methods of strings and maps, and the functions of the language.
#include <algorithm>
#include <array>

#include "runtime/chat/builtins.h"
#include "runtime/chat/characters.h"
#include "runtime/tokenizer/unicode_text.h"

namespace laconic::chat {
namespace {

bool holds_character(std::string_view set, std::string_view character) {
  return set.find(character) != std::string_view::npos;
}

// Without characters of a set at the ends that were asked for; no set: white space.
std::string stripped(Run& run, std::string_view text, const Value* set, bool left, bool right) {
  if (set == nullptr || set->is_none()) {
    if (left) text = without_leading_space(text);
    if (right) text = without_trailing_space(text);
    return std::string(text);
  }
  if (!set->is_text()) run.fault("strips something that is not a string", ErrorKind::input);
  const std::string& characters = set->as_text();
  while (left && !text.empty()) {
    run.spend(characters.size() + 1);
    const std::size_t length = decode_character(text, 0).length;
    if (!holds_character(characters, text.substr(0, length))) break;
    text.remove_prefix(length);
  }
  while (right && !text.empty()) {
    run.spend(characters.size() + 1);
    std::size_t begin = text.size() - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0u) == 0x80u) --begin;
    if (!holds_character(characters, text.substr(begin))) break;
    text = text.substr(0, begin);
  }
  return std::string(text);
}

Value split(Run& run, const std::string& text, const Value* separator, std::int64_t most, bool from_right) {
  List parts;
  const auto room = [&] { return most < 0 || static_cast<std::int64_t>(parts.size()) < most; };
  std::string_view rest = text;
  run.spend(16 * text.size());
  if (separator == nullptr || separator->is_none()) {  // runs of white space; none at the ends
    if (from_right) run.fault("the method \"rsplit\" without a separator is not supported");
    rest = without_leading_space(rest);
    while (!rest.empty()) {
      std::size_t end = 0;
      while (room() && end < rest.size() &&
             without_leading_space(rest.substr(end)).size() == rest.size() - end) {
        end += decode_character(rest, end).length;
      }
      if (!room()) end = rest.size();
      parts.push_back(Value::text(std::string(room() ? rest.substr(0, end) : rest)));
      rest = without_leading_space(rest.substr(end));
    }
    return Value::list(std::move(parts));
  }
  if (!separator->is_text() || separator->as_text().empty()) {
    run.fault("splits by something that is not a string, or by an empty one", ErrorKind::input);
  }
  const std::string& mark = separator->as_text();
  while (room()) {
    const std::size_t at = from_right ? rest.rfind(mark) : rest.find(mark);
    if (at == std::string_view::npos) break;
    const std::string_view after = rest.substr(at + mark.size());
    parts.push_back(Value::text(std::string(from_right ? after : rest.substr(0, at))));
    rest = from_right ? rest.substr(0, at) : after;
  }
  parts.push_back(Value::text(std::string(rest)));
  if (from_right) std::reverse(parts.begin(), parts.end());
  return Value::list(std::move(parts));
}

bool begins_or_ends(Run& run, const std::string& text, const Value* part, bool begins) {
  if (part != nullptr && part->is_list()) {
    return std::any_of(part->as_list().begin(), part->as_list().end(),
                       [&](const Value& one) { return begins_or_ends(run, text, &one, begins); });
  }
  if (part == nullptr || !part->is_text())
    run.fault("compares the start of a string with no string", ErrorKind::input);
  const std::string& piece = part->as_text();
  run.spend(piece.size() + 1);
  if (piece.size() > text.size()) return false;
  return text.compare(begins ? 0 : text.size() - piece.size(), piece.size(), piece) == 0;
}

Value replaced(Run& run, const std::string& text, const std::string& from, const std::string& to,
               std::int64_t most) {
  std::string result;
  std::size_t position = 0;
  run.spend(text.size());
  for (; most != 0; --most) {
    const std::size_t at = text.find(from, position);
    if (at == std::string::npos) break;
    run.spend(to.size() + 1);
    result.append(text, position, at - position);
    result += to;
    position = at + from.size();
    if (from.empty()) {  // also between all characters and at the end
      if (at == text.size()) return Value::text(std::move(result));
      const std::size_t length = decode_character(text, at).length;
      result.append(text, at, length);
      position = at + length;
    }
  }
  result.append(text, position, std::string::npos);
  return Value::text(std::move(result));
}

Value text_method(Run& run, const std::string& text, std::string_view method,
                  const CallArguments& arguments) {
  run.spend(text.size() + 1);
  if (method == "strip" || method == "lstrip" || method == "rstrip") {
    arguments.check(run, method, {"chars"});
    return Value::text(
        stripped(run, text, arguments.find(0, "chars"), method != "rstrip", method != "lstrip"));
  }
  if (method == "split" || method == "rsplit") {
    arguments.check(run, method, {"sep", "maxsplit"});
    return split(run, text, arguments.find(0, "sep"), arguments.integer(run, 1, "maxsplit", -1),
                 method == "rsplit");
  }
  if (method == "startswith" || method == "endswith") {
    arguments.check(run, method, {"prefix"});
    return Value::boolean(begins_or_ends(run, text, arguments.find(0, "prefix"), method == "startswith"));
  }
  if (method == "replace") {
    arguments.check(run, method, {"old", "new", "count"});
    if (arguments.find(1, "new") == nullptr) run.fault("replaces without two strings", ErrorKind::input);
    return replaced(run, text, arguments.text(run, 0, "old", ""), arguments.text(run, 1, "new", ""),
                    arguments.integer(run, 2, "count", -1));
  }
  if (method == "join") {
    arguments.check(run, method, {"iterable"});
    std::string result;
    bool first = true;
    const Value* joined = arguments.find(0, "iterable");
    for (const Value& item : items_of(run, joined == nullptr ? Value::none() : *joined)) {
      if (!item.is_text()) run.fault(std::string("joins ") + item.kind_name(), ErrorKind::input);
      run.spend(text.size() + item.as_text().size());
      if (!first) result += text;
      result += item.as_text();
      first = false;
    }
    return Value::text(std::move(result));
  }
  if (method == "removeprefix" || method == "removesuffix") {
    arguments.check(run, method, {"part"});
    const std::string part = arguments.text(run, 0, "part", "");
    const bool front = method == "removeprefix";
    const Value piece = Value::text(part);
    if (!begins_or_ends(run, text, &piece, front)) return Value::text(text);
    return Value::text(front ? text.substr(part.size()) : text.substr(0, text.size() - part.size()));
  }
  if (method == "count" || method == "find") {
    arguments.check(run, method, {"part"});
    const std::string part = arguments.text(run, 0, "part", "");
    if (part.empty()) run.fault("looks for an empty string", ErrorKind::unsupported);
    std::int64_t count = 0;
    std::size_t at = text.find(part);
    if (method == "find") {
      if (at == std::string::npos) return Value::integer(-1);
      return Value::integer(static_cast<std::int64_t>(character_count(std::string_view(text).substr(0, at))));
    }
    for (; at != std::string::npos; at = text.find(part, at + part.size())) ++count;
    return Value::integer(count);
  }
  const auto plain = [&](std::string (*change)(std::string_view)) {
    arguments.check(run, method, {});
    return Value::text(change(text));
  };
  if (method == "upper") return plain(full_uppercase);
  if (method == "lower") return plain(full_lowercase);
  if (method == "title") return plain(title_case);
  if (method == "capitalize") return plain(capitalized);
  run.fault("the string method \"" + std::string(method) + "\" is not supported");
}

Value map_method(Run& run, const Value& map, std::string_view method, const CallArguments& arguments) {
  run.spend(4 * map.as_map().size() + 1);
  if (method == "get") {
    arguments.check(run, method, {"key", "default"});
    const Value* otherwise = arguments.find(1, "default");
    const Value* key = arguments.find(0, "key");
    const Value* found = key != nullptr && key->is_text() ? map.find(key->as_text()) : nullptr;
    return found != nullptr ? *found : otherwise != nullptr ? *otherwise : Value::none();
  }
  if (method != "keys" && method != "values" && method != "items") {
    run.fault("the method \"" + std::string(method) + "\" of a map is not supported");
  }
  arguments.check(run, method, {});
  List items;
  for (const auto& [key, value] : map.as_map()) {
    const Value name = Value::text(key);
    items.push_back(method == "keys" ? name : method == "values" ? value : Value::list({name, value}));
  }
  return Value::list(std::move(items));
}

Value range(Run& run, const CallArguments& arguments) {
  constexpr std::int64_t longest = 100000;
  arguments.check(run, "range", {"start", "stop", "step"});
  if (arguments.positional.empty()) run.fault("range without a bound", ErrorKind::input);
  const bool one = arguments.positional.size() == 1;
  const std::int64_t start = one ? 0 : arguments.integer(run, 0, "start", 0);
  const std::int64_t stop = arguments.integer(run, one ? 0 : 1, "stop", 0);
  const std::int64_t step = arguments.integer(run, 2, "step", 1);
  if (step == 0) run.fault("range with step 0", ErrorKind::input);
  List items;
  for (std::int64_t at = start; step > 0 ? at < stop : at > stop;) {
    if (static_cast<std::int64_t>(items.size()) >= longest) run.fault("a range of over 100000 numbers");
    run.spend(16);
    items.push_back(Value::integer(at));
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return Value::list(std::move(items));
}

constexpr std::array<std::string_view, 4> functions = {"range", "namespace", "dict", "raise_exception"};

}  // namespace

Value call_method(Run& run, const Value& object, std::string_view method, const CallArguments& arguments) {
  if (object.is_text()) return text_method(run, object.as_text(), method, arguments);
  if (object.is_map()) return map_method(run, object, method, arguments);
  if (object.is_undefined())
    run.fault("\"" + object.undefined_name() + "\" is not defined", ErrorKind::input);
  run.fault("the method \"" + std::string(method) + "\" of " + object.kind_name() + " is not supported");
}

bool is_function(std::string_view name) {
  return std::find(functions.begin(), functions.end(), name) != functions.end();
}

Value call_function(Run& run, std::string_view function, const CallArguments& arguments) {
  if (function == "range") return range(run, arguments);
  if (function == "raise_exception") {
    arguments.check(run, function, {"message"});
    run.fault("the chat template refuses these messages: " + arguments.text(run, 0, "message", ""),
              ErrorKind::input);
  }
  if (function == "namespace" || function == "dict") {
    if (!arguments.positional.empty()) {
      run.fault("arguments of \"" + std::string(function) + "\" without a name are not supported");
    }
    Map entries;
    for (const auto& [name, value] : arguments.named) {
      run.spend(entries.size() + 1);
      set_entry(entries, name, value);
    }
    return function == "dict" ? Value::map(std::move(entries)) : Value::name_space(std::move(entries));
  }
  run.fault("the function \"" + std::string(function) + "\" is not supported");
}

}  // namespace laconic::chat
